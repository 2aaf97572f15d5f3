"""The JSON Schema of the records that commands print, made from the records themselves."""

import msgspec

from clockstep.core.setup import SetupReport
from clockstep.model import DoctorReport, Report, Selection, SetReport, SnapshotList

PRINTED = (Selection, Report, DoctorReport, SetupReport, SetReport, SnapshotList)


def schema() -> str:
    """Return one schema whose definitions are all records; a command's output is any of `PRINTED`."""
    alternatives, definitions = msgspec.json.schema_components(PRINTED, ref_template="#/$defs/{name}")
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What clockstep --json prints",
        "anyOf": list(alternatives),
        "$defs": definitions,
    }
    return msgspec.json.format(msgspec.json.encode(whole)).decode()
