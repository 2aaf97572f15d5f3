"""Packages that setting up installs, evicts and brings back, by stand-ins for apt's programs."""

from pathlib import Path

import pytest

from adapters.machine import Machine
from clockstep.core.setup import SetupOutcome, planned

STATE = "/var/lib/clockstep-setup"
DAEMONS = ["systemd-timesyncd", "ntpsec", "openntpd"]
INSTALLED = """
cp $root/kept/chronyd $root/programs/; mkdir -p $root/etc/chrony/conf.d; echo active >$root/units/chrony
cp $root/kept/chrony.conf $root/etc/chrony/; cp $root/usr/share/chrony/chrony.keys $root/etc/chrony/
touch $root/etc/chrony/conf.d/README
"""
APT = f"""#!/bin/sh
root=@root@ kept=@root@{STATE}/packages
echo "$*" >>$root/apt-calls
case "$*" in
*" -s install chrony") echo 'Remv @gone@ [1]'; echo 'Inst libc6 [1] (2 Debian)'; echo 'Inst libnew (1 Debian)'
    echo "Inst chrony ($(cat $root/offered) Debian [amd64])" ;;
*"--download-only install chrony")
    [ ! -e $root/no-network ] || {{ echo 'E: Failed to fetch http://mirror/chrony' >&2; exit 1; }}
    touch $kept/chrony_4.3.deb $kept/libnew_1.deb $kept/libc6_2.deb ;;
*" download @gone@=1")
    [ ! -e $root/no-way-back ] || {{ echo "E: Version '1' for '@gone@' was not found" >&2; exit 1; }}
    touch @gone@_1.deb ;;
*"--no-download install chrony") rm -f $root/units/@gone@; {INSTALLED} ;;
esac
"""
DPKG = f"""#!/bin/sh
root=@root@
echo "$*" >>$root/dpkg-calls
case "$*" in
*--purge*) rm -rf $root/programs/chronyd $root/etc/chrony $root/units/chrony ;;
*" -i "*@gone@_*) [ ! -e $root/way-back-is-broken ] || exit 1; echo active >$root/units/@gone@ ;;
*" -i "*chrony_*libnew_*) {INSTALLED} ;;
esac
"""
DPKG_QUERY = """#!/bin/sh
case "$*" in *Version*) echo 1 ;; *" @gone@") echo installed ;; esac
"""


def without_chrony(root: Path, gone: str = "systemd-timesyncd") -> Machine:
    """A machine on which chrony comes with its package, which a stand-in for the package manager installs."""
    machine = Machine(root)
    for name, text in {"apt-get": APT, "dpkg": DPKG, "dpkg-query": DPKG_QUERY}.items():
        machine.program(name, text, {"@root@": str(root), "@gone@": gone})
    (root / "kept").mkdir()
    (machine.bin / "chronyd").rename(root / "kept/chronyd")
    (root / "etc/chrony/chrony.conf").rename(root / "kept/chrony.conf")
    (root / "units/chrony").rename(root / f"units/{gone}")
    machine.write("/usr/share/chrony/chrony.keys", "# keys\n")
    machine.write("/offered", "4.3-2+deb12u3")
    return machine


@pytest.mark.parametrize("gone", DAEMONS)
def test_another_time_daemon_is_named_and_evicted_and_undo_brings_it_back(tmp_path: Path, gone: str) -> None:
    machine = without_chrony(tmp_path, gone)
    machine.write("/etc/chrony/sources.d/before.sources", "server 192.0.2.1\n")
    before = machine.etc()
    plan = machine.plan()
    assert (plan.install, plan.replaces, plan.objection) == (("chrony",), (gone,), "")
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
    assert not (tmp_path / f"units/{gone}").exists()
    assert machine.run("undo").returncode == 0
    assert machine.read(f"/units/{gone}") == "active\n"
    assert machine.etc() == before


