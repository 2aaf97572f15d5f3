"""The client against servers that are away, slow, silent or wrong: every call ends in its time, with what to do."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from clockstep.errors import KubernetesError
from clockstep.kubernetes.api import KubernetesApi
from clockstep.kubernetes.client import Connection
from clockstep.kubernetes.requests import MOST
from clockstep.kubernetes.transport import MOST_BYTES
from clockstep.model import KubeAccess
from clockstep_lab.run import run
from clockstep_lab.tls import Authority, Validity

from .faulty import Answer, Handler, Server, kubeconfig

EMPTY = {"kind": "List", "metadata": {}, "items": []}
UUID = "11111111-2222-4333-8444-555555555555"
READY = {"type": "Ready", "status": 7, "lastHeartbeatTime": "soon"}
SHORT_S = 0.4
NOW, HOUR = datetime.now(UTC), timedelta(hours=1)
NOT_YET, NO_MORE = Validity(NOW + HOUR, NOW + 2 * HOUR), Validity(NOW - 2 * HOUR, NOW - HOUR)


def node(name: object = "w1", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"nodeInfo": {"systemUUID": UUID}}, **more}


Entry = Mapping[str, Any]


class Lab:
    """A folder, its authority, and the servers of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "pki")
        self.servers: list[Server] = []

    def serve(
        self, answer: Answer, *, host: str = "localhost", validity: Validity | None = None, trusted: Path | None = None
    ) -> Server:
        certificate = self.authority.issue("serving", hosts=[host], validity=validity)
        self.servers.append(Server(answer, certificate, trusted))
        return self.servers[-1]

    def api(
        self, port: int, user: Entry | None = None, cluster: Entry | None = None, environ: Entry | None = None
    ) -> KubernetesApi:
        """Return the cluster of a kubeconfig whose server is at this port; its entries are these."""
        trusted = str(self.authority.certificate.file)
        entry = {"server": f"https://localhost:{port}", "certificate-authority": trusted, **(cluster or {})}
        file = kubeconfig(self.folder / "config", entry, {"token": "secret"} if user is None else dict(user))
        return KubernetesApi(KubeAccess(str(file)), environ or {}, SHORT_S)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    for server in made.servers:
        server.end()


def says(found: object, status: int = 200) -> Answer:
    return lambda handler: handler.send_json(found, status)


def listing(nodes: object) -> Answer:
    """Answer Nodes with these, and leases with none."""
    return lambda handler: handler.send_json(EMPTY | {"items": [] if "leases" in handler.path else nodes})


