"""The watcher's Episodes reach the Nodes of their machines, and a cluster that hangs delays no correction."""

import threading
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from clockstep.errors import HypervisorError, KubernetesError
from clockstep.flows.watch.watched import Orders
from clockstep.flows.watch.watcher import Watcher
from clockstep.model import Guest, KubeNode, Policy, Verdict
from clockstep.ports import Listed, Sink, World
from clockstep.sinks.kubernetes import AGAIN_NS, LONGEST_NS, KubernetesSink, MachineNodes
from clockstep.sinks.metrics import Metrics
from clockstep.sinks.reporter import Reporter
from clockstep.state.sightings import FileSightings
from clockstep.units import HOUR_NS, SECOND_NS
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import SECOND, SimClock, SimHypervisor
from core.test_condition import BEHIND, TEN_MS, look
from core.test_sinks import Over, world_of

BAD = look(Verdict.BAD, BEHIND)
UUIDS = [str(uuid4()) for _ in range(3)]
WEB, DB, OTHER = (Guest(name, uuid, "running") for name, uuid in zip(("web", "db", "other"), UUIDS, strict=True))


class Bench:
    """A watcher's sink by itself and by a made-up clock, with machines and Nodes that a test lists as it likes."""

    def __init__(self, *nodes: KubeNode) -> None:
        self.clock, self.told, self.found = SimClock(), list[str](), list[str]()
        self.cluster = SimulatedKubernetes(nodes)
        finder = MachineNodes(self.cluster, self.clock, lambda _node, text: self.found.append(text))
        self.reporter = Reporter(self.cluster, "watch@kvm1", self.clock, self.clock, self.tell, finder, lambda: 0.5)
        self.sink = KubernetesSink(self.reporter, finder, lambda: TEN_MS)

    def tell(self, _node: str, text: str) -> None:
        self.told.append(text)

    def list(self, *guests: Guest) -> None:
        self.sink.surveyed([Listed("", guests)])

    def see(self, *guests: Guest, after_ns: int = 0) -> None:
        """See these machines' clocks out of bounds, and write what is due."""
        self.clock.sleep_ns(after_ns)
        for guest in guests:
            self.sink.seen(replace(BAD, node=guest.name), new=True)
        self.reporter.turn()

    def written(self) -> set[str]:
        return {name for name, node in self.cluster.by_name.items() if node.problem}


def node(name: str, uuid: str) -> KubeNode:
    return KubeNode(name, f"uid-{name}", uuid)


def test_a_machine_is_its_node_by_its_uuid_in_either_byte_order() -> None:
    swapped = str(UUID(bytes=UUID(DB.uuid).bytes_le))
    bench = Bench(node("node-1", WEB.uuid.upper()), node("node-2", swapped), node("node-3", str(uuid4())))
    bench.list(WEB, DB, OTHER)
    bench.see(WEB, DB, OTHER)
    assert bench.written() == {"node-1", "node-2"}
    assert {one.node for one in bench.cluster.events} == {"node-1", "node-2"}
    assert bench.cluster.calls.count("nodes") == 1
    assert bench.found == ["2 of 3 machines are Nodes of the Kubernetes cluster"]


def test_a_machine_that_joins_the_cluster_later_is_found_and_one_that_never_does_is_asked_for_rarely() -> None:
    bench = Bench(node("node-1", WEB.uuid))
    bench.list(WEB, DB, OTHER)
    for _ in range(6 * 60 * 2):
        bench.see(WEB, DB, OTHER, after_ns=10 * SECOND_NS)
    assert bench.cluster.calls.count("nodes") < 2 * HOUR_NS // LONGEST_NS + 10
    bench.cluster.by_name["node-2"] = node("node-2", DB.uuid)
    bench.see(WEB, DB, after_ns=LONGEST_NS)
    assert bench.written() == {"node-1", "node-2"}


def test_a_node_that_was_renamed_is_found_by_its_new_name() -> None:
    bench = Bench(node("node-1", WEB.uuid))
    bench.list(WEB)
    bench.see(WEB)
    bench.cluster.by_name = {"renamed": node("renamed", WEB.uuid)}
    for _ in range(60):
        bench.see(WEB, after_ns=10 * SECOND_NS)
    assert bench.written() == {"renamed"}
    assert bench.told == ['reporting to Kubernetes: nodes "node-1" not found; trying again']


def test_of_two_nodes_with_one_uuid_none_is_reported_and_that_is_said_once() -> None:
    bench = Bench(node("node-1", WEB.uuid), node("node-2", WEB.uuid), node("node-3", DB.uuid))
    bench.list(WEB, DB)
    for _ in range(10):
        bench.see(WEB, DB, after_ns=AGAIN_NS)
    assert bench.written() == {"node-3"}
    why = "which machine it is cannot be told by its UUID, so nothing is reported of it"
    assert bench.found[1:] == [f"node-1: {why}", f"node-2: {why}"]


