"""The agent's reader of kubeconfigs: what programs write is read as YAML has it, and all else is refused."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clockstep.agent.kube.blocks import DEEPEST, parse

KUBEADM = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=
    server: https://10.0.0.10:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: system:node:node-1
  name: system:node:node-1@kubernetes
current-context: system:node:node-1@kubernetes
kind: Config
preferences: {}
users:
- name: system:node:node-1
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
"""
K3S = """\
apiVersion: v1
clusters:
- cluster:
    server: https://127.0.0.1:6444
    certificate-authority: /var/lib/rancher/k3s/agent/server-ca.crt
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    client-certificate: /var/lib/rancher/k3s/agent/client-kubelet.crt
    client-key: /var/lib/rancher/k3s/agent/client-kubelet.key
"""
CLOUD = """\
# written by an image

apiVersion: v1
kind: Config
clusters:
  - name: "kubernetes"
    cluster:
      certificate-authority: /etc/kubernetes/pki/ca.crt
      server: 'https://example.eks.amazonaws.com'
current-context: kubelet
contexts:
  -   name: kubelet
      context:
        cluster: kubernetes
        user: kubelet
users:
  - name: kubelet
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1beta1
        command: /usr/bin/aws-iam-authenticator
        env:
        args:
          - "token"
          - '-i'
          - it's mine
        provideClusterInfo: false
"""
WRITTEN = [KUBEADM, K3S, CLOUD]


@pytest.mark.parametrize("text", WRITTEN, ids=["kubeadm", "k3s", "cloud"])
def test_what_programs_write_is_read_as_yaml_has_it(text: str) -> None:
    assert parse(text) == yaml.safe_load(text)
    assert parse(f"---\n{text}") == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x b",
        "a: *x",
        "a: !!str b",
        "a: |\n  b",
        "a: >-\n  b",
        "a: {b: c}",
        "a: [b]",
        "a: b # c",
        "a: b: c",
        "a: b:",
        "a: b\n  c",
        "a:\n  b\n  c",
        "a: 'b\n  c'",
        'a: "b\n  c"',
        'a: "\\x41"',
        "a: 'b' c",
        "a: 12",
        "a: 1e5",
        "a: 0x1f",
        "a: 1:30",
        "a: 2026-11-30",
        "a: yes",
        "a: .inf",
        "a: -1",
        "a: b\na: c",
        "yes: a",
        "? a\n: b",
        "a: b\n--- \nc: d",
        "a: b\n...",
        "%YAML 1.1\n---\na: b",
        "\ta: b",
        "a:\tb",
        "a: b\r",
        "a: b\x85c: d",
        "\ufeffa: b",
        "a:\n    b: c\n  d: e",
        "a: b\n c: d",
        "- - a",
        "-\n  a: b",
        "a: @b",
        "a: `b",
        "<<: b",
        "a: =",
        "\n".join(f"{' ' * level}a:" for level in range(DEEPEST + 2)),
        "a",
        "{a: b}",
        '{"a": 1, "a": 2}',
        '{"a": 1',
    ],
)
def test_a_style_that_is_not_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|twice"):
        parse(text)


def test_a_refusal_names_the_line_and_nothing_that_is_secret() -> None:
    with pytest.raises(
        ValueError, match=r"^line 3: a value in a style that is not read here: quote it; JSON is"
    ) as said:
        parse("users:\n- user:\n    token: {secret}\n")
    assert "secret" not in str(said.value)


def test_json_is_read_in_any_form_and_no_more_than_it_has() -> None:
    assert parse(' \n {"a": {"b": ["c", true, null]}}') == {"a": {"b": ["c", True, None]}}
    with pytest.raises(RecursionError):
        parse('{"a":' * 100_000)
    assert parse("") is None
    assert parse("# nothing\n---\n") is None


PIECES = ["a", "b: c", ": ", "\n", "\n  ", "\n- ", "  ", "'", "''", "~", "#", " #", "-", "x: y", "null", "12", "@", "."]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from("abc:-'~# \n.0129_/\u00e4é")), max_size=40))
def test_whatever_is_read_is_what_yaml_has(pieces: list[str]) -> None:
    same_or_refused("".join(pieces))


@given(st.sampled_from(WRITTEN), st.integers(0), st.integers(0, 6), st.sampled_from([*PIECES, "\n", " ", ""]))
def test_what_programs_write_with_an_error_in_it_is_refused_or_read_as_yaml_has_it(
    text: str, at: int, removed: int, put: str
) -> None:
    at %= len(text)
    same_or_refused(text[:at] + put + text[at + removed :])


def same_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert found == yaml.safe_load(text)


TEXTS = st.text("abcxyz019:/@-._=' ", min_size=1, max_size=20)
VALUES = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(TEXTS, max_size=3), st.dictionaries(st.text("abcdefg-", min_size=2, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["clusters", "users", "name", "current-context"]), VALUES, min_size=1))
def test_what_a_yaml_library_writes_in_blocks_is_read_or_refused_for_a_reason(found: dict[str, Any]) -> None:
    same_or_refused(yaml.safe_dump(found, default_flow_style=False, width=10_000))
