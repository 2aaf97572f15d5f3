"""Runs that end with the aftermath, and what the watcher proposes, on real API servers; the machines are simulated."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.far_shell import fake, real
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.planning import BY_USER
from clockstep.core.targets import Scope
from clockstep.flows import revert as reverts
from clockstep.flows.aftermath import Scene, aftermath, gathered, planned, repair
from clockstep.flows.aftermath_after import looked_after
from clockstep.flows.damaged_nodes import FromNodes
from clockstep.flows.snapshot import create
from clockstep.flows.watch.watched import Orders
from clockstep.flows.watch.watcher import Watcher
from clockstep.host.locks import DomainLocks
from clockstep.kubernetes.aftermath import AftermathApi
from clockstep.kubernetes.api import KubernetesApi
from clockstep.model import Entry, Guest, Healed, KubeAccess, Policy, State, Verdict
from clockstep.model.damage import ClockStep, Input, Seen
from clockstep.ports import Instant, Node, Sink, World
from clockstep.sinks.behind import Behind
from clockstep.sinks.epochs import EpochSink
from clockstep.sinks.kubernetes import KubernetesSink, MachineNodes
from clockstep.sinks.reporter import Reporter
from clockstep.state.journal import FileJournal
from clockstep.state.sightings import FileSightings
from clockstep_lab.kubernetes import builds
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from conftest import quiet, until
from core.simulation import SECOND, SimClock, SimHypervisor
from pki import pem

from . import damage
from .damage import DEPLOYMENTS, NAMESPACE, PODS
from .objects import EVENTS, add_node, empty
from .test_aftermath import BY_CODE, kubelet, scene, stuck

HOUR_NS = 3600 * SECOND
JOBS = "/apis/batch/v1/namespaces/default/jobs"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
DRIVER = "rook-ceph.rbd.csi.ceph.com"


class Machines:
    """Simulated machines that are Nodes of a real cluster, and the world that a flow gets of them."""

    def __init__(self, cluster: Cluster, folder: Path, *names: str) -> None:
        self.cluster, self.clock, self.said = cluster, SimClock(), list[str]()
        self.clock.real = int(datetime.now(UTC).timestamp()) * SECOND
        self.machines = SimHypervisor(self.clock, list(names))
        kubernetes = KubernetesApi(KubeAccess(str(cluster.kubeconfig)), {})
        tell: Callable[[str, str], None] = lambda _node, text: self.said.append(text)  # noqa: E731
        locks, journal = DomainLocks(self.clock), FileJournal(folder)
        self.world = World(self.machines, self.clock, self.clock, locks, journal, tell, kubernetes=kubernetes)
        for guest in self.machines.guests():
            add_node(cluster, f"k-{guest.name}", guest.uuid)

    def scene(self, history: Callable[[], list[Entry]] = list) -> Scene:
        """Whom to ask: the API server, and these machines."""

        def way(guest: Guest) -> Node:
            return Node(guest.name, self.machines.reach(guest))

        there = FromNodes(self.world, self.machines.guests(), way, 5 * SECOND, history)
        api = AftermathApi(KubeAccess(str(self.cluster.kubeconfig)), os.environ)
        return Scene(api, there.look, self.clock, self.clock, self.world.tell, on_node=there.perform)


@pytest.fixture
def damaged(kubelite: Kubelite) -> Kubelite:
    """A current API server without anything that is broken."""
    empty(kubelite)
    damage.begin(kubelite)
    return kubelite


def test_a_revert_ends_with_what_was_broken_healed_and_says_so_in_its_own_record(
    damaged: Kubelite, tmp_path: Path
) -> None:
    lab = Machines(damaged, tmp_path, "web", "db")
    stuck(damaged, "owned", owned=True)
    assert create(lab.world, lab.machines.guests(), "base", Policy()).complete
    lab.clock.sleep_ns(600 * SECOND)
    chosen = reverts.choose(lab.machines, Scope(), "base")
    report = reverts.revert(lab.world, chosen, Policy())
    assert [one.verdict for one in report.episodes] == [Verdict.GOOD] * 2
    checks = [BY_CODE["CS-STUCK"]]
    plan = looked_after(lab.scene(), checks, REMEDIES, report.episodes)
    whole = replace(report, aftermath=repair(lab.scene(), checks, REMEDIES, plan.repairs))
    assert whole.aftermath
    assert [one.outcome for one in whole.aftermath.repairs] == [Healed.HEALED]
    assert "deletionTimestamp" in damaged.admin.get(f"{PODS}/owned")["metadata"]


class UntilProposed:
    """A watch that is over once the cluster has the Event."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._left = cluster, 2000

    def is_over(self) -> bool:
        self._left -= 1
        return self._left < 0 or bool(proposed(self._cluster))

    def wants_reload(self) -> bool:
        return False


def proposed(cluster: Cluster) -> list[Any]:
    """Return the Events that propose the aftermath."""
    return [one for one in cluster.admin.get(EVENTS)["items"] if one["reason"] == "AftermathProposed"]


