"""The agent's unit, judged by systemd's own tools."""

from itertools import product
from pathlib import Path

import pytest

from adapters.test_service import analysed
from clockstep.core.agent_unit import OPTIONS_FILE, PROGRAM, UNIT, Needs, unit_text

EXPOSED = 40
"""Of 100, as systemd-analyze counts: the watcher's has 20, and needs no capability, device or root."""
KINDS = [
    Needs("/usr/bin/env", forks, chronyd, restarts, ("/dev/null",) if forks else ())
    for forks, chronyd, restarts in product([False, True], repeat=3)
]


def written(needs: Needs, folder: Path) -> Path:
    """The unit in a file; what it starts is there, as systemd-analyze wants."""
    file = folder / UNIT
    file.write_text(unit_text(needs).replace(PROGRAM, "/usr/bin/env"))
    return file


def lines(needs: Needs, name: str) -> list[str]:
    """What the unit has under a name."""
    found = [line.split("=", 1) for line in unit_text(needs).splitlines() if "=" in line and not line.startswith("#")]
    return [value for key, value in found if key == name]


@pytest.mark.parametrize("needs", KINDS)
def test_systemd_understands_every_line(tmp_path: Path, needs: Needs) -> None:
    done = analysed("verify", "--man=no", "--recursive-errors=no", str(written(needs, tmp_path)))
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT in line]) == (0, [])


def test_a_line_that_it_does_not_understand_would_be_found(tmp_path: Path) -> None:
    file = written(KINDS[0], tmp_path)
    file.write_text(file.read_text().replace("DevicePolicy=", "DevicePolicies="))
    assert UNIT in analysed("verify", "--man=no", "--recursive-errors=no", str(file)).stderr


@pytest.mark.parametrize("needs", KINDS)
def test_it_is_confined_by_systemds_own_measure(tmp_path: Path, needs: Needs) -> None:
    done = analysed("security", "--offline=true", f"--threshold={EXPOSED}", str(written(needs, tmp_path)))
    assert done.returncode == 0, done.stdout


def test_the_right_to_step_is_all_that_it_has_where_nothing_else_is_used() -> None:
    alone = Needs("/usr/bin/python3")
    assert lines(alone, "CapabilityBoundingSet") == ["CAP_SYS_TIME"]
    assert lines(alone, "DeviceAllow") == ["char-ptp r"]
    assert lines(alone, "ProtectKernelLogs") == ["yes"]
    assert lines(alone, "InaccessiblePaths") == ["-/run/systemd/private -/run/dbus"]


def test_what_more_it_gets_it_gets_for_what_is_used() -> None:
    log = Needs("/usr/bin/python3", forks=True)
    assert lines(log, "CapabilityBoundingSet") == ["CAP_SYS_TIME CAP_SYSLOG"]
    assert lines(log, "DeviceAllow") == ["char-ptp r", "/dev/kmsg r"]
    assert lines(log, "ProtectKernelLogs") == ["no"]
    chronyd = Needs("/usr/bin/python3", chronyd=True, vmclocks=["/dev/vmclock0"])
    assert lines(chronyd, "CapabilityBoundingSet") == ["CAP_SYS_TIME CAP_DAC_OVERRIDE"]
    assert lines(chronyd, "DeviceAllow") == ["char-ptp r", "/dev/vmclock0 r"]
    assert lines(Needs("/usr/bin/python3", restarts=True), "InaccessiblePaths") == []


@pytest.mark.parametrize("needs", KINDS)
def test_the_clock_may_be_stepped_after_all_that_is_forbidden(needs: Needs) -> None:
    filters = lines(needs, "SystemCallFilter")
    assert filters == ["@system-service", "~@privileged @resources", "adjtimex clock_adjtime"]
    assert lines(needs, "ProtectClock") == []  # it would forbid these two, and CAP_SYS_TIME
    assert lines(needs, "PrivateUsers") == []  # CAP_SYS_TIME counts in the first user namespace alone


def test_systemd_hears_of_its_start_and_its_life_and_its_options_are_a_file_of_the_nodes() -> None:
    needs = Needs("/usr/bin/python3")
    assert (lines(needs, "Type"), lines(needs, "WatchdogSec")) == (["notify"], ["60s"])
    assert lines(needs, "ExecStart") == [f"/usr/bin/python3 -I -S {PROGRAM} $OPTIONS"]
    assert lines(needs, "EnvironmentFile") == [f"-{OPTIONS_FILE}"]