def refused(api: KubernetesApi) -> KubernetesError:
    with pytest.raises(KubernetesError) as caught:
        api.nodes()
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def test_a_server_that_is_not_there_refuses(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refused(lab.api(port))
    assert error.message == f"the API server https://localhost:{port} refused the connection"
    assert not error.lasting


def test_a_server_without_an_address_is_not_known(lab: Lab) -> None:
    assert "has no address here" in refused(lab.api(1, cluster={"server": "https://no-such-host.invalid:6443"})).message


@pytest.mark.parametrize(("validity", "said"), [(NOT_YET, "is not yet valid"), (NO_MORE, "has expired")])
def test_a_certificate_whose_time_has_not_come_or_is_over_is_said_so(lab: Lab, validity: Validity, said: str) -> None:
    server = lab.serve(listing([]), validity=validity)
    error = refused(lab.api(server.server_port))
    assert error.message == f"the certificate of the API server https://localhost:{server.server_port} {said}"
    assert "clock" in error.hint
    assert not error.lasting


def test_a_server_that_is_another_or_whose_authority_is_another_is_not_trusted(lab: Lab, tmp_path: Path) -> None:
    server = lab.serve(listing([]), host="elsewhere")
    assert "Hostname mismatch" in refused(lab.api(server.server_port)).message
    other = Authority(tmp_path / "other").certificate.file
    error = refused(
        lab.api(server.server_port, cluster={"certificate-authority": str(other), "tls-server-name": "elsewhere"})
    )
    assert "no trusted connection" in error.message
    assert server.requests == []


def test_a_server_by_another_name_is_trusted_by_the_name_that_the_kubeconfig_has(lab: Lab) -> None:
    server = lab.serve(listing([node()]), host="elsewhere")
    assert [one.name for one in lab.api(server.server_port, cluster={"tls-server-name": "elsewhere"}).nodes()] == ["w1"]


def test_an_insecure_cluster_is_asked_as_the_kubeconfig_wants_it(lab: Lab) -> None:
    server = lab.serve(listing([node()]), validity=NOT_YET)
    found = lab.api(server.server_port, cluster={"insecure-skip-tls-verify": True}).nodes()
    assert [one.system_uuid for one in found] == [UUID]


def silent(handler: Handler) -> None:
    handler.server.over.wait()


def dripping(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def endless(handler: Handler) -> None:
    handler.send_json({"metadata": {"continue": "more"}, "items": []})


@pytest.mark.parametrize("answer", [silent, dripping, endless])
def test_a_server_that_never_ends_its_answer_is_given_up(lab: Lab, answer: Answer) -> None:
    assert "did not answer in time" in refused(lab.api(lab.serve(answer).server_port)).message


def test_a_server_that_never_shakes_hands_is_given_up(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert "did not answer in time" in refused(lab.api(listening.getsockname()[1])).message


def huge(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(2 * MOST_BYTES))
    handler.end_headers()
    chunk = bytes(1 << 20)
    while not handler.server.over.is_set():
        handler.wfile.write(chunk)


def packed(handler: Handler) -> None:
    handler.send(b"x", content_encoding="gzip")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (huge, "the answer is longer than 64 MiB"),
        (packed, "the answer is compressed, which nobody asked for"),
        (lambda handler: handler.send(b"<html>"), "cannot be understood"),
        (lambda handler: handler.send(b"[" * 100_000), "cannot be understood"),
        (says([]), "cannot be understood"),
        (says({"items": 5}), "cannot be understood"),
        (says({"metadata": 5, "items": []}), "cannot be understood"),
        (says(["x"], 500), "answered 500, asked to list leases"),
        (lambda handler: handler.send(b"<html>", 503, content_type="text/html"), "answered 503"),
        (lambda handler: handler.send(b"", 302, location="https://elsewhere/"), "answered 302"),
        (lambda handler: handler.wfile.write(b"\x00\xff\n\n"), "cannot be reached"),
        (lambda handler: setattr(handler, "close_connection", True), "cannot be reached"),
        (
            says({"kind": "Status", "message": "try \x1b[1m later", "code": 429}, 429),
            "answered 429, asked to list leases",
        ),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_one_line(lab: Lab, answer: Answer, said: str) -> None:
    made = lab.api(lab.serve(answer).server_port)
    made._within_s = 20  # a body of 64 MiB takes its time on a busy machine
    error = refused(made)
    assert said in error.message
    assert error.message.isprintable()


def test_objects_that_make_no_sense_cost_only_themselves(lab: Lab) -> None:
    odd = [
        node(5),
        {},
        {"metadata": None, "status": []},
        node(
            "w2", status={"nodeInfo": 5, "conditions": [5, {"type": "Ready", "status": 7, "lastHeartbeatTime": "soon"}]}
        ),
        node("w3", metadata={"name": "w3", "labels": {str(n): str(n) for n in range(5000)}, "annotations": []}),
        node("x" * 5000),
        node("\x1b[1mw4"),
    ]
    found = {one.name: one for one in lab.api(lab.serve(listing(odd)).server_port).nodes()}
    assert set(found) == {"w2", "w3", "x" * 253, "\x1b[1mw4"}
    ready = found["w2"].ready
    assert ready and (ready.status, ready.heartbeat_ns) == ("", None)
    assert len(found["w3"].labels) == 200


def test_items_that_are_no_objects_are_an_error(lab: Lab) -> None:
    assert "cannot be understood" in refused(lab.api(lab.serve(listing([5])).server_port)).message


def test_a_list_ends_at_some_length(lab: Lab) -> None:
    numbers = count()

    def paged(handler: Handler) -> None:
        items = [] if "leases" in handler.path else [node(f"w{next(numbers)}") for _ in range(2000)]
        handler.send_json({"metadata": {"continue": "more" if items else None}, "items": items})

    made = lab.api(lab.serve(paged).server_port)
    made._within_s = 60
    assert len(made.nodes()) == MOST


def test_leases_that_may_not_be_read_cost_only_their_ages(lab: Lab) -> None:
    def answer(handler: Handler) -> None:
        if "leases" in handler.path:
            handler.send_json({"kind": "Status", "message": 'User "me" cannot list', "code": 403}, 403)
        else:
            handler.send_json(EMPTY | {"items": [node()]})

    (found,) = lab.api(lab.serve(answer).server_port).nodes()
    assert found.lease_trouble == 'forbidden to list leases in kube-node-lease: User "me" cannot list'
    assert found.renewed_ns is None


def test_a_token_that_is_refused_is_read_again_once(lab: Lab) -> None:
    def answer(handler: Handler) -> None:
        if handler.headers["authorization"] == "Bearer new":
            listing([node()])(handler)
        else:
            handler.send_json({"kind": "Status", "message": "Unauthorized", "code": 401}, 401)

    server = lab.serve(answer)
    api = lab.api(server.server_port, {"token": "old"})
    error = refused(api)
    assert "refuses the credentials: Unauthorized" in error.message
    assert (error.status, error.lasting, len(server.requests)) == (401, True, 2)
    lab.api(server.server_port, {"token": "new"})
    assert [one.name for one in api.nodes()] == ["w1"]


def test_a_plugin_is_asked_once_and_again_when_its_token_has_expired(lab: Lab, tmp_path: Path) -> None:
    runs, plugin = tmp_path / "runs", tmp_path / "plugin"
    server = lab.serve(listing([]))

    def asked(ends: str) -> int:
        runs.write_text("")
        status = json.dumps({"token": "given", "expirationTimestamp": ends})
        version = "client.authentication.k8s.io/v1"
        credential = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {status}}}'
        plugin.write_text(f"#!/bin/sh\necho >> {runs}\necho '{credential}'\n")
        plugin.chmod(0o755)
        api = lab.api(server.server_port, {"exec": {"apiVersion": version, "command": str(plugin)}})
        api.nodes()
        api.nodes()
        return len(runs.read_text())

    assert asked("2999-01-01T00:00:00Z") == 1
    assert asked("2001-01-01T00:00:00Z") == 4
    assert {headers["Authorization"] for _, headers in server.requests} == {"Bearer given"}


def test_a_certificate_of_the_user_is_shown(lab: Lab) -> None:
    server = lab.serve(listing([node()]), trusted=lab.authority.certificate.file)
    me = lab.authority.issue("me")
    user = {"client-certificate": str(me.file), "client-key": str(me.key)}
    assert [one.name for one in lab.api(server.server_port, user).nodes()] == ["w1"]
    refused(lab.api(server.server_port, {}))


def test_a_key_with_a_password_or_no_key_is_refused_without_a_question(lab: Lab, tmp_path: Path) -> None:
    me, locked = lab.authority.issue("me"), tmp_path / "locked"
    run(["openssl", "pkey", "-in", me.key, "-aes256", "-passout", "pass:x", "-out", locked])
    (bad := tmp_path / "bad").write_text("no key")
    for entry in (
        {"client-certificate": str(me.file), "client-key": str(locked)},
        {"client-certificate": str(me.file), "client-key": str(bad)},
        {"client-certificate": str(me.file), "client-key": str(tmp_path / "absent")},
        {"client-certificate-data": "ä", "client-key": str(me.key)},
    ):
        error = refused(lab.api(1, entry))
        assert "a certificate of the kubeconfig cannot be used" in error.message
        assert error.lasting


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"server": ""}, {}, "no address of an API server"),
        ({"server": "ftp://x"}, {}, "no address of an API server"),
        ({"server": 5}, {}, "no address of an API server"),
        ({"server": "https://[x"}, {}, "has no address here"),
        ({"server": "https://localhost:99999"}, {}, "refused the connection"),
        ({"certificate-authority": "/absent"}, {}, "a certificate of the kubeconfig cannot be used"),
        ({"certificate-authority-data": "eA=="}, {}, "a certificate of the kubeconfig cannot be used"),
        ({}, {"token": 5}, "user of the context 'lab' cannot be read"),
        ({}, {"tokenFile": "/absent"}, "Token file /absent not found"),
        ({}, {"token": "bad\ntoken"}, "cannot be"),
        ({}, {"auth-provider": {"name": "gcp"}}, "has 'auth-provider'"),
        ({}, {"as": "somebody"}, "has 'as'"),
        ({"proxy-url": "nonsense"}, {}, "the proxy 'nonsense' is of a kind that clockstep does not know"),
        ({"proxy-url": 5}, {}, "the proxy 5 is of a kind"),
        ({"proxy-url": "socks5://127.0.0.1:1"}, {}, "the proxy 'socks5://127.0.0.1:1' is of a kind"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_is_an_error(
    lab: Lab, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    server = lab.serve(listing([]))
    assert said in refused(lab.api(server.server_port, user, cluster)).message


def test_the_proxy_of_the_kubeconfig_or_the_environment_is_asked_for_the_way(lab: Lab) -> None:
    for cluster, environ in (({"proxy-url": "http://127.0.0.1:{}"}, {}), ({}, {"HTTPS_PROXY": "http://127.0.0.1:{}"})):
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            port = proxy.getsockname()[1]
            filled = [{key: value.format(port) for key, value in one.items()} for one in (cluster, environ)]
            api = lab.api(1, None, {"server": "https://api.example.org:6443", **filled[0]}, filled[1])
            refused(api)
            assert proxy.accept()[0].recv(100).startswith(b"CONNECT api.example.org:6443 ")


def test_having_a_cluster_asks_nobody_and_reads_nothing() -> None:
    access = KubeAccess("/absent/config")
    assert KubernetesApi(access, {})
    assert Connection(access, {}, SHORT_S)


def test_without_its_client_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['lightkube'] = None\n"
        "from clockstep.kubernetes.api import KubernetesApi\nfrom clockstep.model import KubeAccess\n"
        "try: KubernetesApi(KubeAccess(), {}).nodes()\n"
        "except Exception as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "pip install 'clockstep[kubernetes]'\n"


def test_names_that_could_be_addresses_go_nowhere(lab: Lab) -> None:
    server = lab.serve(listing([]))
    for name in ("", "..", "a/b", "a?b", "A", "a\n", "a" * 254, "-a"):
        for ask in (KubernetesApi.condition, KubernetesApi.remove_condition):
            call: Callable[[KubernetesApi, str], Any] = ask
            with pytest.raises(KubernetesError, match="cannot be the name of a Node"):
                call(lab.api(server.server_port), name)
    assert server.requests == []