def test_a_watcher_proposes_the_aftermath_on_the_node_after_a_step_beyond_a_certificates_life(
    cluster: Cluster, tmp_path: Path
) -> None:
    lab = Machines(cluster, tmp_path, "web", "db")
    now_s = lab.clock.real // SECOND
    lab.machines.machines["web"].certificates = f"#clockstep file /x.crt\n{pem('x', now_s - 60, now_s + 600)}"
    lab.machines.machines["web"].offset_ns = -900 * SECOND
    lab.machines.machines["db"].offset_ns = -30 * SECOND
    kubernetes = lab.world.kubernetes
    assert kubernetes
    finder = MachineNodes(kubernetes, lab.clock, lab.world.tell)
    reporter = Reporter(kubernetes, "watch@kvm1", lab.clock, lab.clock, lab.world.tell, finder)
    reporter.start()
    epochs = Behind(EpochSink(lab.world, finder.machine, reporter.propose, lab.world.tell), lab.world.tell)
    sinks: list[Sink] = [epochs, KubernetesSink(reporter, finder, lambda: 10_000_000)]
    watcher = Watcher(lab.world, Orders(lambda _guest: True, Policy()), sinks, FileSightings(tmp_path))
    watcher.run(SECOND, UntilProposed(cluster))
    (event,) = proposed(cluster)
    assert (event["involvedObject"]["name"], event["type"], event["count"]) == ("k-web", "Warning", 1)
    assert event["message"].endswith("the shortest certificate life seen is 11 min: run clockstep aftermath --repair")
    assert [text for text in lab.said if text.endswith(event["message"])] == [f"web: {event['message']}"]
    assert "AftermathProposed" in cluster.kubectl("describe", "node", "k-web")


class Later:
    """A reference that is an hour ahead of this host: by it, what was just made is old."""

    name = "later"

    def __init__(self, of: Any) -> None:
        self.anchor, self.moved_since, self.quality = of.anchor, of.moved_since, of.quality
        self._of = of

    def now(self) -> Instant:
        """Return the time."""
        return Instant(self._of.now().at_ns + HOUR_NS)


def test_a_claim_that_waits_behind_ceph_gets_its_volume_from_a_provisioner_that_was_restarted(
    damaged: Kubelite,
) -> None:
    damaged.admin.delete(CLASSES)
    damaged.admin.delete(CLAIMS)
    damaged.admin.create(CLASSES, {"metadata": {"name": "block"}, "provisioner": DRIVER})
    spec = {"storageClassName": "block", "accessModes": ["ReadWriteOnce"]}
    resources = {"requests": {"storage": "1Gi"}}
    damaged.admin.create(CLAIMS, {"metadata": {"name": "data"}, "spec": {**spec, "resources": resources}})
    damaged.admin.patch(f"{CLAIMS}/data/status", {"status": {"phase": "Pending"}})
    damage.add_deployment(damaged)
    labels = {"app": "csi-rbdplugin-provisioner", "pod-template-hash": "5f4d"}
    damage.add_pod(damaged, "webhook-5f4d-a")
    damaged.admin.patch(f"{PODS}/webhook-5f4d-a", {"metadata": {"labels": labels}})
    said = "rpc error: code = Aborted desc = an operation with the given Volume ID pvc-1 already exists"
    about = {"kind": "PersistentVolumeClaim", "name": "data", "namespace": NAMESPACE}
    event = {"metadata": {"name": "data.1"}, "involvedObject": about, "reason": "ProvisioningFailed", "message": said}
    damaged.admin.create(f"/api/v1/namespaces/{NAMESPACE}/events", event)
    there = replace(scene(damaged), reference=Later(scene(damaged).reference))
    checks = [BY_CODE["CS-PVC"]]
    report, seen = aftermath(there, checks)
    (broken,) = report.checks[0].broken
    assert (broken.on.name, broken.evidence) == ("data", said)

    def provisions() -> None:
        damaged.admin.patch(f"{CLAIMS}/data/status", {"status": {"phase": "Bound"}})

    with kubelet(damaged, provisions):
        done = repair(there, checks, REMEDIES, planned(report, REMEDIES, seen).repairs)
    assert [(one.outcome, str(one.act and one.act.on)) for one in done.repairs] == [
        (Healed.HEALED, f"{NAMESPACE}/deployment/webhook")
    ]
    assert done.checks[0].state is State.CLEAN
    assert damaged.admin.get(f"{DEPLOYMENTS}/webhook")["metadata"]["generation"] == 2


