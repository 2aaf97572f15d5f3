"""What a watcher and an agent report, as real API servers take it: beside what others write, and through bad times."""

import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clockstep.agent.kube.client import NodeReports
from clockstep.agent.options import Reporting
from clockstep.core.condition import writer_of
from clockstep.core.condition_schedule import STALE_NS
from clockstep.kubernetes.api import KubernetesApi
from clockstep.model import Episode, KubeAccess, Offset, Verdict
from clockstep.ports import KubeReports
from clockstep.sinks.reporter import Reporter
from clockstep.units import MINUTE_NS, SECOND_NS
from clockstep_lab.kubernetes.api import STRATEGIC, Object
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.tls import Validity
from core.simulation import SimClock
from core.test_condition import BEHIND, TEN_MS, look
from core.test_kube_events import STEP, corrected

from .objects import EVENTS, NODES, add_node, apply, empty
from .test_manifests import DEPLOY

UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
GOOD, BAD, UNREAD = look(Verdict.GOOD, Offset(0, 1)), look(Verdict.BAD, BEHIND), look(Verdict.UNREACHABLE)
HOUR = timedelta(hours=1)
OTHER = {"type": "KernelDeadlock", "status": "False", "reason": "KernelHasNoDeadlock", "message": "none"}


Client = Callable[[Path], KubeReports]
"""Returns a client of the cluster that a kubeconfig names."""


def of_watcher(kubeconfig: Path) -> KubeReports:
    return KubernetesApi(KubeAccess(str(kubeconfig)), {})


class Bench:
    """Reporters of one real cluster, by a made-up clock: minutes of heartbeats and retries take no time."""

    def __init__(self, cluster: Cluster, kubeconfig: Path, client: Client = of_watcher) -> None:
        self.cluster, self._client, self._kubeconfig = cluster, client, kubeconfig
        self.clock, self.told = SimClock(), list[str]()
        self.reporter = self.writer("watch@kvm1")

    def writer(self, name: str) -> Reporter:
        reports = self._client(self._kubeconfig)
        return Reporter(
            reports, name, self.clock, self.clock, lambda _node, text: self.told.append(text), chance=lambda: 0.5
        )

    def see(self, episode: Episode, after_ns: int = SECOND_NS, by: Reporter | None = None, *, new: bool = True) -> None:
        self.clock.sleep_ns(after_ns)
        (by or self.reporter).seen("node-1", episode, TEN_MS, new=new)
        (by or self.reporter).turn()

    def go_on(self, duration_ns: int) -> None:
        """Let time pass, and the reporter do what is due."""
        end_ns = self.clock.mono + duration_ns
        while (wait_ns := self.reporter.turn()) is not None and self.clock.mono + wait_ns <= end_ns:
            self.clock.sleep_ns(wait_ns)
        self.clock.sleep_ns(max(0, end_ns - self.clock.mono))

    def conditions(self) -> dict[str, Object]:
        found = self.cluster.admin.get(f"{NODES}/node-1")["status"]["conditions"]
        assert len({one["type"] for one in found}) == len(found)
        return {one["type"]: one for one in found}

    def events(self) -> list[Object]:
        found = self.cluster.admin.get(f"{EVENTS}?fieldSelector=source=clockstep")["items"]
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))


