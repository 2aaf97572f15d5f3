"""The watcher as a service: what is written, judged by systemd's own tools, and the way back."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from clockstep.errors import ClockstepError, UsageError
from clockstep.host.systemd_unit import (
    MARK,
    UNIT,
    Service,
    ServiceStatus,
    files,
    grants,
    install,
    quoted,
    refuse_unreadable,
    refuse_writable,
    reports_to,
    status,
    uninstall,
    unit_file,
)
from clockstep.host.systemd_unit import asked as host_asked
from clockstep.model import KubeAccess

WORDS = [sys.executable, "-m", "clockstep", "watch", "web-*", "100% sure", "--config", "/etc/clock step.toml"]
EXPOSED = 20  # of 100, as systemd-analyze counts: 11 is what it calls OK


class Systemd:
    """Takes the commands that systemd would get, and fails one of them where the test says so."""

    def __init__(self, failing: str = "") -> None:
        self.commands: list[str] = []
        self._failing = failing

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(" ".join(command))
        if self._failing and self._failing in self.commands[-1]:
            raise ClockstepError("systemd says no")


@pytest.fixture(autouse=True)
def booted(tmp_path: Path) -> None:
    """systemd runs in both roots that the tests use (sd_booted(3))."""
    for root in (tmp_path, tmp_path / "root"):
        (root / "run/systemd/system").mkdir(parents=True)


def service(*, of_user: bool = False) -> Service:
    return Service(WORDS, Path("/srv"), of_user)


CLUSTER = KubeAccess("/etc/clock step/100%.kubeconfig", "prod $1")


def reporting(*, of_user: bool = False) -> Service:
    return service(of_user=of_user)._replace(kubernetes=CLUSTER)


def unit(tmp_path: Path, *, of_user: bool) -> Path:
    """The unit as it is installed, without the account that only an installation makes."""
    return written(service(of_user=of_user), tmp_path)


def written(what: Service, tmp_path: Path) -> Path:
    """The unit of a service, in a file of its own."""
    text = files(what, Path("/"), Path("/home/me"))[unit_file(Path("/"), Path("/home/me"), of_user=what.of_user)]
    file = tmp_path / UNIT
    file.write_text(text)
    return file


def analysed(*words: str) -> "subprocess.CompletedProcess[str]":
    tool = shutil.which("systemd-analyze")
    assert tool, "script/setup installs systemd"
    return subprocess.run([tool, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("what", [service(), service(of_user=True), reporting(), reporting(of_user=True)])
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path, what: Service) -> None:
    done = analysed("verify", "--man=no", "--recursive-errors=no", str(written(what, tmp_path)))
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT in line]) == (0, [])


def test_a_line_that_systemd_does_not_understand_would_be_found(tmp_path: Path) -> None:
    file = unit(tmp_path, of_user=False)
    file.write_text(file.read_text().replace("LockPersonality=", "LokPersonality="))
    assert UNIT in analysed("verify", "--man=no", "--recursive-errors=no", str(file)).stderr


def test_the_service_is_confined_by_systemds_own_measure(tmp_path: Path) -> None:
    done = analysed("security", "--offline=true", f"--threshold={EXPOSED}", str(unit(tmp_path, of_user=False)))
    assert done.returncode == 0, done.stdout


def test_the_systems_service_gets_its_kubeconfig_from_systemd_and_a_users_reads_it_where_it_is(tmp_path: Path) -> None:
    system, own = (written(reporting(of_user=of_user), tmp_path).read_text() for of_user in (False, True))
    assert "\nLoadCredential=kubeconfig:/etc/clock step/100%%.kubeconfig\n" in system
    assert "\nSetCredential=kubeconfig:{}\n" in system  # else a file that is gone would end the service
    assert '--kubeconfig ${CREDENTIALS_DIRECTORY}/kubeconfig --context "prod $$1"\n' in system
    assert "LoadCredential" not in own
    assert '--kubeconfig "/etc/clock step/100%%.kubeconfig" --context "prod $$1"\n' in own


@pytest.mark.parametrize("of_user", [False, True])
def test_whoever_uninstalls_learns_which_cluster_was_reported_to(tmp_path: Path, of_user: bool) -> None:
    assert reports_to(tmp_path, tmp_path, of_user=of_user) is None
    install(service(of_user=of_user), tmp_path, tmp_path, Systemd())
    assert reports_to(tmp_path, tmp_path, of_user=of_user) is None
    install(reporting(of_user=of_user), tmp_path, tmp_path, Systemd())
    assert reports_to(tmp_path, tmp_path, of_user=of_user) == CLUSTER


def test_a_kubeconfig_that_somebody_else_could_change_is_refused_and_one_that_only_root_may_read_is_not(
    tmp_path: Path,
) -> None:
    theirs = tmp_path / "kubeconfig"
    theirs.touch(0o666)
    theirs.chmod(0o666)
    with pytest.raises(UsageError, match=f"can change: {theirs} may be written by everybody"):
        refuse_writable(service()._replace(kubernetes=KubeAccess(str(theirs))))
    refuse_writable(service()._replace(kubernetes=KubeAccess("/etc/shadow")))


@pytest.mark.parametrize("of_user", [False, True])
def test_what_was_installed_runs_and_is_removed_without_a_trace(tmp_path: Path, of_user: bool) -> None:
    systemd = Systemd()
    made = install(service(of_user=of_user), tmp_path, tmp_path / "me", systemd)
    assert all(MARK in file.read_text().splitlines()[0] for file in made)
    assert systemd.commands[-1].endswith(f"restart {UNIT}")
    assert all(("--user" in command) == of_user for command in systemd.commands if "systemctl" in command)
    assert uninstall(tmp_path, tmp_path / "me", systemd, of_user=of_user) == made
    assert f"disable --now {UNIT}" in systemd.commands[-2]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert uninstall(tmp_path, tmp_path / "me", systemd, of_user=of_user) == []


def test_a_service_that_does_not_come_up_leaves_nothing_behind(tmp_path: Path) -> None:
    systemd = Systemd("restart")
    with pytest.raises(ClockstepError, match="systemd says no"):
        install(service(), tmp_path, tmp_path, systemd)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert any("disable --now" in command for command in systemd.commands)


@pytest.mark.parametrize("there", [False, True])
def test_an_account_that_was_made_for_it_goes_again(tmp_path: Path, there: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n" + "clockstep:x:999:999::/:/bin/false\n" * there)
    systemd = Systemd("restart")
    with pytest.raises(ClockstepError):
        install(service(), tmp_path, tmp_path, systemd)
    assert ("userdel clockstep" in systemd.commands) is not there


@pytest.mark.parametrize("of_user", [False, True])
def test_without_systemd_it_is_refused_at_once_and_nothing_is_run(tmp_path: Path, of_user: bool) -> None:
    (tmp_path / "run/systemd/system").rmdir()
    systemd = Systemd()
    with pytest.raises(UsageError, match="systemd does not run here"):
        install(service(of_user=of_user), tmp_path, tmp_path, systemd)
    assert systemd.commands == []
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_a_new_one_that_does_not_come_up_gives_way_to_the_one_before(tmp_path: Path) -> None:
    install(service(), tmp_path, tmp_path, Systemd())
    before = {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    systemd = Systemd("enable")
    with pytest.raises(ClockstepError):
        install(service()._replace(words=["/bin/false"]), tmp_path, tmp_path, systemd)
    assert {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert systemd.commands[-1] == f"systemctl restart {UNIT}"


def test_one_that_is_interrupted_leaves_nothing_behind_either(tmp_path: Path) -> None:
    def interrupted(command: Sequence[str]) -> None:
        if "restart" in command:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(service(), tmp_path, tmp_path, interrupted)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_a_rule_that_was_left_over_is_no_service_that_was_there_before(tmp_path: Path) -> None:
    install(service(), tmp_path, tmp_path, Systemd())
    unit_file(tmp_path, tmp_path, of_user=False).unlink()
    systemd = Systemd("restart")
    with pytest.raises(ClockstepError):
        install(service(), tmp_path, tmp_path, systemd)
    assert any("disable --now" in command for command in systemd.commands)
    assert not unit_file(tmp_path, tmp_path, of_user=False).exists()


def test_polkit_can_read_its_rule_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = install(service(), tmp_path, tmp_path, Systemd())
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in made} == {0o644}


def test_the_two_calls_that_read_this_machines_clock_are_allowed_after_all_that_is_not(tmp_path: Path) -> None:
    text = unit(tmp_path, of_user=False).read_text()
    filters = [line for line in text.splitlines() if line.startswith("SystemCallFilter=")]
    assert filters[-1] == "SystemCallFilter=adjtimex clock_adjtime"


@pytest.mark.parametrize("place", ["etc/systemd/system/clockstep-watch.service", "etc/sysusers.d/clockstep.conf"])
def test_a_file_of_somebody_elses_is_neither_replaced_nor_removed(tmp_path: Path, place: str) -> None:
    theirs = tmp_path / place
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Unit]\n")
    systemd = Systemd()
    with pytest.raises(ClockstepError, match="clockstep did not write it"):
        install(service(), tmp_path, tmp_path, systemd)
    with pytest.raises(ClockstepError, match="clockstep did not write it"):
        uninstall(tmp_path, tmp_path, systemd, of_user=False)
    assert theirs.read_text() == "[Unit]\n"
    assert systemd.commands == []


def test_who_reaches_nodes_by_ssh_needs_no_leave_to_write(tmp_path: Path) -> None:
    rules = tmp_path / "etc/polkit-1/rules.d/60-clockstep.rules"
    assert '"org.libvirt.api.domain.write"' in files(service(), tmp_path, tmp_path)[rules]
    assert "domain.write" not in files(service()._replace(by_agent=False), tmp_path, tmp_path)[rules]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("watch", "watch"),
        ("", '""'),
        ("web-*", "web-*"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b", '"a\\\\b"'),
        ("it's;", '"it\'s;"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, line: str) -> None:
    assert quoted(word) == line


def test_a_line_break_would_be_a_line_of_the_unit() -> None:
    with pytest.raises(UsageError):
        quoted("a\nExecStart=b")


def test_what_the_services_account_may_not_read_is_refused_by_name(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "clockstep.toml").touch()
    for unread in (service()._replace(needed=[hidden / "clockstep.toml"]), service()._replace(folder=hidden)):
        with pytest.raises(UsageError, match=str(hidden)):
            install(unread, tmp_path / "root", tmp_path, Systemd())
    assert not (tmp_path / "root/etc").exists()
    with pytest.raises(UsageError, match=str(hidden)):
        refuse_unreadable(hidden / "clockstep.toml")
    refuse_unreadable(Path("/etc/passwd"))


def of_root(*paths: str) -> list[Path]:
    """Files of a system that somebody else than root may not write."""
    return [Path(path) for path in paths]


def test_what_only_root_can_change_is_trusted() -> None:
    refuse_writable(service()._replace(needed=of_root("/etc/passwd"), code=of_root("/usr/bin/env", "/usr/lib/apt")))


@pytest.mark.parametrize("part", ["interpreter", "package", "configuration", "folder"])
@pytest.mark.parametrize("how", ["folder above", "itself", "link"])
def test_what_somebody_else_could_change_is_refused_with_the_way_out(tmp_path: Path, part: str, how: str) -> None:
    place = tmp_path / "theirs" / "thing"
    place.mkdir(parents=True)
    open_to_all = place.parent if how == "folder above" else place
    open_to_all.chmod(0o777)
    if how == "link":
        (tmp_path / "link").symlink_to(place)
        place = tmp_path / "link"
    plain = service()
    wished = {
        "interpreter": plain._replace(code=[place]),
        "package": plain._replace(code=[place.parent]),
        "configuration": plain._replace(needed=[place]),
        "folder": plain._replace(folder=place),
    }[part]
    with pytest.raises(UsageError, match=f"can change: {open_to_all} may be written by everybody") as refused:
        refuse_writable(wished)
    assert ("/opt/clockstep" in refused.value.hint) == (part in {"interpreter", "package"})
    assert "--user" in refused.value.hint
    systemd = Systemd()
    with pytest.raises(UsageError):
        install(wished, tmp_path / "root", tmp_path, systemd)
    assert systemd.commands == []
    install(wished._replace(of_user=True), tmp_path / "root", tmp_path, systemd)


def test_the_rule_names_the_machines_where_they_are_fixed(tmp_path: Path) -> None:
    rules = tmp_path / "etc/polkit-1/rules.d/60-clockstep.rules"
    fixed = service()._replace(domains=["uuid-1", "uuid-2"])
    assert 'var domains = ["uuid-1", "uuid-2"];' in files(fixed, tmp_path, tmp_path)[rules]
    assert "var domains = [];" in files(service(), tmp_path, tmp_path)[rules]
    assert "the domains it is configured for" in grants(fixed)
    assert "any domain" in grants(service())


@pytest.mark.parametrize(("of_user", "enabled"), [(False, "disabled"), (True, "not installed")])
def test_the_status_is_of_a_packages_unit_where_there_is_no_other(tmp_path: Path, of_user: bool, enabled: str) -> None:
    shipped = tmp_path / "usr/lib/systemd/system" / UNIT
    shipped.parent.mkdir(parents=True)
    shipped.write_text("[Unit]\n")
    said = {"is-enabled": "disabled", "is-active": "inactive"}
    found = status(tmp_path, tmp_path / "me", lambda words: said.get(words[-2], ""), of_user=of_user)
    assert found == ServiceStatus(UNIT, "" if of_user else str(shipped), enabled, "inactive")


@pytest.mark.parametrize("of_user", [False, True])
def test_its_status_is_what_systemd_says_of_it(tmp_path: Path, of_user: bool) -> None:
    said = {"is-enabled": "enabled", "is-active": "activating", "StatusText": "watching"}
    asked: list[str] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(" ".join(command))
        return said.get(command[-2], "")

    assert status(tmp_path, tmp_path / "me", ask, of_user=of_user) == ServiceStatus(
        UNIT, "", "not installed", "inactive"
    )
    assert asked == []
    install(service(of_user=of_user), tmp_path, tmp_path / "me", Systemd())
    file = str(unit_file(tmp_path, tmp_path / "me", of_user=of_user))
    assert status(tmp_path, tmp_path / "me", ask, of_user=of_user) == ServiceStatus(
        UNIT, file, "enabled", "activating", "watching"
    )
    user = "--user " if of_user else ""
    assert asked == [
        f"systemctl {user}is-enabled {UNIT}",
        f"systemctl {user}is-active {UNIT}",
        f"systemctl {user}show --value --property StatusText {UNIT}",
    ]
    said.clear()
    assert status(tmp_path, tmp_path / "me", ask, of_user=of_user).active == "unknown"
    (tmp_path / "run/systemd/system").rmdir()
    with pytest.raises(UsageError, match="systemd does not run here"):
        status(tmp_path, tmp_path / "me", ask, of_user=of_user)


def test_a_command_that_cannot_be_run_says_nothing() -> None:
    assert host_asked(["/nonexistent/systemctl"]) == ""
    assert host_asked(["sh", "-c", "echo inactive; echo more; exit 3"]) == "inactive"
