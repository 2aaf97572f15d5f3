"""The JSON Schema of the records that commands print, made from the records themselves."""

from typing import Any

import msgspec

from clockstep.config import ConfigReport
from clockstep.core.setup import SetupReport
from clockstep.host.systemd_unit import ServiceStatus
from clockstep.model import (
    Action,
    AftermathReport,
    AgentReport,
    DoctorReport,
    ErrorReport,
    History,
    Report,
    Resync,
    Selection,
    SetReport,
    SnapshotList,
    Step,
)

PRINTED = (
    Selection,
    Report,
    DoctorReport,
    AftermathReport,
    SetupReport,
    SetReport,
    SnapshotList,
    History,
    ConfigReport,
    ServiceStatus,
    AgentReport,
    History,
    ErrorReport,
)
ACTIONS = (Step, Resync)
REFERENCE = "#/$defs/{name}"


def schema() -> str:
    """Return one schema whose definitions are all records; a command's output is any of `PRINTED`."""
    described, definitions = msgspec.json.schema_components(
        (*PRINTED, *ACTIONS), schema_hook=_actions, ref_template=REFERENCE
    )
    alternatives = described[: len(PRINTED)]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What clockstep -o json prints",
        "anyOf": list(alternatives),
        "$defs": definitions,
    }
    return msgspec.json.format(msgspec.json.encode(whole)).decode()


def _actions(kind: type) -> dict[str, Any]:
    """Return the schema of an action, which is one of several records: msgspec knows no union of dataclasses."""
    assert kind is Action
    return {"anyOf": [{"$ref": REFERENCE.format(name=one.__name__)} for one in ACTIONS]}
