"""The Vagrant project one stands in."""

import grp
import os
import pwd
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from clockstep.core.selection import Project
from clockstep.errors import ReachError, UsageError
from clockstep.ports import Tell
from clockstep.vagrant.logins import VagrantLogins, parse_ssh_config
from clockstep.vagrant.project import SYSTEM, find_project
from clockstep.vagrant.trust import as_owner, untrusted
from conftest import until

WEB, DB = "5f1c7d2a-9f0e-4c55-8c3e-6f2a4b1d7c01", "5f1c7d2a-9f0e-4c55-8c3e-6f2a4b1d7c02"


def made(
    project: Path, name: str, provider: str = "libvirt", text: str = "5f1c7d2a-9f0e-4c55-8c3e-6f2a4b1d7c03"
) -> Path:
    folder = project / ".vagrant" / "machines" / name / provider
    folder.mkdir(parents=True)
    (folder / "id").write_text(text)
    return folder / "id"


def test_a_projects_machines_are_those_that_libvirt_has(tmp_path: Path) -> None:
    made(tmp_path, "web", text=f"{WEB.upper()}\n")
    made(tmp_path, "db", text=DB)
    made(tmp_path, "other", provider="virtualbox")
    (tmp_path / ".vagrant" / "machines" / "planned" / "libvirt").mkdir(parents=True)
    machines = (("db", DB), ("web", WEB))
    here, data = str(tmp_path), str(tmp_path / ".vagrant")
    assert find_project(tmp_path, {}) == Project(here, machines, (SYSTEM,), here, data, "Vagrantfile")


def test_a_folder_below_is_in_the_project_too(tmp_path: Path) -> None:
    made(tmp_path, "web")
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    found = find_project(below, {})
    assert found is not None
    assert found.folder == str(tmp_path)


def test_a_project_in_a_project_does_not_reach_for_the_outer_ones_machines(tmp_path: Path) -> None:
    made(tmp_path, "web")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "Vagrantfile").touch()
    assert find_project(tmp_path / "inner", {}) is None


def test_libvirts_own_variable_goes_before_the_address_that_vagrant_takes(tmp_path: Path) -> None:
    made(tmp_path, "web")
    found = find_project(tmp_path, {"LIBVIRT_DEFAULT_URI": "qemu:///session"})
    assert found is not None
    assert found.connect == ()


def test_vagrants_own_variables_count_as_they_do_for_vagrant(tmp_path: Path) -> None:
    made(tmp_path, "web")
    below = tmp_path / "src"
    below.mkdir()
    found = find_project(Path("/"), {"VAGRANT_CWD": str(below)})
    assert found is not None
    assert (found.folder, found.here) == (str(tmp_path), str(below))
    (tmp_path / ".vagrant").rename(tmp_path / ".vagrant-laptop")
    (tmp_path / "Vagrantfile").touch()
    assert find_project(below, {}) is None
    moved = find_project(below, {"VAGRANT_DOTFILE_PATH": ".vagrant-laptop"})
    assert moved is not None
    assert (moved.folder, moved.data) == (str(tmp_path), str(tmp_path / ".vagrant-laptop"))
    with pytest.raises(UsageError, match="VAGRANT_CWD is '/nonexistent', and that is no folder"):
        find_project(below, {"VAGRANT_CWD": "/nonexistent"})


