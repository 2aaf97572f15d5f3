"""The Vagrant project one stands in."""

from pathlib import Path

import pytest

from clockstep.core.selection import Project
from clockstep.errors import ReachError, UsageError
from clockstep.vagrant import SYSTEM, VagrantLogins, find_project


def made(project: Path, name: str, provider: str = "libvirt", text: str = "0f6c") -> Path:
    folder = project / ".vagrant" / "machines" / name / provider
    folder.mkdir(parents=True)
    (folder / "id").write_text(text)
    return folder / "id"


def test_a_projects_machines_are_those_that_libvirt_has(tmp_path: Path) -> None:
    made(tmp_path, "web", text="aa-1\n")
    made(tmp_path, "db", text="aa-2")
    made(tmp_path, "other", provider="virtualbox")
    (tmp_path / ".vagrant" / "machines" / "planned" / "libvirt").mkdir(parents=True)
    machines = (("db", "aa-2"), ("web", "aa-1"))
    assert find_project(tmp_path, {}) == Project(str(tmp_path), machines, (SYSTEM,))


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


def test_an_id_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    made(tmp_path, "web").write_bytes(b"\xff")
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
MACHINES = Project("/project", (("web", "AA-1"), ("db", "aa-2")), ())


def says(out: str, err: str = "") -> tuple[str, ...]:
    return ("/bin/sh", "-c", 'printf "%s" "$1"; printf "%s" "$2" >&2', "vagrant", out, err)


def logins(tmp_path: Path, command: tuple[str, ...]) -> VagrantLogins:
    return VagrantLogins(Project(str(tmp_path), MACHINES.machines, ()), command)


def test_vagrants_own_login_is_taken_but_its_carelessness_with_host_keys_is_not(tmp_path: Path) -> None:
    found = logins(tmp_path, says(PRINTED))("aa-1")
    assert found is not None
    assert found.host == "web"
    options = set(found.arguments) - {"-o"}
    assert {"HostName=192.168.121.5", "User=vagrant", 'IdentityFile="/a folder/private_key"'} <= options
    assert {"HostKeyAlias=aa-1", "StrictHostKeyChecking=accept-new"} <= options
    assert not any("/dev/null" in option or option.endswith("=no") for option in options)


def test_a_domain_of_no_project_has_no_login(tmp_path: Path) -> None:
    assert logins(tmp_path, says(PRINTED))("bb-1") is None


@pytest.mark.parametrize("command", [says(PRINTED, "db is not\ncreated"), ("/nonexistent/vagrant",)])
def test_a_machine_that_vagrant_says_nothing_of_is_named_with_its_words(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with pytest.raises(ReachError, match=r"log in to db: .*(db is not created|No such file)") as caught:
        logins(tmp_path, command)("aa-2")
    assert caught.value.lasting
