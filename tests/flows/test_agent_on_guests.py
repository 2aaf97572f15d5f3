"""A node's own agent on a whole Debian: carried there, proven, correcting the clock by itself, and removed again."""

import pytest

from clockstep.core.agent_unit import PROGRAM, UNIT, UNIT_FILE
from clockstep.flows.own_agent import FOLDER
from conftest import Guests, debian, pass_time, until
from flows.commands import TOLERANCE_NS, all_proven, clockstep
from states import CHRONY

pytestmark = pytest.mark.full

BEHIND_S = 20
CORRECTED_S = 90
SYS_TIME, MAY_HAVE = 1 << 25, {1, 25, 34}
"""CAP_SYS_TIME; and the numbers of that, CAP_DAC_OVERRIDE and CAP_SYSLOG (linux/capability.h)."""
CAPABILITIES = f"grep ^CapEff: /proc/$(systemctl show --value --property MainPID {UNIT})/status"


def setup(guests: Guests, verb: str, code: int = 0) -> tuple[str, str]:
    """Run `setup VERB --agent` on the one guest, and return what it came to, and why."""
    asked = [] if verb == "check" else ["--yes"]
    (node,) = clockstep(guests, "setup", verb, "--agent", *guests.names, *asked, code=code)["nodes"]
    if verb == "apply":
        all_proven(guests, [node["episode"]])
    return node["outcome"], node["text"]


def journal(guests: Guests, name: str) -> str:
    """What the agent has printed so far."""
    return guests.ssh(name, f"journalctl --unit {UNIT} --output cat")


@debian(13, state=CHRONY)
def test_a_node_gets_an_agent_that_corrects_its_clock_by_itself_and_loses_it_again(full: Guests) -> None:
    (name,) = full.names
    assert setup(full, "check", code=1)[0] == "would-change"
    assert setup(full, "apply") == ("set-up", "")
    assert setup(full, "check") == ("unchanged", "")
    assert "by=chrony steps=yes" in full.ssh(name, f"systemctl show --value --property StatusText {UNIT}")
    capabilities = int(full.ssh(name, CAPABILITIES).split()[1], 16)
    assert capabilities & SYS_TIME
    assert {bit for bit in range(64) if capabilities >> bit & 1} <= MAY_HAVE
    full.tell(name, f"date -s @$(($(date +%s) - {BEHIND_S}))")
    assert not full.is_within(name, TOLERANCE_NS)
    until(lambda: full.is_within(name, TOLERANCE_NS), CORRECTED_S)
    until(lambda: "stepped +" in journal(full, name), CORRECTED_S)
    full.snapshot(name, "with-agent")
    pass_time(BEHIND_S)
    full.revert(name, "with-agent")
    until(lambda: full.is_within(name, TOLERANCE_NS), CORRECTED_S)
    until(lambda: "reverted" in journal(full, name), CORRECTED_S)
    assert setup(full, "apply") == ("unchanged", "")
    assert setup(full, "undo") == ("undone", "")
    assert full.ssh(name, f"systemctl show --value --property LoadState {UNIT}") == "not-found\n"
    assert full.ssh(name, f"ls -d {PROGRAM} {UNIT_FILE} {FOLDER} 2>&- || true") == ""
    assert setup(full, "undo")[0] == "unchanged"
