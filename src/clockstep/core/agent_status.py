"""What a node's agent says of itself to its service manager, on one line, and what whoever reads that makes of it.

`watching by=phc steps=yes verdict=good offset_ns=-200000 error_ns=900`: by the hypervisor's clock, as it was read last.
"""

import re
from typing import NamedTuple

from clockstep.core.checks import measured
from clockstep.core.foreign import bounded, understood
from clockstep.model import Episode, Offset

PHC, CHRONY, NOTHING = "phc", "chrony", "nothing"
"""What an agent goes by: names of references, and none."""
STEPS, OBSERVES, MAY_NOT = "yes", "observes", "no"
"""Whether it steps the clock, was told only to observe, or lacks the right to step."""
WORD = re.compile(r"([a-z_]+)=([a-z-]+|-?[0-9]{1,20})", re.ASCII)


class AgentSays(NamedTuple):
    """What an agent goes by, whether it steps, and how its clock is: an offset that was not measured is None."""

    by: str
    steps: str
    verdict: str = ""
    offset: Offset | None = None


def status_line(says: AgentSays) -> str:
    """Return it as a line."""
    words = [f"by={says.by}", f"steps={says.steps}", *([f"verdict={says.verdict}"] if says.verdict else [])]
    if says.offset:
        words += [f"offset_ns={says.offset.value_ns}", f"error_ns={says.offset.error_ns}"]
    return " ".join(("watching", *words))


def says_after(before: AgentSays, episode: Episode) -> AgentSays:
    """Return what there is to say after an Episode; one without a reading does not change what an agent goes by."""
    by = episode.facts.readings[-1].reference if episode.facts.readings else before.by
    return AgentSays(by, before.steps, episode.verdict.value, measured(episode.facts))


def read_status_line(line: str) -> AgentSays | None:
    """Return what a line says; None of one that is not an agent's."""
    return understood(_read, line)


def _read(line: str) -> AgentSays | None:
    head, *rest = line.split()
    words = {found[1]: found[2] for word in rest if (found := WORD.fullmatch(word))}
    if head != "watching":
        return None
    offset = None
    if "offset_ns" in words:
        offset = Offset(bounded(int(words["offset_ns"])), bounded(int(words["error_ns"])))
    return AgentSays(words["by"], words["steps"], words.get("verdict", ""), offset)
