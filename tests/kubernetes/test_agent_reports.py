"""A node's own agent at real API servers: by the kubelet's account and by one of its own, beside a watcher, and what it
takes of memory.
"""

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from adapters.agents import harmless
from adapters.test_bundle import PYTHON, zipapp
from clockstep.agent.kube.client import NodeReports
from clockstep.agent.kube.sink import NodeName
from clockstep.agent.options import Reporting
from clockstep.core.condition import writer_of
from clockstep.core.condition_schedule import STALE_NS
from clockstep.errors import KubernetesError
from clockstep.kubernetes.api import KubernetesApi
from clockstep.model import KubeAccess
from clockstep.sinks.reporter import Reporter
from clockstep.units import MINUTE_NS
from clockstep_lab.kubernetes.api import STRATEGIC
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from conftest import until
from core.test_kube_events import STEP, corrected

from .objects import EVENTS, NODES, add_node, apply, empty
from .test_accounts import ACCOUNTS, CONDITION, may_report, tokened
from .test_reporting import BAD, GOOD, UUID, Bench

__all__ = ["zipapp"]
MOST_KB = 32_000


def believed(file: Path, folder: Path) -> Path:
    """Copy a kubeconfig to where nobody else may write."""
    return Path(shutil.copy(file, folder / file.name))


def by_kubelet(control_plane: ControlPlane, node: str, folder: Path) -> Reporting:
    return Reporting(str(believed(control_plane.kubeconfig_of_node(node, "127.0.0.1"), folder)))


def refused(reports: NodeReports, node: str) -> str:
    with pytest.raises(KubernetesError) as caught:
        reports.set_condition(node, CONDITION)
    assert caught.value.status == 403
    return caught.value.message


def test_by_the_kubelets_account_a_node_may_report_on_itself_and_on_no_other(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    empty(control_plane)
    for name in ("node-1", "node-2"):
        add_node(control_plane, name, UUID)
    reporting = by_kubelet(control_plane, "node-1", tmp_path)
    reports = NodeReports(reporting)
    assert NodeName(reporting).node("some-host") == "node-1"
    may_report(control_plane, reports)
    assert 'node "node-1" is not allowed to modify node "node-2"' in refused(reports, "node-2")
    with pytest.raises(KubernetesError) as caught:
        reports.remove_condition("node-2")
    assert caught.value.status == 403
    assert "ClockProblem" not in str(control_plane.admin.get(f"{NODES}/node-2")["status"])


def test_by_its_own_account_and_a_token_file_an_agent_may_all_that_it_does(cluster: Cluster, tmp_path: Path) -> None:
    apply(cluster, *ACCOUNTS)
    add_node(cluster, "node-1", UUID)
    tokened(cluster, "clockstep-agent")
    (token := tmp_path / "token").write_text(cluster.token("clockstep", "clockstep-agent"))
    ca = str(cluster.authority.certificate.file)
    reports = NodeReports(Reporting(server=f"https://127.0.0.1:{cluster.port}", ca=ca, token_file=str(token)))
    may_report(cluster, reports)


def test_a_condition_that_a_watcher_keeps_is_left_alone_and_both_record_what_they_did(
    cluster: Cluster, tmp_path: Path
) -> None:
    add_node(cluster, "node-1", UUID)
    bench = Bench(cluster, cluster.kubeconfig)
    ours = NodeReports(Reporting(str(believed(cluster.kubeconfig, tmp_path))))
    agent = Reporter(ours, "agent@node-1", bench.clock, bench.clock, lambda _node, text: bench.told.append(text))
    bench.see(GOOD)
    for _ in range(3):
        bench.see(BAD, MINUTE_NS, by=agent)
        bench.see(corrected(STEP), MINUTE_NS)
        assert writer(cluster) == "watch@kvm1"
    assert bench.told == ["node-1: watch@kvm1 keeps its condition, so it is left alone"]
    assert {one["reason"] for one in bench.events()} == {"ClockStepped", "ClockOutOfBounds"}
    for _ in range(STALE_NS // MINUTE_NS + 8):
        bench.see(GOOD, MINUTE_NS, by=agent, new=False)
    assert writer(cluster) == "agent@node-1"


def writer(cluster: Cluster) -> str:
    found = KubernetesApi(KubeAccess(str(cluster.kubeconfig)), {}).condition("node-1")
    assert found
    return writer_of(found)


REPORTS = """
import sys
sys.path.insert(0, sys.argv[1])
from clockstep.agent import main
from clockstep.agent.options import parse
from clockstep.model import Cause, Episode, Facts, Offset, Reading, Step, Verdict
options = parse(["--kubeconfig", sys.argv[2], "--node", "node-1", "--metrics", "0"])
machine = main.machine_of(options, lambda _node, text: print("told", text, flush=True))
metrics = main.AgentMetrics()
main._listener(options, metrics, lambda: True, machine.tell)
(sink,) = main._reporting(options, machine)
at_ns, off = machine.kernel.realtime_ns(), Offset(-22_000_000_000, 1000)
def look(verdict, offset, *actions):
    facts = Facts((Reading("local", offset, at_ns, 2, "phc"),))
    return Episode(machine.name, Cause("reverted"), verdict, off, actions, offset, facts, (), at_ns, 9)
for line in sys.stdin:
    if line == "bad\\n":
        sink.seen(look(Verdict.BAD, off), new=True)
    else:
        sink.seen(look(Verdict.GOOD, Offset(0, 1000), Step(22_000_000_000)), new=True)
sink.ended()
"""


@pytest.mark.parametrize("images", [50, 1500], ids=["a Node", "a huge Node"])
def test_an_agent_that_reports_stays_below_its_memory(
    cluster: Cluster, zipapp: Path, tmp_path: Path, images: int
) -> None:
    add_node(cluster, "node-1", UUID)
    listed = [
        {"names": [f"registry.example.org/team/image-{n}@sha256:{n:064x}"], "sizeBytes": n} for n in range(images)
    ]
    cluster.admin.patch(f"{NODES}/node-1/status", {"status": {"images": listed}}, STRATEGIC)
    kubeconfig = zipapp.parent / "kubeconfig"
    shutil.copy(cluster.kubeconfig, kubeconfig)
    kubeconfig.chmod(0o644)
    command = harmless([PYTHON, "-I", "-S", "-c", REPORTS, zipapp, kubeconfig])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as agent:
        assert agent.stdin and agent.stdout
        for verdict, status in (("bad", "True"), ("good", "False"), ("bad", "True")):
            print(verdict, file=agent.stdin, flush=True)
            until(partial(says, cluster, status), 60)
        used = int(Path(f"/proc/{agent.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        agent.stdin.close()
        assert agent.stdout.read().count("told") == 1
    assert agent.returncode == 0
    assert used < MOST_KB
    assert "ClockStepped" in {one["reason"] for one in cluster.admin.get(EVENTS)["items"]}


def says(cluster: Cluster, status: str) -> bool:
    found = cluster.admin.get(f"{NODES}/node-1")["status"]["conditions"]
    return any((one["type"], one["status"]) == ("ClockProblem", status) for one in found)