@pytest.fixture(params=["watcher", "agent"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """Each of both clients; the agent's believes a kubeconfig only where nobody else may write it."""

    def of_agent(kubeconfig: Path) -> KubeReports:
        return NodeReports(Reporting(str(shutil.copy(kubeconfig, tmp_path / "kubeconfig"))))

    return of_agent if request.param == "agent" else of_watcher


def bench_of(cluster: Cluster, client: Client) -> Bench:
    add_node(cluster, "node-1", UUID)
    return Bench(cluster, cluster.kubeconfig, client)


@pytest.fixture
def bench(cluster: Cluster, client: Client) -> Bench:
    """A bench of each client on each of both servers."""
    return bench_of(cluster, client)


@pytest.fixture
def today(kubelite: Kubelite, client: Client) -> Bench:
    """A bench on the server that is restarted quickly."""
    empty(kubelite)
    return bench_of(kubelite, client)


def test_the_condition_is_written_and_removed_and_all_others_stay_as_they_are(bench: Bench) -> None:
    bench.cluster.admin.patch(f"{NODES}/node-1/status", {"status": {"conditions": [OTHER]}}, STRATEGIC)
    others = bench.conditions()
    for episode, status in ((GOOD, "False"), (BAD, "True"), (UNREAD, "Unknown")):
        bench.see(episode)
        written = bench.conditions()
        assert written["ClockProblem"]["status"] == status
        assert written["KernelDeadlock"] == others["KernelDeadlock"]
        assert others.keys() <= written.keys()
    bench.reporter.gone("node-1")
    bench.go_on(0)
    left = bench.conditions()
    assert "ClockProblem" not in left
    assert left["KernelDeadlock"] == others["KernelDeadlock"]
    assert others.keys() <= left.keys()
    assert not bench.told


def test_the_last_transition_survives_a_restart(bench: Bench) -> None:
    bench.see(GOOD)
    first = bench.conditions()["ClockProblem"]
    bench.reporter = bench.writer("watch@kvm1")
    bench.see(GOOD, 10 * MINUTE_NS)
    again = bench.conditions()["ClockProblem"]
    assert again["lastTransitionTime"] == first["lastTransitionTime"]
    assert again["lastHeartbeatTime"] > first["lastHeartbeatTime"]
    bench.see(BAD)
    assert bench.conditions()["ClockProblem"]["lastTransitionTime"] > first["lastTransitionTime"]


def test_a_kubelet_and_a_watcher_that_write_at_the_same_time_lose_nothing(bench: Bench) -> None:
    rounds = 25

    def write_as_a_kubelet() -> None:
        for number in range(rounds):
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": f"round {number}"}
            bench.cluster.admin.patch(f"{NODES}/node-1/status", {"status": {"conditions": [ready]}}, STRATEGIC)

    kubelet = threading.Thread(target=write_as_a_kubelet)
    kubelet.start()
    for number in range(rounds):
        bench.see(BAD if number % 2 else GOOD, 2 * SECOND_NS, new=False)
    kubelet.join(60)
    found = bench.conditions()
    assert found["Ready"]["message"] == f"round {rounds - 1}"
    assert found["ClockProblem"]["status"] == "False"
    assert not bench.told


def test_kubectl_describes_the_node_with_its_condition_and_its_events(bench: Bench) -> None:
    bench.see(corrected(STEP))
    for after_ns in (SECOND_NS, MINUTE_NS):
        bench.see(UNREAD, after_ns)
        bench.see(GOOD)
    described = " ".join(bench.cluster.kubectl("describe", "node", "node-1").split())
    assert "ClockProblem False " in described
    assert "ClockInBounds offset within ± 10 ms (clockstep watch@kvm1)" in described
    stepped = "clock stepped by +36.002 s: reverted to a snapshot (base); it was off for 310 ms"
    assert f"clockstep {stepped}" in described
    assert "(x2 over " in described
    events = bench.events()
    assert [(one["type"], one["reason"], one["count"]) for one in events] == [
        ("Normal", "ClockStepped", 1),
        ("Warning", "ClockUnsure", 2),
    ]
    for one in events:
        about = {"kind": "Node", "name": "node-1", "uid": "node-1"}
        assert about.items() <= one["involvedObject"].items()
        assert (one["metadata"]["namespace"], one["source"]["component"]) == ("default", "clockstep")
    assert events[1]["firstTimestamp"] < events[1]["lastTimestamp"]


def test_an_event_that_the_server_has_forgotten_meanwhile_is_recorded_anew(bench: Bench) -> None:
    bench.see(UNREAD)
    bench.cluster.admin.delete(EVENTS)
    bench.see(GOOD)
    bench.see(UNREAD, MINUTE_NS)
    (event,) = bench.events()
    assert (event["count"], event["reason"]) == (2, "ClockUnsure")


def test_an_api_that_is_away_for_minutes_gets_the_last_state_when_it_is_back(today: Bench) -> None:
    today.see(GOOD)
    with today.cluster.away():
        for episode in (BAD, GOOD, corrected(STEP), UNREAD):
            today.see(episode)
            today.go_on(MINUTE_NS)
        assert today.reporter.up is False
    today.go_on(10 * MINUTE_NS)
    assert today.conditions()["ClockProblem"]["reason"] == "ClockUnsure"
    assert {one["reason"] for one in today.events()} == {"ClockOutOfBounds", "ClockStepped", "ClockUnsure"}
    assert today.reporter.up is True
    assert today.told[-1] == "reporting to Kubernetes works again"
    assert len(today.told) == 2, today.told


def test_a_certificate_that_is_not_valid_yet_is_said_and_waited_for(today: Bench) -> None:
    today.see(GOOD)
    now = datetime.now(UTC)
    with today.cluster.showing(Validity(now + HOUR, now + 2 * HOUR)):
        today.see(BAD)
        today.go_on(MINUTE_NS)
        (said,) = today.told
        assert "is not yet valid" in said
        assert today.reporter.up is False
    today.cluster.start()
    today.go_on(10 * MINUTE_NS)
    assert today.conditions()["ClockProblem"]["reason"] == "ClockOutOfBounds"


def tokened(cluster: Cluster, file: Path, token: str) -> Path:
    """Write a kubeconfig whose token is in a file of its own, as one that is rotated is."""
    file.write_text(token)
    return cluster.kubeconfig_of("rotated", {"tokenFile": str(file)})


def test_a_token_that_is_replaced_is_read_again(bench: Bench, client: Client, tmp_path: Path) -> None:
    apply(bench.cluster, *(DEPLOY / name for name in ("namespace.yaml", "watcher.yaml")))
    token = bench.cluster.token("clockstep", "clockstep-watcher")
    rotated = Bench(bench.cluster, tokened(bench.cluster, tmp_path / "token", "no-longer-valid"), client)
    rotated.see(BAD)
    assert rotated.told
    assert "refuses the credentials" in rotated.told[0]
    (tmp_path / "token").write_text(token)
    rotated.go_on(10 * MINUTE_NS)
    assert rotated.conditions()["ClockProblem"]["reason"] == "ClockOutOfBounds"


def test_a_token_that_expires_is_replaced_by_the_one_in_its_file(
    control_plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    empty(control_plane)
    add_node(control_plane, "node-1", UUID)
    apply(control_plane, *(DEPLOY / name for name in ("namespace.yaml", "watcher.yaml")))
    now = datetime.now(UTC)
    lapsed = control_plane.token_for("clockstep", "clockstep-watcher", Validity(now - 2 * HOUR, now - HOUR))
    bench = Bench(control_plane, tokened(control_plane, tmp_path / "token", lapsed), client)
    bench.see(BAD)
    bench.go_on(MINUTE_NS)
    assert "ClockProblem" not in bench.conditions()
    (tmp_path / "token").write_text(control_plane.token("clockstep", "clockstep-watcher"))
    bench.go_on(10 * MINUTE_NS)
    assert bench.conditions()["ClockProblem"]["reason"] == "ClockOutOfBounds"
    assert bench.reporter.up


def test_of_two_writers_one_keeps_the_condition_until_it_is_gone_and_each_removes_its_own(bench: Bench) -> None:
    second = bench.writer("watch@kvm2")
    bench.see(GOOD)
    bench.see(BAD, by=second)
    assert writer(bench) == "watch@kvm1"
    second.gone("node-1")
    second.turn()
    assert writer(bench) == "watch@kvm1"
    for _ in range(STALE_NS // MINUTE_NS + 8):
        bench.see(BAD, MINUTE_NS, by=second, new=False)
    assert writer(bench) == "watch@kvm2"
    bench.reporter.gone("node-1")
    bench.go_on(0)
    assert writer(bench) == "watch@kvm2"


def writer(bench: Bench) -> str:
    found = of_watcher(bench.cluster.kubeconfig).condition("node-1")
    assert found
    return writer_of(found)


def test_a_node_that_was_made_anew_has_its_condition_again(bench: Bench) -> None:
    bench.see(GOOD)
    bench.cluster.admin.delete(f"{NODES}/node-1")
    bench.see(BAD)
    bench.go_on(MINUTE_NS)
    add_node(bench.cluster, "node-1", UUID)
    bench.see(BAD, 10 * MINUTE_NS)
    bench.go_on(10 * MINUTE_NS)
    assert bench.conditions()["ClockProblem"]["reason"] == "ClockOutOfBounds"
