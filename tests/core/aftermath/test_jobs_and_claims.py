"""What is said of Jobs that a step has ended, and what is done about claims behind Ceph, on made-up clusters."""

from dataclasses import replace
from typing import Any

import pytest

from clockstep.core.aftermath.checking import chosen, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.planning import BY_USER, plan
from clockstep.core.aftermath.steps import steps_of
from clockstep.model import Act, Cause, Deed, Entry, Episode, Facts, Healed, KubeRef, Repair, State, Step, Verdict
from clockstep.model.damage import Ceph, Claim, ClockStep, KubeHappening, KubeJob, KubeWorkload, Seen, StorageClass
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from core.aftermath.made import NODE, NOW, pod, seen

CLAIM = KubeRef("PersistentVolumeClaim", "data", "shop")
DRIVER = "rook-ceph.rbd.csi.ceph.com"
RBD = StorageClass(KubeRef("StorageClass", "block"), DRIVER)
PROVISIONER = KubeRef("Deployment", "csi-rbdplugin-provisioner", "rook-ceph")


def planned(code: str, there: Seen) -> tuple[Repair, ...]:
    return plan(look(chosen(CHECKS, [code], []), there), REMEDIES, there)


def provisioner(namespace: str = "rook-ceph", app: str = "csi-rbdplugin-provisioner") -> Any:
    labels = {"app": app, "pod-template-hash": "77"}
    return pod(f"{app}-77-x", namespace, labels=labels, owner=KubeRef("ReplicaSet", f"{app}-77", namespace))


def waiting(*pods: Any, claims: int = 1, **fields: Any) -> Seen:
    """Claims of Ceph's storage that wait, and the pods of provisioners."""
    made = tuple(Claim(replace(CLAIM, name=f"data-{one}"), "block", created_ns=NOW - HOUR_NS) for one in range(claims))
    of = {one.owner.name.removesuffix("-77"): one.ref.namespace for one in pods}
    workloads = tuple(KubeWorkload(KubeRef("Deployment", name, at), uid="u") for name, at in of.items())
    values: dict[str, Any] = {"pods": pods, "workloads": workloads, "claims": made, "storage_classes": (RBD,)}
    return seen(**{**values, **fields})


def test_the_provisioner_of_the_claims_driver_is_restarted_once_for_all_of_them() -> None:
    first, second = planned("CS-PVC", waiting(provisioner(), claims=2))
    assert first.act == Act(Deed.RESTART, PROVISIONER, "CS-PVC", "u")
    assert first.broken.cure == "kubectl rollout restart -n rook-ceph deployment/csi-rbdplugin-provisioner"
    assert (second.act, second.outcome) == (None, Healed.SKIPPED)


def test_of_two_rooks_the_one_that_the_driver_is_named_after_is_meant() -> None:
    (one,) = planned("CS-PVC", waiting(provisioner("rook-two"), provisioner()))
    assert one.act and one.act.on.namespace == "rook-ceph"


def test_the_provisioner_of_ceph_csi_operator_is_known_too() -> None:
    app = f"{DRIVER}-ctrlplugin"
    (one,) = planned("CS-PVC", waiting(provisioner(app=app)))
    assert one.act and one.act.on.name == app


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"pods": ()}, "no pod stands behind it"),
        ({"workloads": (KubeWorkload(PROVISIONER, paused=True),)}, "is paused"),
        ({"workloads": (KubeWorkload(PROVISIONER, restarted_ns=NOW - MINUTE_NS),)}, "which did not help"),
    ],
)
def test_a_provisioner_that_is_not_known_or_was_restarted_already_is_left(fields: dict[str, Any], why: str) -> None:
    (one,) = planned("CS-PVC", waiting(provisioner(), **fields))
    assert one.act is None
    assert why in one.why


@pytest.mark.parametrize(
    ("said", "is_restarted"),
    [
        ("rpc error: code = Aborted desc = an operation with the given Volume ID pvc-1 already exists", True),
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded", True),
        ("rpc error: code = InvalidArgument desc = pool replicapol not found", False),
        ('storageclass.storage.k8s.io "block" not found', False),
    ],
)
def test_a_provisioner_that_says_that_something_else_is_wrong_is_not_restarted(said: str, is_restarted: bool) -> None:
    there = waiting(provisioner())
    event = KubeHappening(there.claims[0].ref, "ProvisioningFailed", said, NOW)
    (one,) = planned("CS-PVC", replace(there, events=(event,)))
    assert (bool(one.act), one.broken.evidence) == (is_restarted, said)


def test_claims_are_not_looked_at_while_ceph_itself_is_in_trouble() -> None:
    skewed = Ceph(KubeRef("CephCluster", "c", "rook-ceph"), "", {"MON_CLOCK_SKEW": "clock skew detected on mon.b"})
    checks = chosen(CHECKS, ["CS-CEPH", "CS-PVC"], [])
    _, claims = look(checks, waiting(provisioner(), ceph=(skewed,)))
    assert (claims.state, claims.why.partition(":")[0]) == (State.NOT_LOOKED, "CS-CEPH comes first")
    _, claims = look(checks, waiting(provisioner()))
    assert claims.state is State.BROKEN


def job(owner: KubeRef | None, name: str = "import") -> Seen:
    one = KubeJob(KubeRef("Job", name, "shop"), NOW - DAY_NS, HOUR_NS, NOW - SECOND_NS, owner)
    return seen(jobs=(one,), steps=(ClockStep(NODE, NOW - MINUTE_NS, 23 * HOUR_NS + 55 * MINUTE_NS),))


def test_a_job_that_a_step_has_ended_is_the_users_with_the_command_that_begins_it_again() -> None:
    (one,) = planned("CS-JOB", job(None))
    assert (one.act, one.why) == (None, BY_USER)
    assert one.broken.cure.startswith("kubectl get job -n shop import -o json | kubectl patch --local --type merge -p ")
    assert one.broken.cure.endswith("| kubectl replace --force -f -")
    (of_cron,) = planned("CS-JOB", job(KubeRef("CronJob", "nightly", "shop"), "n" * 63))
    assert of_cron.broken.cure == f"kubectl create job --from=cronjob/nightly -n shop {'n' * 57}-again"


def test_the_steps_of_these_machines_are_taken_from_the_history_and_no_others() -> None:
    def entry(node: str, *by_ns: int, unconfirmed: bool = False) -> Entry:
        steps = tuple(Step(one, unconfirmed=unconfirmed) for one in by_ns)
        return Entry("revert", Episode(node, Cause("reverted"), Verdict.GOOD, None, steps, None, Facts(), (), NOW, 1))

    entries = [entry("web", DAY_NS, 5), entry("elsewhere", DAY_NS), entry("db"), entry("db", 7, unconfirmed=True)]
    found = steps_of(entries, {"web", "db"})
    assert found == (ClockStep("web", NOW, DAY_NS, reverted=True), ClockStep("web", NOW, 5, reverted=True))
    paused = replace(entries[0], episode=replace(entries[0].episode, cause=Cause("resumed")))
    assert [one.reverted for one in steps_of([paused], {"web"})] == [False, False]