def test_data_elsewhere_make_no_folder_a_project_and_a_file_of_another_name_is_code_too(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    elsewhere = tmp_path / "data"
    made(tmp_path, "web")
    (tmp_path / ".vagrant").rename(elsewhere)
    variables = {"VAGRANT_DOTFILE_PATH": str(elsewhere), "VAGRANT_VAGRANTFILE": "Machines"}
    assert find_project(inner, variables) is None
    (tmp_path / "project" / "Machines").touch()
    found = find_project(inner, variables)
    assert found is not None
    assert (found.folder, found.data) == (str(tmp_path / "project"), str(elsewhere))
    assert untrusted(found) == ""
    (tmp_path / "project" / "Machines").chmod(0o666)
    assert "Machines may be written by everybody" in untrusted(found)


@pytest.mark.parametrize("content", [b"\xff", b"", b"../../etc"])
def test_an_id_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    made(tmp_path, "web").write_bytes(content)
    with pytest.raises(UsageError, match=r"web/libvirt/id cannot be read"):
        find_project(tmp_path, {})


def test_a_folder_that_is_gone_is_in_no_project(tmp_path: Path) -> None:
    assert find_project(tmp_path / "gone", {}) is None


PRINTED = """\
Host web
  HostName 192.168.121.5
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile "/a folder/private_key"
  IdentitiesOnly yes
  LogLevel FATAL

"""


def of(folder: Path, machines: tuple[tuple[str, str], ...] = (), here: Path | None = None) -> Project:
    return Project(str(folder), machines, (), str(here or folder), str(folder / ".vagrant"))


class Vagrant:
    """A project with two machines, and a command in Vagrant's place that counts how often it is asked."""

    def __init__(self, folder: Path, answers: dict[str, str], complaint: str = "") -> None:
        self.folder, self.state = folder / "project", folder / "state"
        self.folder.mkdir()
        self.said: list[tuple[str, str]] = []
        self.answer(answers, complaint)

    def answer(self, answers: dict[str, str], complaint: str = "") -> None:
        for name in ("web", "db"):
            (self.folder / f"{name}.answer").write_text(answers.get(name, ""))
        (self.folder / "complaint").write_text(complaint)

    @property
    def asked(self) -> list[str]:
        """The machines that it was asked for, in turn."""
        asked = self.folder / "asked"
        return asked.read_text().split() if asked.exists() else []

    def logins(self, tell: Tell | None = None) -> VagrantLogins:
        """Logins as another run of the command has them."""
        script = (
            f"cd {shlex.quote(str(self.folder))}; echo $2 >> asked; cat $2.answer; cat complaint >&2; [ -s $2.answer ]"
        )
        return VagrantLogins(self.project, self.state, tell or self.tell, ("/bin/sh", "-c", script, "vagrant"))

    def tell(self, node: str, text: str) -> None:
        self.said.append((node, text))

    @property
    def project(self) -> Project:
        return of(self.folder, (("web", WEB.upper()), ("db", DB)))


def test_vagrants_own_login_is_taken_but_its_carelessness_with_host_keys_is_not(tmp_path: Path) -> None:
    found = Vagrant(tmp_path, {"web": PRINTED}).logins()(WEB)
    assert found is not None
    assert found.host == "web"
    options = set(found.arguments) - {"-o"}
    assert {"HostName=192.168.121.5", "User=vagrant", 'IdentityFile="/a folder/private_key"'} <= options
    assert {f"HostKeyAlias={WEB}", "StrictHostKeyChecking=accept-new"} <= options
    assert not any("/dev/null" in option or option.endswith("=no") for option in options)


def test_a_domain_of_no_project_has_no_login(tmp_path: Path) -> None:
    assert Vagrant(tmp_path, {}).logins()("5f1c7d2a-9f0e-4c55-8c3e-6f2a4b1d7cff") is None


def test_a_machine_that_does_not_run_costs_the_others_nothing(tmp_path: Path) -> None:
    """Asked about all at once, Vagrant would say nothing of any."""
    vagrant = Vagrant(tmp_path, {"web": PRINTED}, "The provider reports that\nthe machine is not created")
    logins = vagrant.logins()
    assert logins(WEB) is not None
    with pytest.raises(
        ReachError, match=r"log in to db: The provider reports that the machine is not created"
    ) as caught:
        logins(DB)
    assert caught.value.lasting


def test_a_login_is_kept_for_later_runs_until_the_key_changes(tmp_path: Path) -> None:
    key = tmp_path / "key with a % in it"
    key.touch()
    vagrant = Vagrant(tmp_path, {"web": PRINTED.replace("/a folder/private_key", str(key))})
    first = vagrant.logins()(WEB)
    second = vagrant.logins()(WEB)
    assert first is not None
    assert second is not None
    assert first.arguments == second.arguments
    assert vagrant.asked == ["web"]
    assert f'IdentityFile="{tmp_path}/key with a %% in it"' in first.arguments
    os.utime(key, ns=(1, 1))
    vagrant.logins()(WEB)
    assert vagrant.asked == ["web", "web"]
    assert stat.S_IMODE((vagrant.state / "vagrant").stat().st_mode) == 0o700


def test_a_failed_answer_is_never_kept(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {}, "not yet")
    logins = vagrant.logins()
    for _ in range(2):  # the second time soon after it, so that nobody waits for Vagrant again
        with pytest.raises(ReachError, match="not yet"):
            logins(WEB)
    assert vagrant.asked == ["web"]
    vagrant.answer({"web": PRINTED})
    assert vagrant.logins()(WEB) is not None


def test_a_project_that_does_not_parse_any_more_costs_no_login_that_was_kept(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    vagrant = Vagrant(tmp_path, {"web": PRINTED.replace("/a folder/private_key", str(key))})
    first = vagrant.logins()(WEB)
    vagrant.answer({}, "Vagrantfile:3: syntax error")
    os.utime(key, ns=(1, 1))
    second = vagrant.logins()(WEB)
    assert first is not None
    assert second is not None
    assert second.arguments == first.arguments
    warning = "vagrant ssh-config does not say how to log in to web: Vagrantfile:3: syntax error; using its earlier"
    assert vagrant.said[-1] == ("web", f"{warning} answer")


def test_it_is_said_that_vagrant_is_asked_and_a_vagrant_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {})
    hangs = ("/bin/sh", "-c", "sleep 1000 & echo $! > child; wait", "vagrant")
    with pytest.raises(ReachError, match=r"log in to web: .* timed out after 2 seconds"):
        VagrantLogins(vagrant.project, vagrant.state, vagrant.tell, hangs, asking_s=2)(WEB)
    assert vagrant.said == [("web", "asking Vagrant how to log in")]
    file = vagrant.folder / "child"
    until(lambda: file.exists() and file.read_text().strip() != "", 10)
    child = file.read_text().strip()
    until(lambda: not is_alive(child), 10)


def is_alive(pid: str) -> bool:
    """Whether a process runs; one that has ended may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_machine_that_another_vagrant_works_on_is_waited_for(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {}, "Vagrant can't use the requested machine because it is locked! This\nmeans that")

    def tell(node: str, text: str) -> None:
        vagrant.tell(node, text)
        if "another vagrant command" in text:
            vagrant.answer({"web": PRINTED})

    assert vagrant.logins(tell)(WEB) is not None
    assert vagrant.asked == ["web", "web"]
    assert vagrant.said[-1] == ("web", "waiting for another vagrant command on it")


def test_without_a_place_to_keep_it_an_answer_counts_for_this_run(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {"web": PRINTED})
    vagrant.state.touch()  # no folder can be made there
    logins = vagrant.logins()
    assert logins(WEB) is not None
    assert logins(WEB) is not None
    assert vagrant.asked == ["web"]


def test_a_kept_login_that_leads_nowhere_is_asked_for_again(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {"web": PRINTED})
    fresh = vagrant.logins()(WEB)
    assert fresh is not None
    assert fresh.again is None
    kept = vagrant.logins()(WEB)
    assert kept is not None
    assert kept.again is not None
    vagrant.answer({}, "too slow")
    with pytest.raises(ReachError, match="too slow"):
        kept.again()
    doubted = vagrant.logins()(WEB)  # the next run asks, too, and goes by what was kept while it must
    assert doubted is not None
    assert doubted.arguments == kept.arguments
    assert vagrant.said[-1][1].endswith("using its earlier answer")
    vagrant.answer({"web": PRINTED.replace("192.168.121.5", "192.168.121.6")})
    assert vagrant.logins()(WEB) is not None
    renewed = vagrant.logins()(WEB)
    assert renewed is not None
    assert "HostName=192.168.121.6" in renewed.arguments
    assert renewed.again is not None
    assert "HostName=192.168.121.6" in renewed.again().arguments


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_what_was_kept_and_cannot_be_read_is_asked_for_again(tmp_path: Path, content: bytes) -> None:
    vagrant = Vagrant(tmp_path, {"web": PRINTED})
    vagrant.logins()(WEB)
    (vagrant.state / "vagrant" / f"{WEB}.json").write_bytes(content)
    assert vagrant.logins()(WEB) is not None
    assert vagrant.asked == ["web", "web"]


def test_without_vagrant_that_is_said(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, {})
    with pytest.raises(ReachError, match=r"log in to web: .*No such file"):
        VagrantLogins(vagrant.project, vagrant.state, vagrant.tell, ("/nonexistent/vagrant",))(WEB)


@pytest.mark.parametrize("below", [".", ".vagrant", "Vagrantfile"])
def test_a_project_that_others_may_write_is_not_believed_and_nothing_of_it_is_run(tmp_path: Path, below: str) -> None:
    vagrant = Vagrant(tmp_path, {"web": PRINTED})
    (vagrant.folder / ".vagrant").mkdir()
    (vagrant.folder / "Vagrantfile").touch()
    (vagrant.folder / below).chmod(0o777)
    with pytest.raises(ReachError, match=r"Vagrant is not asked for web: .* may be written by everybody") as caught:
        vagrant.logins()(WEB)
    assert "chmod" in caught.value.hint
    assert vagrant.asked == []


def test_a_group_counts_when_it_has_other_members(tmp_path: Path) -> None:
    project = Vagrant(tmp_path, {}).folder
    here = project / "src"
    here.mkdir()
    empty = next(group for group in grp.getgrall() if not group.gr_mem and not members(group.gr_gid) - {me(), "root"})
    if os.geteuid() == 0:
        os.chown(here, -1, empty.gr_gid)
        here.chmod(0o775)
        assert untrusted(of(project, here=here)) == ""
        somebody = next(entry for entry in pwd.getpwall() if entry.pw_name not in {me(), "root"})
        os.chown(here, -1, somebody.pw_gid)
    here.chmod(0o775 if os.geteuid() == 0 else 0o777)
    assert f"{here} may be written by" in untrusted(of(project, here=here))
    assert untrusted(of(project)) == ""


def members(gid: int) -> set[str]:
    return {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid}


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_to_root_a_project_is_its_owners_and_vagrant_runs_as_that_one(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    if os.geteuid():
        assert as_owner(folder) == []
        return
    somebody = pwd.getpwnam("nobody")
    os.chown(folder, somebody.pw_uid, somebody.pw_gid)
    assert untrusted(of(folder)) == ""
    done = subprocess.run([*as_owner(folder), "id", "-u"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{somebody.pw_uid}\n"
    (folder / ".vagrant").mkdir()
    assert untrusted(of(folder)) == ""
    another = pwd.getpwnam("daemon")
    os.chown(folder / ".vagrant", another.pw_uid, -1)
    assert untrusted(of(folder)) == f"{folder}/.vagrant belongs to daemon"


def test_no_command_of_a_project_that_is_only_its_owners_is_taken() -> None:
    printed = PRINTED.replace("  Port 22\n", "  Port 22\n  ProxyCommand evil %h\n")
    assert "ProxyCommand=evil %h" in parse_ssh_config(printed)["web"]
    assert not any("evil" in option for option in parse_ssh_config(printed, trusted=False)["web"])