def test_a_job_that_its_controller_ended_is_said_and_the_command_begins_it_again(control_plane: ControlPlane) -> None:
    control_plane.admin.delete(JOBS)
    container = {"name": "x", "image": "x"}
    template = {"metadata": {"labels": {"mine": "kept"}}, "spec": {"containers": [container], "restartPolicy": "Never"}}
    body = {"metadata": {"name": "import"}, "spec": {"activeDeadlineSeconds": 1, "template": template}}
    control_plane.admin.create(JOBS, body)
    control_plane.admin.patch(f"{JOBS}/import", {"metadata": {"annotations": {"mine": "kept"}}})

    def failed() -> bool:
        status = control_plane.admin.get(f"{JOBS}/import").get("status", {})
        return any(one["type"] == "Failed" for one in status.get("conditions", ()))

    until(failed, 60)
    before = control_plane.admin.get(f"{JOBS}/import")["metadata"]

    def reverted(wanted: Collection[Input], seen: Seen) -> Seen:
        """The clock of its node was stepped by an hour, before the controller looked."""
        return replace(seen, steps=(ClockStep("web", seen.now_ns, HOUR_NS),)) if Input.STEPS in wanted else seen

    report, seen = aftermath(scene(control_plane, reverted), [BY_CODE["CS-JOB"]])
    (one,) = planned(report, REMEDIES, seen).repairs
    assert (one.outcome, one.act, one.why) == (Healed.LEFT, None, BY_USER)
    assert one.broken.text.startswith("was ended by its deadline of 1 s: of the ")
    kubectl = f"{builds.kubernetes(quiet) / 'kubectl'} --kubeconfig {control_plane.kubeconfig}"
    command = one.broken.cure.replace("kubectl ", f"{kubectl} ")
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=60, capture_output=True)
    after = control_plane.admin.get(f"{JOBS}/import")
    assert after["metadata"]["uid"] != before["uid"]
    assert after["metadata"]["annotations"]["mine"] == after["spec"]["template"]["metadata"]["labels"]["mine"] == "kept"
    assert not any(one["type"] == "Failed" for one in after.get("status", {}).get("conditions", ()))
    control_plane.admin.delete(JOBS)


def test_jobs_claims_and_classes_are_read_of_every_server(cluster: Cluster) -> None:
    wanted = {Input.JOBS, Input.CLAIMS, Input.STORAGE_CLASSES}
    assert not wanted & set(gathered(scene(cluster), wanted).unread)


Run = Callable[..., "subprocess.CompletedProcess[str]"]
HOST, TEST = ("--ssh", "web"), ("test", "-c", "test:///default")
"""A host whose clock is this machine's, which nothing there could move; and one that nobody reads well enough."""


@pytest.fixture
def step(damaged: Kubelite, tmp_path: Path) -> Run:
    """Run `clockstep step --aftermath` with these words, and with an ssh that leads to a shell on this machine."""
    tools, there = tmp_path / "tools", tmp_path / "there"
    tools.mkdir()
    there.mkdir()
    real(there, "date")
    fake(there, "id", "echo 0")
    plain = 'for word; do [ "$word" != -G ] || exit 0; done'
    fake(tools, "ssh", f"{plain}\nexec /usr/bin/env PATH='{there}' /bin/sh")
    environ = {"CLOCKSTEP_STATE": str(tmp_path / "state"), "HOME": str(tmp_path), "PATH": f"{tools}:/usr/bin:/bin"}
    access = ["--kubeconfig", str(damaged.kubeconfig), "--no-wait-cluster", "--deadline", "20s"]

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "clockstep", "step", "--aftermath", *access, *words]
        environment = {**os.environ, **environ}
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=tmp_path
        )

    return run


def test_a_run_has_the_aftermath_in_its_own_record_and_its_own_failure_counts_first(step: Run) -> None:
    done = step(*HOST, "-o", "json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["episodes"][0]["verdict"]) == (3, "good")
    states = {one["code"]: one["state"] for one in record["aftermath"]["checks"]}
    assert list(states) == [check.code for check in CHECKS]
    assert (states["CS-STUCK"], "not-looked" in states.values()) == ("clean", True)
    unsure = step(*TEST)
    assert unsure.returncode == 1
    assert "nothing found: " in unsure.stdout
    assert "CS-STUCK (Stuck containers)" in unsure.stdout


def test_a_run_repairs_at_its_end_what_it_is_allowed_to_and_proves_it(step: Run, damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    done = step(*HOST, "--repair", "--yes", "-o", "json")
    record = json.loads(done.stdout)
    (one,) = record["aftermath"]["repairs"]
    assert (one["outcome"], one["act"]["deed"]) == ("healed", "evict")
    assert "deletionTimestamp" in damaged.admin.get(f"{PODS}/owned")["metadata"]
    assert {one["state"] for one in record["aftermath"]["checks"]} == {"clean", "absent", "not-looked"}


def test_an_api_server_that_is_away_spoils_no_runs_own_record(step: Run, damaged: Kubelite) -> None:
    with damaged.away():
        done, table = step(*HOST, "-o", "json"), step(*HOST).stdout
    record = json.loads(done.stdout)
    assert (done.returncode, record["episodes"][0]["verdict"]) == (3, "good")
    assert "refused the connection" in record["aftermath"]["trouble"]["text"]
    assert {one["state"] for one in record["aftermath"]["checks"]} == {"not-looked"}
    assert "what the wrong time has broken is not known: " in table
