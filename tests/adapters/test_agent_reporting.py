"""An agent that reports to Kubernetes: beside the clock's work, by the time that it follows, and as a program."""

import signal
import subprocess
from pathlib import Path

import pytest

from adapters.agents import MODULE, PATIENCE_S, get, harmless, line_with, running
from adapters.node import MILLISECOND, SECOND
from adapters.test_agent_node import SimNode, Until
from clockstep.agent.agent import Agent
from clockstep.agent.kube.sink import NodeSink, NodeTime, sink
from clockstep.agent.limits import Orders
from clockstep.agent.main import USAGE, explained
from clockstep.agent.options import Options, Reporting, parse
from clockstep.agent.work import Worker
from clockstep.core.condition import writer_of
from clockstep.errors import UsageError
from clockstep.model import KubeNode, Policy, What
from clockstep.ports import KubeReports
from core.kubernetes_simulation import SimulatedKubernetes
from core.test_reporter import Hanging

HOUR = 3600 * SECOND


def reporting_to(node: SimNode, reports: KubeReports) -> NodeSink:
    """What reports on a made-up node, by its own kubeconfig: the Node is called as the host."""
    (kubeconfig := node.root / "kubeconfig").write_text(
        '{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],'
        ' "clusters": [{"name": "c", "cluster": {"server": "https://localhost:6443"}}]}'
    )
    return sink(Options(), Reporting(str(kubeconfig)), node.machine, reports)


def run(node: SimNode, told: NodeSink, ends: Until) -> None:
    worker = Worker(node.machine, node.orders)
    Agent(worker, [node.told], node.kernel, node.machine.tell, node.metrics, [node, told]).run(HOUR, ends)


@pytest.fixture
def node(tmp_path: Path) -> SimNode:
    return SimNode(tmp_path)


def test_a_clock_is_stepped_and_the_agent_ends_while_the_api_server_answers_nothing(node: SimNode) -> None:
    cluster = Hanging()
    told = reporting_to(node, cluster)

    def revert() -> None:
        assert cluster.asked.wait(PATIENCE_S)
        node.kernel.stand_still(22 * SECOND)
        node.told.due.append(What.REVERTED)

    run(node, told, Until((lambda: bool(node.episodes), revert), (lambda: bool(node.steps()), lambda: None)))
    assert abs(node.kernel.offset) < MILLISECOND
    assert "ended" in node.said
    assert cluster.calls == []
    cluster.go_on.set()


def test_a_correction_is_reported_after_it_was_made_and_by_the_agents_name(node: SimNode) -> None:
    cluster = SimulatedKubernetes([KubeNode("node-1", "", "")])
    told = reporting_to(node, cluster)
    assert told.up() is None

    def revert() -> None:
        node.kernel.stand_still(22 * SECOND)
        node.told.due.append(What.REVERTED)

    reported = (lambda: bool(cluster.events), lambda: None)
    run(node, told, Until((lambda: bool(node.episodes), revert), reported))
    (event,) = cluster.events
    assert event.reason == "ClockStepped"
    assert event.message.startswith("clock stepped by +22.000")
    found = cluster.by_name["node-1"].problem
    assert found
    assert (found.status, writer_of(found)) == ("False", "agent@node-1")
    assert told.up() is True
    node.metrics.kubernetes_up = told.up
    assert "clockstep_kubernetes_up 1.0" in node.metrics.text()


def test_a_clock_that_may_not_be_corrected_is_reported_by_the_hypervisors_time(node: SimNode) -> None:
    cluster = SimulatedKubernetes([KubeNode("node-1", "", "")])
    node.orders = Orders(Policy(resync_idle=False), act=False)
    node.machine.find_scale()
    node.kernel.offset += HOUR
    run(node, reporting_to(node, cluster), Until((lambda: cluster.by_name["node-1"].problem is not None, lambda: None)))
    found = cluster.by_name["node-1"].problem
    assert found
    assert found.status == "True"
    assert found.heartbeat_ns
    assert abs(found.heartbeat_ns - node.kernel.true) < 60 * SECOND
    assert abs(NodeTime(node.machine).now().at_ns - node.kernel.true) < SECOND
    node.phc.gone = True
    assert abs(NodeTime(node.machine).now().at_ns - node.kernel.true - HOUR) < SECOND


def test_without_a_kubeconfig_it_watches_all_the_same_and_says_what_is_missing() -> None:
    with running("--metrics", "0", "--kubeconfig", "/absent") as agent:
        assert "reports to: Kubernetes, but not yet: /absent cannot be read" in line_with(agent, "reports to")
        address = line_with(agent, "served at").split()[-1].removeprefix("http://").removesuffix("/metrics")
        assert get(address, "/healthz") == (200, "ok\n")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_S) == 0


def test_without_reporting_nothing_of_tls_is_loaded() -> None:
    program = (
        "import sys; from clockstep.agent import main; from clockstep.agent.options import Options\n"
        "main.explained(Options())\n"
        "print({'ssl', 'http.client', 'email'} & set(sys.modules))\n"
        "main.explained(Options(kubernetes=True)); print('ssl' in sys.modules)"
    )
    done = subprocess.run(harmless([MODULE[0], "-c", program]), capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "set()\nTrue\n"


@pytest.mark.parametrize(
    "words", [["--node", "n"], ["--server", "https://x"], ["--kubeconfig", ""], ["--ca", "c", "--token-file", "t"]]
)
def test_what_does_not_fit_together_is_a_usage_error_before_anything_runs(words: list[str]) -> None:
    for explain in ([], ["--explain"]):
        done = subprocess.run(harmless([*MODULE, *words, *explain]), capture_output=True, text=True, check=False)
        assert done.returncode == USAGE, done.stderr


def test_explain_says_where_it_reports_to(node: SimNode) -> None:
    reporting_to(node, SimulatedKubernetes())
    options = parse(["--kubeconfig", str(node.root / "kubeconfig"), "--node", "w1"])
    assert explained(options).reports_to == "Kubernetes at https://localhost:6443, as the Node w1"
    assert explained(Options()).reports_to == ""
    with pytest.raises(UsageError):
        explained(Options(node="w1"))
