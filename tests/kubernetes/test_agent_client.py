"""The agent's own client against servers that are away, slow, silent or wrong, and files that are not what they should
be: every call ends in its time, with what to do, and no secret in it.
"""

import base64
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from clockstep.agent.kube.access import KUBELETS, node_of, target
from clockstep.agent.kube.client import MOST_BYTES, Lookup, NodeReports, look_up
from clockstep.agent.kube.sink import NodeName, described
from clockstep.agent.options import Options, Reporting
from clockstep.errors import KubernetesError, UsageError
from clockstep.model import KubeCondition, KubeEvent
from clockstep_lab.run import run
from clockstep_lab.tls import Authority, Certificate, Validity

from .faulty import Answer, Handler, Server, kubeconfig
from .test_client import NO_MORE, NOT_YET, Lab, dripping, packed, says, silent

SHORT_S, LONG_S = 0.4, 20.0
AT_NS = 1_800_000_000_000_000_000
CONDITION = KubeCondition("False", "ClockInBounds", "offset within ± 10 ms (clockstep agent@node-1)", AT_NS, AT_NS)
WRITTEN = {"type": "ClockProblem", "status": "False", "reason": "R", "message": "m"}
NODE = {"metadata": {"name": "node-1"}, "status": {"conditions": [WRITTEN]}}
SECRET = "eyJhbGciOi.secret"


