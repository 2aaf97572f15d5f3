"""Which cluster a kubeconfig means, as kubectl would take it; and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.errors import KubernetesError
from clockstep.kubernetes.kubeconfig import MOST_BYTES, target
from clockstep.model import KubeAccess

FIRST = """
current-context: a
clusters:
- {name: lab, cluster: {server: "https://first:6443", certificate-authority: pki/ca.crt}}
users:
- {name: me, user: {token: one, client-certificate: /etc/me.crt}}
- {name: plugin, user: {exec: {apiVersion: v1, command: ./bin/login}}}
- {name: sender, user: {tokenFile: token}}
contexts:
- {name: a, context: {cluster: lab, user: me}}
- {name: by-plugin, context: {cluster: lab, user: plugin}}
- {name: by-file, context: {cluster: lab, user: sender}}
- {name: nobody, context: {cluster: lab}}
- {name: lost, context: {cluster: gone, user: me}}
- {name: stranger, context: {cluster: lab, user: gone}}
"""
SECOND = """
current-context: b
clusters:
- {name: lab, cluster: {server: "https://second:6443"}}
- {name: other, cluster: {server: "https://other:6443", certificate-authority: ca.crt}}
contexts:
- {name: a, context: {cluster: other}}
- {name: b, context: {cluster: other}}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str, name: str = "config") -> Path:
        (file := tmp_path / name).parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return written


def test_the_current_context_is_meant_or_the_one_that_is_named(write: Write) -> None:
    file = str(write(FIRST))
    assert target(KubeAccess(file), {}).context == "a"
    assert target(KubeAccess(file), {}).user["token"] == "one"
    assert target(KubeAccess(file, "nobody"), {}).user == {}


def test_paths_are_of_the_files_own_folder(write: Write) -> None:
    file = write(FIRST, "sub/config")
    found = target(KubeAccess(str(file)), {})
    assert found.cluster["certificate-authority"] == str(file.parent / "pki/ca.crt")
    assert found.user["client-certificate"] == "/etc/me.crt"
    assert target(KubeAccess(str(file), "by-plugin"), {}).user["exec"]["command"] == str(file.parent / "bin/login")
    assert target(KubeAccess(str(file), "by-file"), {}).user["tokenFile"] == str(file.parent / "token")


def test_several_files_are_one_and_of_two_entries_the_first_counts(write: Write, tmp_path: Path) -> None:
    variable = f"{write(FIRST, 'first')}:{tmp_path / 'absent'}::{write(SECOND, 'second')}"
    found = {name: target(KubeAccess("", name), {"KUBECONFIG": variable}) for name in ("", "a", "b")}
    assert (found[""].context, found["a"].server, found["b"].server) == (
        "a",
        "https://first:6443",
        "https://other:6443",
    )
    assert found["b"].cluster["certificate-authority"] == str(tmp_path / "ca.crt")


def test_without_a_variable_it_is_the_one_of_the_home(write: Write, tmp_path: Path) -> None:
    write(FIRST, ".kube/config")
    assert target(KubeAccess(), {"HOME": str(tmp_path), "KUBECONFIG": ""}).context == "a"
    assert target(KubeAccess(str(write(SECOND))), {"HOME": str(tmp_path)}).context == "b"


@pytest.mark.parametrize(
    ("text", "context", "said"),
    [
        (FIRST, "prod", "has no context 'prod'"),
        (FIRST, "lost", "context 'lost' names no cluster that is there"),
        (FIRST, "stranger", "context 'stranger' names no user that is there"),
        ("clusters: []", "", "has no current context"),
        ("current-context: [1]\ncontexts: []", "", "has no context '[1]'"),
        ("", "", "cannot be read: it is not a mapping"),
        ("just a text", "", "cannot be read: it is not a mapping"),
        ("a: [b", "", "cannot be read: while parsing"),
        ("\x00\x01", "", "cannot be read: unacceptable character"),
        ("contexts: 1", "", "contexts is not a list"),
        ("users: [x]", "", "an entry of users has no name or no user"),
        ("users: [{name: [], user: {}}]", "", "an entry of users has no name or no user"),
        ("[" * 10_000, "", "cannot be read"),
        ("#" * (MOST_BYTES + 1), "", "larger than 4 MiB"),
        ("a: !!python/object/apply:os.system [id]", "", "could not determine a constructor"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_names_the_file(write: Write, text: str, context: str, said: str) -> None:
    file = write(text)
    with pytest.raises(KubernetesError) as caught:
        target(KubeAccess(str(file), context), {})
    assert said in caught.value.message
    assert str(file) in caught.value.message
    assert caught.value.lasting
    assert caught.value.hint


def test_a_file_that_is_not_there_or_may_not_be_read_is_named(tmp_path: Path) -> None:
    for access, environ, said in (
        (KubeAccess(str(tmp_path / "x")), {}, "x cannot be read: No such file"),
        (KubeAccess(str(tmp_path)), {}, "cannot be read: Is a directory"),
        (KubeAccess(), {"KUBECONFIG": str(tmp_path / "y")}, "there is no kubeconfig"),
        (KubeAccess(), {"HOME": str(tmp_path)}, f"there is no kubeconfig {tmp_path}/.kube/config"),
        (KubeAccess(), {}, "there is no kubeconfig /.kube/config"),
    ):
        with pytest.raises(KubernetesError) as caught:
            target(access, environ)
        assert said in caught.value.message


def test_one_that_nobody_named_starts_no_program_and_sends_no_file(write: Write) -> None:
    file = str(write(FIRST))
    assert target(KubeAccess(file, "a", passive=True), {}).context == "a"
    for context, does in (("by-plugin", "starts a program"), ("by-file", "sends a file")):
        with pytest.raises(KubernetesError, match=f"not trusted: its user {does}") as caught:
            target(KubeAccess(file, context, passive=True), {})
        assert "--kubeconfig" in caught.value.hint


YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "cluster", "user", "context", "server", "exec", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["contexts", "clusters", "users", "current-context"]), YAML))
def test_any_file_is_a_target_or_an_error(tmp_path_factory: pytest.TempPathFactory, found: object) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_text(repr(found).replace("None", "null"))
    try:
        assert target(KubeAccess(str(file)), {}).context
    except KubernetesError as error:
        assert error.message
