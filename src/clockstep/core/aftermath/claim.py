"""Claims of storage that Ceph's provisioner does not answer, also once Ceph is in order again.

While monitors differ, the provisioner's calls end by their deadline, and it then refuses its own next try ("an
operation with the given Volume ID already exists": rook #4896, #8727, #8749). It tries again after at most 5 min
(external-provisioner, --retry-interval-max); what is stuck in it goes with its process.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import rollout_restart
from clockstep.core.aftermath.objects import restart
from clockstep.model import Act, Broken, KubeRef
from clockstep.model.damage import Claim, Input, KubePod, Seen, StorageClass
from clockstep.units import MINUTE_NS, SECOND_NS, show_duration, show_moment

CODE = "CS-PVC"
APPS = {
    "rbd.csi.ceph.com": "csi-rbdplugin-provisioner",
    "cephfs.csi.ceph.com": "csi-cephfsplugin-provisioner",
    "nfs.csi.ceph.com": "csi-nfsplugin-provisioner",
}
"""By the end of a driver's name: the label `app` of its provisioner's pods as Rook makes them."""
OPERATORS = "{driver}-ctrlplugin"
"""The same as ceph-csi-operator makes them."""
REASON = "ProvisioningFailed"
STUCK = ("code = Aborted", "code = DeadlineExceeded")
"""What a stuck provisioner says; whatever else it says, a restart does not change that."""
YOUNG_NS = MINUTE_NS
"""A claim that is younger than this may get its volume any moment."""


def find(seen: Seen) -> Iterator[Broken]:
    """Give the claims that wait for a volume of Ceph, and for nothing else."""
    classes = {one.ref.name: one for one in seen.storage_classes if _app(one.provisioner)}
    for claim in seen.claims:
        kind = classes.get(claim.storage_class)
        if kind and (claim.placed or not kind.waits) and not _is_young(claim, seen.now_ns):
            yield _broken(seen, claim, kind)


def _is_young(claim: Claim, now_ns: int) -> bool:
    return claim.created_ns is not None and 0 <= now_ns - claim.created_ns < YOUNG_NS


def _broken(seen: Seen, claim: Claim, kind: StorageClass) -> Broken:
    age = "" if claim.created_ns is None else f" for {show_duration(abs(seen.now_ns - claim.created_ns))}"
    text = f"Pending{age}: {kind.provisioner} does not make its volume"
    created = "" if claim.created_ns is None else f", created {show_moment(claim.created_ns)}"
    evidence = _said(seen, claim.ref) or f"StorageClass {kind.ref.name}{created}"
    found = Broken(CODE, claim.ref, text, evidence, "", "no volume is made while its pods start", claim.created_ns)
    act = restart(seen, found, pods_of(seen, kind.provisioner))
    return Broken(CODE, claim.ref, text, evidence, _cure(act, kind.provisioner), found.risk, claim.created_ns)


def _said(seen: Seen, on: KubeRef) -> str:
    """Return what the provisioner last said of a claim; nothing if that is not known, as after an hour."""
    said = [one for one in seen.events if one.on == on and one.reason == REASON]
    last = max(said, key=lambda one: one.last_ns or 0, default=None)
    return last.message if last else ""


def _cure(act: Act | str, driver: str) -> str:
    if isinstance(act, str):
        return f"restart the provisioner of {driver} ({act})"
    return rollout_restart(act.on)


def _app(driver: str) -> str:
    """Return how Rook's provisioner of a driver is labelled; nothing if the driver is none of Ceph's."""
    return next((app for name, app in APPS.items() if driver == name or driver.endswith(f".{name}")), "")


def pods_of(seen: Seen, driver: str) -> tuple[KubePod, ...]:
    """Return the pods of a driver's provisioner: those in the namespace that its name begins with, if there are any."""
    named = {_app(driver), OPERATORS.format(driver=driver)}
    found = tuple(one for one in seen.pods if one.labels.get("app") in named and not one.deleting)
    return tuple(one for one in found if driver.startswith(f"{one.ref.namespace}.")) or found


def _driver(seen: Seen, on: KubeRef) -> str:
    claim = next((one for one in seen.claims if one.ref == on), None)
    name = claim.storage_class if claim else ""
    return next((one.provisioner for one in seen.storage_classes if one.ref.name == name), "")


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Restart the provisioner, unless it says itself that something else is wrong."""
    driver, said = _driver(seen, broken.on), _said(seen, broken.on)
    if said and not any(one in said for one in STUCK):
        return "its provisioner gives another reason (see the evidence), which a restart does not change"
    return restart(seen, broken, pods_of(seen, driver)) if driver else "it is gone"


CHECK = Check(
    CODE,
    "Claims of Ceph's storage",
    find,
    (Input.CLAIMS, Input.STORAGE_CLASSES, Input.PODS, Input.EVENTS),
    for_cure=(Input.WORKLOADS,),
    after=("CS-CLOCK", "CS-CEPH"),
    patience_ns=120 * SECOND_NS,
)
REMEDY = Remedy(CODE, plan)