def test_undo_purges_what_was_installed_and_not_what_was_only_upgraded(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    machine.run("apply")
    machine.run("undo")
    assert "--purge chrony libnew\n" in machine.read("/dpkg-calls")
    assert "reset-failed chrony\n" in machine.calls()


def test_what_somebody_put_beside_chronys_configuration_since_outlives_its_purge(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    machine.run("apply")
    theirs = {"chrony/sources.d/mine.sources": "server 192.0.2.2\n", "chrony/chrony.keys": "1 SHA1 secret\n"}
    for path, text in theirs.items():
        machine.write(f"/etc/{path}", text)
    assert machine.run("undo").returncode == 0
    left = {path: text for path, text in machine.etc().items() if path.startswith("chrony/")}
    assert left == theirs


def test_what_cannot_be_kept_is_not_purged(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    machine.run("apply")
    machine.program("find", "#!/bin/sh\necho chrony/of-no-machine\n")
    done = machine.run("undo")
    assert done.returncode == 1
    assert machine.read(f"{STATE}/result").startswith("broken what is in /etc/chrony cannot be kept")
    assert "--purge" not in machine.read("/dpkg-calls")
    assert machine.effective("makestep") == "makestep 1 3"


def test_where_the_old_daemon_does_not_come_back_chrony_does_with_all_that_it_needs(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    machine.run("apply")
    (tmp_path / "way-back-is-broken").touch()
    done = machine.run("undo")
    assert done.returncode == 1
    assert machine.read(f"{STATE}/result") == "broken systemd-timesyncd could not be installed again\n"
    assert machine.read("/units/chrony") == "active\n"
    (tmp_path / "way-back-is-broken").unlink()
    assert machine.run("undo").returncode == 0
    assert machine.read("/units/systemd-timesyncd") == "active\n"


def test_nothing_is_removed_before_its_package_is_kept(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    (tmp_path / "no-way-back").touch()
    before = machine.etc()
    done = machine.run("apply")
    assert "the package needed to undo this is not available, systemd-timesyncd 1: Version '1'" in done.stderr
    assert done.stderr.endswith("apt-get install --only-upgrade systemd-timesyncd\n")
    assert "--no-download" not in machine.read("/apt-calls")
    assert machine.etc() == before
    (tmp_path / "no-way-back").unlink()
    assert machine.run("apply").returncode == 0
    calls = machine.read("/apt-calls").splitlines()
    assert [" download " in line for line in calls[-2:]] == [True, False]
    assert calls[-1].endswith("--no-download install chrony")


def test_without_a_repository_that_answers_nothing_is_done(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    (tmp_path / "no-network").touch()
    done = machine.run("apply")
    assert done.stderr.endswith("chrony is not available: Failed to fetch http://mirror/chrony\n")
    assert "--no-download" not in machine.read("/apt-calls")


def test_what_would_take_more_along_than_time_daemons_is_refused(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path, "their-appliance")
    assert "installing chrony would remove their-appliance, too" in machine.run("apply").stderr
    assert "--no-download" not in machine.read("/apt-calls")


def test_a_chrony_that_is_too_old_is_not_installed(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path)
    machine.write("/offered", "3.5-6ubuntu6.2")
    assert "chrony 3.5 is the only one available, which is too old" in machine.run("apply").stderr
    assert "--no-download" not in machine.read("/apt-calls")


def test_what_a_power_cut_left_unconfigured_is_configured_and_gone_on_with(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "etc/chrony/chrony.conf").rename(tmp_path / "kept")
    assert planned("node", machine.plan()).outcome is SetupOutcome.REFUSED
    machine.write(f"{STATE}/begun", "")
    plan = machine.plan()
    assert (plan.objection, plan.interrupted) == ("", True)
    configure = f'#!/bin/sh\n[ "$2" != --configure ] || cp {tmp_path}/kept {tmp_path}/etc/chrony/chrony.conf\n'
    machine.program("dpkg", configure)
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"


def test_a_chrony_conf_that_a_power_cut_has_taken_comes_again_from_its_package(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "etc/chrony/chrony.conf").rename(tmp_path / "kept")
    machine.write(f"{STATE}/begun", "")
    machine.program("dpkg", "#!/bin/sh\nexit 0\n")  # it takes chrony for configured
    again = f'[ "$UCF_FORCE_CONFFMISS" = 1 ] && cp {tmp_path}/kept {tmp_path}/etc/chrony/chrony.conf'
    machine.program("apt-get", f'#!/bin/sh\ncase "$*" in *--reinstall*install\\ chrony) {again} ;; esac\n')
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
