"""What setting up has the real dnf and rpm do, both generations of dnf, on a made-up machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.rpm_system import DNF_4, DNF_5, KEY, LIBRARY, Generation, RpmMachine, rpm_machine

pytestmark = pytest.mark.packages

STATE = "/var/lib/clockstep-setup"
BEFORE = {"libold 1", "appliance 1"}
AFTER = {"libold 2", "appliance 1", "chrony 4.8", f"{LIBRARY} 1"}


@pytest.fixture(params=[DNF_4, DNF_5], ids=lambda of: of.name)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RpmMachine]:
    of: Generation = request.param
    with rpm_machine(tmp_path, of) as machine:
        yield machine


def refused(machine: RpmMachine) -> str:
    """Why setting up is refused; nothing is changed then."""
    before = machine.etc()
    done = machine.run("apply")
    assert done.returncode == 1
    assert (machine.etc(), machine.installed()) == (before, BEFORE)
    assert not list((machine.root / STATE.lstrip("/")).glob("installed"))
    return machine.read(f"{STATE}/result").removeprefix("refused ").rstrip("\n")


def test_chrony_is_installed_and_erased_again_with_what_came_with_it(machine: RpmMachine) -> None:
    before = machine.etc()
    plan = machine.plan()
    assert (plan.install, plan.replaces, plan.objection) == (("chrony",), ("systemd-timesyncd",), "")
    assert "/etc/chrony-clockstep.d/zz-clockstep.conf" in [file.path for file in plan.files]
    done = machine.run("apply")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.installed() == AFTER
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.read("/etc/chrony.conf").endswith("include /etc/chrony-clockstep.d/zz-*.conf\n")
    assert (machine.read("/units/systemd-timesyncd"), machine.read("/units/chronyd")) == ("inactive\n", "active\n")
    assert machine.run("undo").returncode == 0
    assert machine.installed() == {"libold 2", "appliance 1"}
    assert machine.read("/units/systemd-timesyncd") == "active\n"
    assert machine.etc() == before


def test_once_all_is_fetched_no_repository_is_needed(machine: RpmMachine) -> None:
    (machine.root / "network-ends-with-download").touch()
    done = machine.run("apply")
    assert done.returncode == 0, done.stderr
    assert (machine.root / "no-network").exists()
    assert machine.installed() == AFTER


def test_a_key_that_is_fetched_only_when_something_is_installed_is_had(machine: RpmMachine) -> None:
    machine.offers("usual", key=f"{machine.site}/key")
    done = machine.run("apply")
    assert done.returncode == 0, done.stderr
    assert machine.installed() == AFTER


def test_packages_that_another_key_has_signed_are_not_installed(machine: RpmMachine) -> None:
    machine.write(KEY, "")
    done = machine.run("apply")
    assert done.returncode == 1
    assert machine.installed() == BEFORE
    assert machine.read("/units/systemd-timesyncd") == "active\n"


def test_without_a_repository_that_answers_nothing_is_done(machine: RpmMachine) -> None:
    (machine.root / "no-network").touch()
    assert refused(machine).startswith("chrony is not available: Failed to download metadata ")


def test_a_chrony_that_no_repository_has_is_told_from_a_repository_that_does_not_answer(machine: RpmMachine) -> None:
    machine.offers("others")
    assert refused(machine).endswith((": Unable to find a match: chrony", ": No match for argument: chrony"))


def test_what_chrony_would_replace_is_named_and_stays(machine: RpmMachine) -> None:
    machine.offers("replacing")
    assert refused(machine) == "installing chrony would remove appliance, too"


def test_what_chrony_conflicts_with_is_named_and_stays(machine: RpmMachine) -> None:
    machine.offers("conflicting")
    said = refused(machine)
    assert said.startswith("chrony is not available: ")
    assert "conflicts with appliance" in said


def test_what_chrony_needs_and_no_repository_has_is_named(machine: RpmMachine) -> None:
    machine.offers("lacking")
    assert "nothing provides nobodys needed by chrony-4.8-1" in refused(machine)


def test_where_no_time_daemon_ran_a_failed_installation_leaves_all_as_it_was(machine: RpmMachine) -> None:
    (machine.root / "units/systemd-timesyncd").unlink()
    machine.write(KEY, "")
    before = machine.etc()
    assert machine.run("apply").returncode == 1
    said = machine.read(f"{STATE}/result")  # dnf 4 looks at signatures as it downloads, dnf 5 as it installs
    assert said.startswith(("refused chrony is not available: ", "failed chrony could not be installed: "))
    assert (machine.etc(), machine.installed()) == (before, BEFORE)
    assert machine.run("undo").returncode == 0


def test_what_would_be_removed_where_dnf_is_told_to_remove_is_named_and_stays(machine: RpmMachine) -> None:
    machine.offers("conflicting")
    machine.write("/dnf-also", "--allowerasing")
    assert refused(machine) == "installing chrony would remove appliance, too"


def test_a_chrony_that_is_too_old_is_not_installed(machine: RpmMachine) -> None:
    machine.offers("ancient")
    assert refused(machine) == "chrony 3.5 is the only one available, which is too old: 4.0 or newer is needed"


def test_a_chrony_that_something_needs_now_stays_and_is_erased_once_nothing_does(machine: RpmMachine) -> None:
    machine.run("apply")
    machine.install("wants-chrony")
    assert machine.run("undo").returncode == 1
    said = machine.read(f"{STATE}/result")
    assert said.startswith("broken chrony could not be removed: chrony is needed by (installed) wants-chrony-1-1.")
    assert machine.effective("makestep") == "makestep 1.0 3"
    machine.erase("wants-chrony")
    assert machine.run("undo").returncode == 0
    assert machine.installed() == {"libold 2", "appliance 1"}


def test_of_what_came_with_chrony_that_stays_which_something_needs_now(machine: RpmMachine) -> None:
    machine.run("apply")
    machine.install("wants-library")
    assert machine.run("undo").returncode == 0
    assert machine.installed() == {"libold 2", "appliance 1", "wants-library 1", f"{LIBRARY} 1"}


def test_what_is_gone_already_is_not_missed(machine: RpmMachine) -> None:
    machine.run("apply")
    machine.erase("chrony")
    assert machine.run("undo").returncode == 0
    assert machine.installed() == {"libold 2", "appliance 1"}


def test_what_somebody_wrote_into_chronys_configuration_since_is_kept(machine: RpmMachine) -> None:
    machine.run("apply")
    written = f"server 192.0.2.1\n{machine.read('/etc/chrony.conf')}"
    machine.write("/etc/chrony.conf", written)
    assert machine.run("undo").returncode == 0
    kept = machine.read("/etc/chrony.conf.rpmsave")
    assert kept.startswith("server 192.0.2.1\n")
    assert "clockstep" not in kept
    assert not (machine.root / "etc/chrony.conf").exists()


def test_a_setup_that_was_cut_short_right_after_dnf_is_gone_on_with_and_undone_as_a_whole(machine: RpmMachine) -> None:
    (machine.root / "power-ends-with-installation").touch()
    assert machine.run("apply").returncode < 0
    assert machine.installed() == AFTER
    (machine.root / "power-ends-with-installation").unlink()
    assert machine.run("apply").returncode == 0
    assert machine.run("undo").returncode == 0
    assert machine.installed() == {"libold 2", "appliance 1"}
