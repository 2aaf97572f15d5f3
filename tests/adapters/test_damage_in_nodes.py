"""What a node says of certificates that servers show and of its pods' tokens: the programs themselves, run here."""

import base64
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from clockstep.errors import ReachError
from clockstep.model import KubeRef
from clockstep.model.damage import PodToken
from clockstep.ports import Output, Reach
from clockstep.units import SECOND_NS
from clockstep.workloads.served import EACH_S, Address, served
from clockstep.workloads.tokens import READ, tokens
from pki import key_and_pem

BEGIN, END = 1_700_000_000, 1_800_000_000
SERVICE = KubeRef("Service", "webhook", "cert-manager")
NEEDED = ("awk", "timeout", "head", "cat")


class Here:
    """A way to a node that is this machine, with these programs alone and another root, if they are named."""

    source = "here"

    def __init__(self, tools: Path | None = None, root: Path | None = None) -> None:
        self._environ = {"PATH": str(tools)} if tools else None
        self._root = root

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        words = [*argv[:-1], str(self._root)] if self._root else list(argv)
        done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60, env=self._environ)
        return Output(done.returncode, done.stdout.decode(), done.stderr.decode())


def here(**how: Any) -> Reach:
    way: Any = Here(**how)
    reach: Reach = way
    return reach


@contextmanager
def serving(folder: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Give the port of a server that shows a certificate of this name, and the certificate in DER."""
    secret, pem = key_and_pem(name, BEGIN, END)
    (folder / "tls.pem").write_text(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    with socket.create_server(("127.0.0.1", 0)) as plain, context.wrap_socket(plain, server_side=True) as server:

        def work() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=work, daemon=True).start()
        yield server.getsockname()[1], ssl.PEM_cert_to_DER_cert(pem)
        plain.close()


def with_tools(tmp_path: Path, *names: str) -> Path:
    """Return a folder with these programs and those that any node has."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (*NEEDED, *names):
        # what PATH has as python3 may be a script, which needs more than these
        (tools / name).symlink_to(sys.executable if name == "python3" else str(shutil.which(name)))
    return tools


@pytest.mark.parametrize("program", ["openssl", "python3"])
def test_what_a_server_shows_is_read_by_whichever_program_there_is(tmp_path: Path, program: str) -> None:
    tools = with_tools(tmp_path, program)
    with serving(tmp_path, "webhook.cert-manager.svc") as (port, der):
        (shown,) = served(here(tools=tools), [Address(SERVICE, "127.0.0.1", port)], 0)
    assert shown.certificate is not None
    assert (shown.certificate.subject, shown.fingerprint) == ("webhook.cert-manager.svc", sha256(der).hexdigest())
    assert (shown.certificate.not_before_ns, shown.certificate.not_after_ns) == (BEGIN * SECOND_NS, END * SECOND_NS)


def test_a_python_that_starts_slowly_on_a_busy_node_still_dials(tmp_path: Path) -> None:
    tools = with_tools(tmp_path, "sleep")
    (tools / "python3").write_text(f'#!/bin/sh\nsleep {EACH_S + 1}\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    with serving(tmp_path, "x") as (port, _):
        (shown,) = served(here(tools=tools), [Address(SERVICE, "127.0.0.1", port)], 0)
    assert shown.certificate is not None


def test_one_that_shows_nothing_costs_the_others_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, "x") as (port, _), socket.create_server(("127.0.0.1", 0)) as mute:
        silent = mute.getsockname()[1]  # it takes connections and says nothing
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            addresses = [Address(SERVICE, "127.0.0.1", one) for one in (silent, closed.getsockname()[1], port)]
            found = served(here(), addresses, 0)
    assert [one.certificate.subject if one.certificate else one.trouble for one in found] == [
        f"127.0.0.1:{silent} showed no certificate",
        f"127.0.0.1:{addresses[1].port} showed no certificate",
        "x",
    ]


def test_a_node_that_cannot_dial_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReachError, match="cannot dial"):
        served(here(tools=with_tools(tmp_path)), [Address(SERVICE, "127.0.0.1", 1)], 0)


def token(**claims: int) -> str:
    """Return a token with these claims, as an API server signs them; the signature is made up."""
    parts = ({"alg": "RS256"}, {"aud": ["https://x"], **claims, "kubernetes.io": {"namespace": "shop"}, "sub": "ä_-?>"})
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + ".c2ln"


def put(root: Path, uid: str, text: str) -> None:
    folder = root / f"var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/kube-api-access-x"
    (folder / "..data").mkdir(parents=True)
    (folder / "..data/token").write_text(text)
    (folder / "token").symlink_to("..data/token")


def test_of_each_token_the_moments_alone_are_read(tmp_path: Path) -> None:
    whole = token(exp=END, iat=BEGIN, nbf=BEGIN + 1)
    put(tmp_path, "uid-1", whole)
    assert tokens(here(root=tmp_path), 0) == (
        PodToken("uid-1", BEGIN * SECOND_NS, (BEGIN + 1) * SECOND_NS, END * SECOND_NS),
    )
    done = subprocess.run(["/bin/sh", "-c", READ, "clockstep", tmp_path], capture_output=True, text=True, check=True)
    assert not any(part in done.stdout for part in whole.split("."))


@pytest.mark.parametrize(
    "text", ["", "garbage", "a.b.c", "\0\n" * 999, "x." + "A" * 100_000, token(exp=10**17), "a.eyJpYXQiOiAieCJ9.b"]
)
def test_what_is_no_token_costs_only_itself(tmp_path: Path, text: str) -> None:
    put(tmp_path, "uid-1", text)
    put(tmp_path, "uid-2", token(iat=BEGIN))
    found = {one.uid: one for one in tokens(here(root=tmp_path), 0)}
    assert found["uid-2"].issued_ns == BEGIN * SECOND_NS
    assert found.get("uid-1", PodToken("uid-1")) == PodToken("uid-1")


def test_a_node_without_kubernetes_has_no_tokens(tmp_path: Path) -> None:
    assert tokens(here(root=tmp_path), 0) == ()


def test_an_answer_that_is_not_whole_is_none() -> None:
    class Cut(Here):
        def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
            return Output(0, "\n#clockstep tokens\n1 2 3 uid-1\n", "")

    way: Any = Cut()
    with pytest.raises(ReachError, match="does not report"):
        tokens(way, 0)