def test_a_machine_that_is_listed_no_more_has_its_condition_removed_but_not_while_its_hypervisor_is_silent() -> None:
    bench = Bench(node("node-1", WEB.uuid), node("node-2", DB.uuid))
    bench.list(WEB, DB)
    bench.see(WEB, DB)
    bench.sink.surveyed([Listed("", (), HypervisorError("no answer"))])
    bench.see()
    assert bench.written() == {"node-1", "node-2"}
    bench.list(DB)
    bench.see()
    assert bench.written() == {"node-2"}


def test_the_condition_of_a_machine_that_is_gone_is_removed_also_if_nodes_are_listed_again_before() -> None:
    bench = Bench(node("node-1", WEB.uuid))
    bench.list(WEB)
    bench.see(WEB)
    bench.cluster.trouble = KubernetesError("the API server refused the connection")
    bench.list(DB)
    bench.see(DB, after_ns=AGAIN_NS)
    bench.cluster.trouble = None
    bench.see(DB, after_ns=LONGEST_NS)
    assert bench.cluster.calls.count("nodes") == 3
    assert bench.written() == set()


def test_a_machine_that_migrates_between_two_watched_hosts_keeps_its_condition() -> None:
    bench = Bench(node("node-1", WEB.uuid))
    bench.sink.surveyed([Listed("a", [replace(WEB, connection="a")]), Listed("b")])
    bench.see(WEB)
    bench.sink.surveyed([Listed("a"), Listed("b", [replace(WEB, connection="b")])])
    bench.see()
    assert bench.written() == {"node-1"}


def test_a_cluster_whose_nodes_may_not_be_listed_is_told_once() -> None:
    bench = Bench(node("node-1", WEB.uuid))
    bench.cluster.trouble = KubernetesError("forbidden to list nodes", lasting=True, status=403)
    bench.list(WEB, DB, OTHER)
    for _ in range(60):
        bench.see(WEB, DB, OTHER, after_ns=10 * SECOND_NS)
    assert len(bench.cluster.calls) < 12
    assert set(bench.told) == {"reporting to Kubernetes: forbidden to list nodes; trying again"}


class Hanging(SimulatedKubernetes):
    """A cluster that answers nothing until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.over = threading.Event(), threading.Event()

    def _called(self, call: str) -> None:
        self.asked.set()
        self.over.wait(60)


def watched(world: World, cluster: SimulatedKubernetes) -> tuple[KubernetesSink, Reporter]:
    finder = MachineNodes(cluster, world.clock, world.tell)
    reporter = Reporter(cluster, "watch@kvm1", world.clock, world.reference, world.tell, finder)
    reporter.start()
    return KubernetesSink(reporter, finder, lambda: TEN_MS), reporter


def test_a_watcher_corrects_while_the_api_server_hangs(tmp_path: Path) -> None:
    said = list[str]()
    world, cluster = world_of(tmp_path, said), Hanging()
    assert isinstance(world.hypervisor, SimHypervisor)
    world.hypervisor.machines["web"].offset_ns = -30 * SECOND
    sink, reporter = watched(world, cluster)
    metrics = Metrics(lambda: world.host, lambda: reporter.up)

    def counted() -> float | None:
        return metrics.registry.get_sample_value("clockstep_steps_total", {"node": "web", "cause": "found"})

    class UntilCounted(Over):
        def is_over(self) -> bool:
            if counted() == 1 and cluster.asked.is_set():
                cluster.over.set()
            return cluster.over.is_set() or super().is_over()

    sinks: list[Sink] = [sink, metrics]
    Watcher(world, Orders(lambda _guest: True, Policy()), sinks, FileSightings(tmp_path)).run(
        SECOND, UntilCounted(1000)
    )
    assert counted() == 1
    assert metrics.registry.get_sample_value("clockstep_kubernetes_up") is None


def test_what_a_watcher_corrects_is_an_event_on_its_node_and_its_condition_is_in_bounds(tmp_path: Path) -> None:
    said = list[str]()
    world = world_of(tmp_path, said)
    assert isinstance(world.hypervisor, SimHypervisor)
    world.hypervisor.machines["web"].offset_ns = -30 * SECOND
    uuids = {guest.name: guest.uuid for guest in world.hypervisor.guests()}
    cluster = SimulatedKubernetes([node("node-1", uuids["web"]), node("node-2", uuids["db"])])
    sink, reporter = watched(world, cluster)
    metrics = Metrics(lambda: world.host, lambda: reporter.up)

    class UntilReported(Over):
        def is_over(self) -> bool:
            return bool(cluster.events and all(one.problem for one in cluster.by_name.values())) or super().is_over()

    sinks: list[Sink] = [sink, metrics]
    Watcher(world, Orders(lambda _guest: True, Policy()), sinks, FileSightings(tmp_path)).run(
        SECOND, UntilReported(1000)
    )
    (event,) = cluster.events
    assert (event.node, event.type, event.reason) == ("node-1", "Normal", "ClockStepped")
    assert event.message.startswith("clock stepped by +30.00")
    assert {one.problem.reason for one in cluster.by_name.values() if one.problem} == {"ClockInBounds"}
    assert metrics.registry.get_sample_value("clockstep_kubernetes_up") == 1
    assert [text for text in said if "Kubernetes" in text] == ["2 of 2 machines are Nodes of the Kubernetes cluster"]
