"""Credential plugins: run by ourselves, bounded in time and output, and told what the protocol says."""

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clockstep.errors import KubernetesError
from clockstep.kubernetes.contexts import Target
from clockstep.kubernetes.credentials import Credentials, from_plugin
from clockstep.kubernetes.times import moment_ns

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
CLUSTER = {"server": "https://api:6443", "certificate-authority-data": "Q0E="}
Plugin = Callable[..., Target]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    def made(script: str, version: str = V1, **entries: Any) -> Target:
        (file := tmp_path / "plugin").write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return Target("lab", CLUSTER, {"exec": {"apiVersion": version, "command": str(file), **entries}})

    return made


def answer(version: str = V1, **status: str) -> str:
    return "echo '" + json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}) + "'"


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_token_is_passed_on_until_it_expires(plugin: Plugin, version: str) -> None:
    ends = "2026-11-30T12:00:00Z"
    found = from_plugin(plugin(answer(version, token="t", expirationTimestamp=ends), version), os.environ)
    assert found.user == {"token": "t"}
    assert found.until_ns == moment_ns(ends)
    assert not found.expired(moment_ns(ends) - 1)
    assert found.expired(moment_ns(ends))
    assert not Credentials({"token": "t"}).expired(2**62)


def test_a_certificate_is_passed_on_as_a_kubeconfig_has_it(plugin: Plugin) -> None:
    found = from_plugin(plugin(answer(clientCertificateData="CERT", clientKeyData="KEY")), os.environ).user
    assert {name: base64.b64decode(text) for name, text in found.items()} == {
        "client-certificate-data": b"CERT",
        "client-key-data": b"KEY",
    }


def test_it_gets_its_words_its_variables_and_that_nobody_can_answer(plugin: Plugin, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'printf "%s|" "$@" "$WHO" "$KUBERNETES_EXEC_INFO" > {out}; read line || echo "no input" >> {out}\n'
    entries = {"args": ["a", "b c"], "env": [{"name": "WHO", "value": "me"}]}
    from_plugin(plugin(script + answer(token="t"), **entries), os.environ)
    *words, info, rest = out.read_text().split("|")
    assert (words, rest) == (["a", "b c", "me"], "no input\n")
    assert json.loads(info) == {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}
    from_plugin(plugin(script + answer(token="t"), provideClusterInfo=True), os.environ)
    assert json.loads(out.read_text().split("|")[-2])["spec"]["cluster"] == CLUSTER


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo not json", f"printed no ExecCredential of {V1}"),
        ("echo '[]'", "printed no ExecCredential"),
        ("true", "printed no ExecCredential"),
        (answer(), "printed no ExecCredential"),
        (answer(V1BETA1, token="t"), "printed no ExecCredential"),
        (answer(clientCertificateData="CERT"), "printed no ExecCredential"),
        (answer(token="t", expirationTimestamp="soon"), "printed no ExecCredential"),
        ("echo first >&2; printf 'log in \\033[1mfirst' >&2; exit 3", "failed: log in \\x1b[1mfirst"),
        ("exit 3", "failed: exit code 3"),
        ("kill -9 $$", "failed: signal 9"),
        ("cat /dev/zero", "failed: [Errno 27] it printed more than 16 MiB"),
    ],
)
def test_one_that_gives_nothing_is_an_error_that_names_it(plugin: Plugin, script: str, said: str) -> None:
    found = plugin(script)
    with pytest.raises(KubernetesError) as caught:
        from_plugin(found, os.environ)
    assert said in caught.value.message
    assert found.user["exec"]["command"] in caught.value.message


def test_one_that_hangs_is_ended_with_all_that_it_has_started(plugin: Plugin, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(KubernetesError, match="did not end within 1 s"):
        from_plugin(plugin(f"sleep 600 & echo $! > {pid}; wait"), os.environ, within_s=1)
    until_s = time.monotonic() + 20
    while _runs(pid.read_text().strip()):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _runs(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"command": "/x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}, "is of version"),
        (
            {"command": "no-such-plugin-anywhere", "apiVersion": V1, "installHint": "install it"},
            "there is no credential",
        ),
        ({"apiVersion": V1}, "cannot be read"),
        ({"command": 5, "apiVersion": V1}, "cannot be read"),
        ({"command": "/x", "apiVersion": V1, "args": [1]}, "cannot be read"),
        ({"command": "/x", "apiVersion": V1, "env": [{"name": "a"}]}, "cannot be read"),
        ("text", "cannot be read"),
        ({"command": "/bin/true\x00", "apiVersion": V1}, "failed: embedded null byte"),
    ],
)
def test_one_that_is_described_wrongly_or_is_not_there_is_an_error(entry: Any, said: str) -> None:
    with pytest.raises(KubernetesError) as caught:
        from_plugin(Target("lab", CLUSTER, {"exec": entry}), os.environ)
    assert said in caught.value.message
    assert caught.value.hint