class Place(Lab):
    """A folder with an authority, the servers of a test, and a token file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.token = folder / "token"
        self.token.write_text(f"{SECRET}\n")

    def by_token(self, server: Server | int, host: str = "localhost") -> Reporting:
        """How to report by an address, an authority and a token file."""
        port = server if isinstance(server, int) else server.server_port
        trusted = str(self.authority.certificate.file)
        return Reporting(server=f"https://{host}:{port}", ca=trusted, token_file=str(self.token))

    def by_kubeconfig(self, at: Server | int, user: dict[str, Any], **cluster: Any) -> Reporting:
        """How to report by a kubeconfig whose user is this."""
        port = at if isinstance(at, int) else at.server_port
        trusted = str(self.authority.certificate.file)
        entry = {"server": f"https://localhost:{port}", "certificate-authority": trusted, **cluster}
        return Reporting(str(kubeconfig(self.folder / "config", entry, user)))

    def by_json(self, user: dict[str, Any], **cluster: Any) -> Reporting:
        """The same in JSON, whose values may be anything."""
        file = Path((found := self.by_kubeconfig(1, user, **cluster)).kubeconfig)
        file.write_text(json.dumps(yaml.safe_load(file.read_text())))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for server in made.servers:
        server.end()


def reports(reporting: Reporting, within_s: float = LONG_S, lookup: Lookup = look_up) -> NodeReports:
    return NodeReports(reporting, within_s=within_s, lookup=lookup)


def refused(reporting: Reporting, within_s: float = LONG_S, lookup: Lookup = look_up) -> KubernetesError:
    with pytest.raises(KubernetesError) as caught:
        reports(reporting, within_s, lookup).condition("node-1")
    shown = f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in shown
    assert shown.isprintable()
    return caught.value


def test_a_condition_is_read_by_the_token_in_the_file(place: Place) -> None:
    server = place.serve(says(NODE))
    found = reports(place.by_token(server)).condition("node-1")
    assert found == KubeCondition("False", "R", "m")
    ((path, headers),) = server.requests
    assert (path, headers["Authorization"]) == ("/api/v1/nodes/node-1", f"Bearer {SECRET}")


def test_a_server_below_a_path_is_asked_there(place: Place) -> None:
    server = place.serve(says(NODE))
    by_path = place.by_kubeconfig(server, {"token": SECRET}, server=f"https://localhost:{server.server_port}/k8s/c-1/")
    reports(by_path).condition("node-1")
    assert [path for path, _ in server.requests] == ["/k8s/c-1/api/v1/nodes/node-1"]


def test_a_token_that_was_replaced_counts_at_the_next_request(place: Place) -> None:
    server = place.serve(says(NODE))
    for reporting in (place.by_token(server), place.by_kubeconfig(server, {"tokenFile": str(place.token)})):
        server.requests.clear()
        ours = reports(reporting)
        for token in ("first", "second"):
            place.token.write_text(token)
            ours.condition("node-1")
        assert [headers["Authorization"] for _, headers in server.requests] == ["Bearer first", "Bearer second"]


def bundle(folder: Path, shown: Certificate) -> Path:
    """Write certificate and key into one file that a link leads to, as a kubelet does."""
    file = folder / f"kubelet-client-{shown.file.stem}.pem"
    file.write_text(shown.file.read_text() + shown.key.read_text())
    link = folder / "kubelet-client-current.pem"
    (new := folder / "kubelet-client-current.new").symlink_to(file)
    new.replace(link)
    return link


def test_a_certificate_that_a_kubelet_has_rotated_counts_at_the_next_request(place: Place) -> None:
    shown: list[str] = []

    def answer(handler: Handler) -> None:
        connection: Any = handler.connection
        shown.append(dict(one[0] for one in connection.getpeercert()["subject"])["commonName"])
        handler.send_json(NODE)

    server = place.serve(answer, trusted=place.authority.certificate.file)
    link = bundle(place.folder, place.authority.issue("system:node:node-1"))
    reporting = place.by_kubeconfig(server, {"client-certificate": str(link), "client-key": str(link)})
    ours, name = reports(reporting), NodeName(reporting)
    ours.condition("node-1")
    assert name.node("some-host") == "node-1"
    bundle(place.folder, place.authority.issue("system:node:node-2"))
    ours.condition("node-1")
    assert shown == ["system:node:node-1", "system:node:node-2"]
    assert name.node("some-host") == "node-2"


def open_files() -> list[str]:
    """What this process has open, as the kernel calls it."""
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(file.readlink()))
    return found


def test_a_certificate_that_is_in_the_kubeconfig_is_shown_and_nothing_of_its_key_stays_open(place: Place) -> None:
    me = place.authority.issue("system:node:node-1")
    server = place.serve(says(NODE), trusted=place.authority.certificate.file)
    data = {
        "client-certificate-data": base64.b64encode(me.file.read_bytes()).decode(),
        "client-key-data": base64.b64encode(me.key.read_bytes()).decode(),
    }
    reporting = place.by_kubeconfig(server, data)
    assert reports(reporting).condition("node-1")
    assert NodeName(reporting).node("some-host") == "node-1"
    assert not [name for name in open_files() if "memfd" in name]


def test_the_name_of_the_node_is_the_given_one_or_the_hosts_without_a_kubelets_certificate(place: Place) -> None:
    by_token = place.by_token(1)
    found = target(by_token)
    assert node_of(by_token, found, "Worker-1.Example.org") == "worker-1.example.org"
    assert node_of(Reporting(node="w1"), found, "some-host") == "w1"
    other = place.authority.issue("somebody")
    by_other = place.by_kubeconfig(1, {"client-certificate": str(other.file), "client-key": str(other.key)})
    assert node_of(by_other, target(by_other), "some-host") == "some-host"


@pytest.mark.parametrize("place_of", KUBELETS)
def test_the_kubelets_own_kubeconfig_is_found_where_it_is_usual(place: Place, place_of: str) -> None:
    server = place.serve(says(NODE))
    root = place.folder / "root"
    there = Path(place.by_kubeconfig(server, {"token": SECRET}).kubeconfig)
    with pytest.raises(KubernetesError, match=r"no kubeconfig of a kubelet here .*kubelet\.conf.*--kubeconfig"):
        target(Reporting(), root)
    (root / place_of).parent.mkdir(parents=True)
    there.rename(root / place_of)
    assert NodeReports(Reporting(), root, LONG_S).condition("node-1")


def test_what_is_written_is_what_kubernetes_takes(place: Place) -> None:
    sent: list[tuple[str, str, str, Any]] = []

    def answer(handler: Handler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        sent.append((handler.command, handler.path, handler.headers["content-type"], body))
        handler.send_json({"kind": "Status", "message": "gone"}, 404 if handler.command == "PATCH" else 201)

    ours = reports(place.by_token(place.serve(answer)))
    ours.record(KubeEvent("node-1", "Normal", "ClockStepped", "stepped \x1b[1m", AT_NS + 10**9, 2, AT_NS))
    with pytest.raises(KubernetesError, match="gone"):
        ours.set_condition("node-1", CONDITION)
    (patch, path, kind, again), (post, events, _, event), (_, status, strategic, condition) = sent
    assert (patch, kind, again["count"]) == ("PATCH", "application/merge-patch+json", 2)
    assert path == f"{events}/{event['metadata']['name']}"
    assert (post, events) == ("POST", "/api/v1/namespaces/default/events")
    assert event["message"] == "stepped \\x1b[1m"
    assert (status, strategic) == ("/api/v1/nodes/node-1/status", "application/strategic-merge-patch+json")
    assert condition["status"]["conditions"][0]["lastHeartbeatTime"] == "2027-01-15T08:00:00Z"


def test_a_server_that_is_not_there_refuses(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refused(place.by_token(port))
    assert error.message == f"the API server https://localhost:{port} refused the connection"
    assert not error.lasting


@pytest.mark.parametrize(("validity", "said"), [(NOT_YET, "is not yet valid"), (NO_MORE, "has expired")])
def test_a_certificate_whose_time_has_not_come_or_is_over_is_said_so(
    place: Place, validity: Validity, said: str
) -> None:
    server = place.serve(says(NODE), validity=validity)
    error = refused(place.by_token(server))
    assert error.message == f"the certificate of the API server https://localhost:{server.server_port} {said}"
    assert not error.lasting
    assert server.requests == []


def test_a_server_that_is_another_or_whose_authority_is_another_gets_no_token(place: Place, tmp_path: Path) -> None:
    server = place.serve(says(NODE), host="elsewhere")
    assert "Hostname mismatch" in refused(place.by_token(server)).message
    by_name = place.by_kubeconfig(server, {"token": SECRET}, **{"tls-server-name": "elsewhere"})
    assert reports(by_name).condition("node-1")
    server.requests.clear()
    other = str(Authority(tmp_path / "other").certificate.file)
    by_other = place.by_kubeconfig(
        server, {"token": SECRET}, **{"tls-server-name": "elsewhere", "certificate-authority": other}
    )
    assert "no trusted connection" in refused(by_other).message
    assert server.requests == []


def continuing(handler: Handler) -> None:
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def heads(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b"x: y\r\n")


@pytest.mark.parametrize("answer", [silent, dripping, continuing, heads])
def test_a_server_that_never_ends_its_answer_is_given_up(place: Place, answer: Answer) -> None:
    error = refused(place.by_token(place.serve(answer)), SHORT_S)
    assert "did not answer in time, asked to get node node-1" in error.message


def test_a_server_that_never_shakes_hands_and_a_lookup_that_hangs_are_given_up(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert "did not answer in time" in refused(place.by_token(listening.getsockname()[1]), SHORT_S).message
    over = threading.Event()

    def hanging(_host: str, _port: int) -> list[Any]:
        over.wait(60)
        return []

    assert "did not answer in time" in refused(place.by_token(1), SHORT_S, hanging).message
    over.set()


def test_of_several_addresses_one_that_answers_is_enough(place: Place) -> None:
    server = place.serve(says(NODE))
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = free.getsockname()

    def both(host: str, port: int) -> list[Any]:
        there = look_up("127.0.0.1", port)
        return [(*there[0][:4], away), *there]

    def strange(host: str, port: int) -> list[Any]:
        (there, *_) = look_up("127.0.0.1", port)
        return [(socket.AF_UNSPEC, *there[1:]), there]  # no socket can be of that family

    assert reports(place.by_token(server), lookup=both).condition("node-1")
    assert reports(place.by_token(server), lookup=strange).condition("node-1")
    assert "has no address here" in refused(place.by_token(1, "no-such-host.invalid")).message
    assert "it has no address" in refused(place.by_token(1), lookup=lambda _host, _port: []).message


def huge(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(1 << 50))
    handler.end_headers()
    while not handler.server.over.is_set():
        handler.wfile.write(bytes(1 << 16))


def chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    while not handler.server.over.is_set():
        handler.wfile.write(b"1\r\n \r\n" * 1000)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (huge, "the answer is longer than 1 MiB"),
        (chunks, "the answer is longer than 1 MiB"),
        (lambda handler: handler.send(b" " * (MOST_BYTES + 1)), "the answer is longer than 1 MiB"),
        (packed(gzip.compress(b"{}")), "the answer is packed by gzip, which nobody asked for"),
        (lambda handler: handler.send(b"<html>"), "cannot be understood, asked to get node node-1"),
        (lambda handler: handler.send(b""), "cannot be understood"),
        (lambda handler: handler.send(b"[" * 100_000), "cannot be understood"),
        (lambda handler: handler.send(b'{"a":' * 100_000), "cannot be understood"),
        (lambda handler: handler.send(b"1" * 100_000), "cannot be understood"),
        (lambda handler: handler.send(b"\xff\xfe{}"), "cannot be understood"),
        (lambda handler: handler.send(b'{"status"', content_length="100"), "cannot be"),
        (says([]), "the answer is no object"),
        (says(["x"], 500), "answered 500, asked to get node node-1"),
        (lambda handler: handler.send(b"<html>", 503, content_type="text/html"), "answered 503"),
        (lambda handler: handler.send(b"", 302, location="https://elsewhere/"), "answered 302"),
        (lambda handler: handler.wfile.write(b"\x00\xff\n\n"), "cannot be reached"),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 " + b"x" * 100_000), "cannot be reached"),
        (lambda handler: setattr(handler, "close_connection", True), "cannot be reached"),
        (says({"kind": "Status", "message": "try \x1b[1m later"}, 429), "answered 429, asked to get node node-1: try"),
        (says({"kind": "Status", "message": "x" * 100_000}, 403), "forbidden to get node node-1"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_one_line(place: Place, answer: Answer, said: str) -> None:
    error = refused(place.by_token(place.serve(answer)))
    assert said in error.message
    assert len(error.message) <= 1024


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"status": 5},
        {"status": {"conditions": "x"}},
        {"status": {"conditions": [5, {"type": ["ClockProblem"]}, None]}},
    ],
)
def test_a_node_that_makes_no_sense_has_no_condition(place: Place, node: object) -> None:
    assert reports(place.by_token(place.serve(says(node)))).condition("node-1") is None


def test_a_condition_is_bounded(place: Place) -> None:
    odd = {
        "type": "ClockProblem",
        "status": 7,
        "reason": "x" * 5000,
        "message": "y" * 5000,
        "lastHeartbeatTime": "soon",
    }
    found = reports(place.by_token(place.serve(says({"status": {"conditions": [odd]}})))).condition("node-1")
    assert found == KubeCondition("", "x" * 1024, "y" * 1024)


def test_credentials_that_are_refused_are_said_and_read_again(place: Place) -> None:
    def answer(handler: Handler) -> None:
        if handler.headers["authorization"] == "Bearer new":
            handler.send_json(NODE)
        else:
            handler.send_json({"kind": "Status", "message": "Unauthorized", "code": 401}, 401)

    reporting = place.by_token(place.serve(answer))
    error = refused(reporting)
    assert "refuses the credentials: Unauthorized" in error.message
    assert error.status == 401
    place.token.write_text("new")
    assert reports(reporting).condition("node-1")


@pytest.mark.parametrize("token", [b"", b"\n", b"two words", b"a\nb: c", b"\xff", b"\x1b[1m", b"x" * (1 << 17)])
def test_a_token_file_that_has_none_is_said_without_what_it_has(place: Place, token: bytes) -> None:
    server = place.serve(says(NODE))
    place.token.write_bytes(token)
    error = refused(place.by_token(server))
    assert error.message == f"the token file {place.token} has no token"
    assert server.requests == []


def test_a_file_that_is_not_there_or_too_large_is_named(place: Place) -> None:
    by_token = place.by_token(1)
    place.token.unlink()
    assert refused(by_token).message == f"{place.token} cannot be read: No such file or directory"
    place.token.write_bytes(bytes((1 << 20) + 1))
    assert refused(by_token).message == f"{place.token} cannot be read: it is larger than 1 MiB"
    assert (
        "/absent cannot be read" in refused(place.by_kubeconfig(1, {}, **{"certificate-authority": "/absent"})).message
    )
    user = {"client-certificate": "/absent", "client-key": "/absent"}
    assert "/absent cannot be read" in refused(place.by_kubeconfig(1, user)).message
    assert "/absent cannot be read" in refused(Reporting("/absent")).message


def test_a_key_with_a_password_or_no_certificate_is_refused_without_a_question(place: Place) -> None:
    me, locked = place.authority.issue("me"), place.folder / "locked"
    run(["openssl", "pkey", "-in", me.key, "-aes256", "-passout", "pass:x", "-out", locked])
    for user in (
        {"client-certificate": str(me.file), "client-key": str(locked)},
        {"client-certificate": str(place.token), "client-key": str(me.key)},
        {"client-certificate-data": "ä", "client-key-data": "ä"},
        {"client-certificate-data": 5, "client-key-data": 5},
    ):
        assert "a certificate of the kubeconfig cannot be used: " in refused(place.by_json(dict(user))).message


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"server": "http://localhost:6443"}, {}, "is no address of an API server by https://"),
        ({"server": ""}, {}, "is no address"),
        ({"server": "https://[x"}, {}, "is no address"),
        ({"server": "https://"}, {}, "is no address"),
        ({"server": "https://localhost:99999"}, {}, "is no address"),
        ({"insecure-skip-tls-verify": True}, {}, "takes any server for the right one"),
        ({"proxy-url": "http://127.0.0.1:1"}, {}, "names a proxy"),
        ({}, {"exec": {"command": "x"}}, "has a program started to log in, which the agent does not"),
        ({}, {"auth-provider": {"name": "gcp"}}, "logs in by an auth-provider"),
        ({}, {"username": "x", "password": "pw"}, "logs in by a password"),
        ({}, {"as": "somebody"}, "acts as somebody else"),
    ],
)
def test_a_kubeconfig_that_asks_for_more_than_the_agent_does_is_refused_before_anything_is_sent(
    place: Place, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    server = place.serve(says(NODE))
    reporting = place.by_kubeconfig(server, user, **cluster)
    assert said in refused(reporting).message
    assert described(reporting, "node-1").startswith("Kubernetes, but not yet: ")
    assert server.requests == []


def test_a_kubeconfig_that_others_may_write_is_not_believed(place: Place) -> None:
    reporting = place.by_kubeconfig(place.serve(says(NODE)), {"token": SECRET})
    Path(reporting.kubeconfig).chmod(0o666)
    assert "is not trusted" in refused(reporting).message
    Path(reporting.kubeconfig).chmod(0o600)
    assert described(reporting, "Node-1").endswith(", as the Node node-1")
    place.folder.chmod(0o777)
    assert "is not trusted" in refused(reporting).message


@pytest.mark.parametrize(
    "text",
    [
        "clusters: {a: b}\n",
        "clusters:\n- cluster: x\n",
        "clusters: x\n",
        "[]",
        "\x00",
        '{"clusters": ' + "[" * 5000,
        "current-context: a\n",
        "",
        "kind: Config\n",
    ],
)
def test_a_kubeconfig_that_makes_no_sense_is_an_error_with_its_file(place: Place, text: str) -> None:
    (file := place.folder / "config").write_text(text)
    assert str(file) in refused(Reporting(str(file))).message


@pytest.mark.parametrize(
    ("cluster", "user"),
    [({}, {"tokenFile": ["x"]}), ({"certificate-authority": 5}, {}), ({}, {"tokenFile": "/a\0b"})],
)
def test_a_kubeconfig_whose_paths_are_none_ends_no_agent(
    place: Place, cluster: dict[str, Any], user: dict[str, Any]
) -> None:
    reporting = place.by_json(user, **cluster)
    assert described(reporting, "node-1").startswith(f"Kubernetes, but not yet: the kubeconfig {reporting.kubeconfig} ")
    assert refused(reporting).lasting


def test_a_path_that_leads_nowhere_ends_no_agent(place: Place) -> None:
    (loop := place.folder / "loop").symlink_to("loop")
    for path in (place.token / "below", loop):
        assert described(Reporting(str(path)), "node-1").startswith("Kubernetes, but not yet: the kubeconfig ")
        assert str(path) in refused(Reporting(str(path))).message


def test_names_that_could_be_addresses_go_nowhere(place: Place) -> None:
    server = place.serve(says(NODE))
    for name in ("", "..", "a/b", "a?b", "A", "a\n", "a" * 254, "-a"):
        for ask in (NodeReports.condition, NodeReports.remove_condition):
            call: Callable[[NodeReports, str], Any] = ask
            with pytest.raises(KubernetesError, match="cannot be the name of a Node"):
                call(reports(place.by_token(server)), name)
    assert server.requests == []


def test_having_reports_reads_nothing_and_asks_nobody() -> None:
    assert NodeReports(Reporting("/absent"))


def test_no_connection_is_left_open(place: Place) -> None:
    server = place.serve(says(NODE))
    reporting, times = place.by_token(server), 50
    before = len(open_files())
    for answer in (says(NODE), says({}, 500), lambda handler: handler.send(b"<")):
        server.answer = answer
        for _ in range(times):
            with suppress(KubernetesError):
                reports(reporting).condition("node-1")
    assert len(open_files()) - before < times  # of both ends, whose server closes its own a moment later


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (Options(), None),
        (Options(kubernetes=True), Reporting()),
        (Options(kubernetes=True, node="n"), Reporting(node="n")),
        (Options(kubeconfig="f"), Reporting("f")),
        (Options(server="https://x", ca="c", token_file="t"), Reporting("", "https://x", "c", "t")),
    ],
)
def test_options_say_how_to_report(options: Options, meant: Reporting | None) -> None:
    assert options.reporting == meant


@pytest.mark.parametrize(
    "options",
    [
        Options(server="https://x"),
        Options(server="https://x", ca="c"),
        Options(ca="c", token_file="t"),
        Options(token_file="t", kubernetes=True),
        Options(server="http://x", ca="c", token_file="t"),
        Options(server="https://x", ca="c", token_file="t", kubeconfig="f"),
        Options(node="n"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: Options) -> None:
    with pytest.raises(UsageError):
        _ = options.reporting
