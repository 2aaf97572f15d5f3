"""Records of things that happened, as a page is made of them."""

from dataclasses import replace

from clockstep.model import (
    Act,
    AftermathReport,
    Broken,
    Cause,
    Claim,
    Deed,
    Entry,
    Episode,
    Facts,
    Finding,
    Freeze,
    Healed,
    History,
    KubeRef,
    Looked,
    Offset,
    Reading,
    Repair,
    Resync,
    State,
    Step,
    Thaw,
    Trouble,
    Verdict,
)
from clockstep.units import DAY_NS, HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS

MS, US = MILLISECOND_NS, 1000
NOW = 1_796_060_000 * SECOND_NS
LONG = "k8s-control-plane-01.eu-central-1b.production.internal.cloud.example.org"
CHRONY = Claim(
    "chrony", synchronised=True, source="^* 10.0.2.2", root_delay_ns=MS, root_dispersion_ns=300_000, leap="Normal"
)
REVERTED = Cause("reverted", detail="before-upgrade")


def corrected(
    node: str, behind: Offset, at_ns: int = NOW, wrong_ns: int = 182 * MS, cause: Cause = REVERTED
) -> Episode:
    """A clock that was stepped and verified."""
    after = Offset(-500 * US, 400 * US)
    return Episode(
        node,
        cause,
        Verdict.GOOD,
        behind,
        (Step(-behind.value_ns), Resync("chrony")),
        after,
        Facts((Reading("guest agent", after, at_ns, 900 * US),), CHRONY),
        (),
        at_ns,
        6 * SECOND_NS,
        wrong_ns,
        wrong_ns + 210 * MS,
    )


def refused(node: str, behind: Offset, at_ns: int = NOW) -> Episode:
    """A clock that was left as it was."""
    finding = Finding(
        "forward",
        Verdict.BAD,
        "more than 1 d behind: refusing to step, because this host may be the one that is wrong",
        "allow it with --max-forward",
    )
    return replace(
        corrected(node, behind, at_ns),
        verdict=Verdict.BAD,
        actions=(),
        after=behind,
        findings=(finding,),
        took_ns=700 * MS,
        wrong_for_ns=None,
        proven_ns=None,
    )


def away(node: str, at_ns: int = NOW) -> Episode:
    """A node that did not answer."""
    trouble = Trouble("its guest agent does not answer", "start qemu-guest-agent in it, or use --reach ssh")
    finding = Finding("reach", Verdict.UNREACHABLE, trouble.text, trouble.remedy)
    facts = Facts((), None, (trouble,))
    return Episode(node, REVERTED, Verdict.UNREACHABLE, None, (), None, facts, (finding,), at_ns, 900 * MS)


FREEZE = Freeze("node-1", ("kubepods.slice",), ("kube-system/kube-apiserver-node-1",), 812 * MS, Thaw.PROVEN)
REVERT = History(
    (
        Entry("revert", corrected("node-1", Offset(-18_707 * MS, 2 * MS)), FREEZE),
        Entry("revert", corrected("node-2", Offset(-18_706_800 * US, 600 * US), wrong_ns=381 * MS)),
        Entry("revert", corrected("node-3", Offset(-18_706 * MS, 2 * MS), wrong_ns=356 * MS)),
    )
)
"""Three nodes that were reverted together, and are all verified."""
MIXED = History(
    (
        Entry("revert", corrected(LONG, Offset(-2 * DAY_NS - 3 * HOUR_NS, 4 * MS))),
        Entry(
            "revert",
            refused("node-2", Offset(-400 * DAY_NS, 16 * MS)),
            replace(FREEZE, node="node-2", still_ns=None, thaw=Thaw.FROZEN),
        ),
        Entry("revert", away("node-3")),
        Entry("revert", corrected("db", Offset(-12 * MS, 900 * US), wrong_ns=90 * MS)),
        Entry("revert", corrected("ahead", Offset(3 * SECOND_NS, 30 * MS), wrong_ns=300 * MS)),
    )
)
"""Days beside milliseconds, ahead and behind, a clock that was refused, one that was not read, and a long name."""

WEBHOOK = KubeRef("Service", "cert-manager-webhook", "cert-manager")
SERVED = Broken(
    "CS-SERVING",
    WEBHOOK,
    "the certificate that it serves expired 3 d ago",
    "cert-manager-webhook: notBefore 2026-08-20 00:00:00 UTC, notAfter 2026-11-27 17:33:20 UTC",
    "kubectl rollout restart -n cert-manager deployment/cert-manager-webhook",
    "calls of it fail while its pods start",
    NOW - 3 * DAY_NS,
)
TOKEN = replace(
    SERVED,
    code="CS-CNI",
    on=KubeRef("Pod", "calico-node-x7z2q", "kube-system"),
    text="pods of node-2 stay in ContainerCreating: its token is refused",
    evidence='plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized',
    cure="kubectl delete -n kube-system pod/calico-node-x7z2q",
    risk="no new pods on node-2 for some seconds",
)
BARE = Broken(
    "CS-STUCK",
    KubeRef("Pod", "bare", "shop"),
    "its container cannot be made: its name is reserved",
    'name "bare_shop_0" is reserved for "5f2c"',
    "make it again: kubectl delete -n shop pod/bare, then apply it",
    since_ns=NOW - MINUTE_NS,
)
RESTART = Act(Deed.RESTART, KubeRef("Deployment", "cert-manager-webhook", "cert-manager"), "CS-SERVING")
HEALED = Repair(SERVED, Healed.HEALED, RESTART, at_ns=NOW + 20 * SECOND_NS, proven_ns=NOW + 32 * SECOND_NS)
SKIPPED = Repair(TOKEN, Healed.SKIPPED, why="a budget forbids it: run it again later", at_ns=NOW + 33 * SECOND_NS)
AFTERMATH = AftermathReport(
    NOW + 3 * MINUTE_NS,
    (
        Looked("CS-CLOCK", "Leases of Nodes", State.CLEAN),
        Looked("CS-KUBELET", "Certificates of kubelets", State.NOT_LOOKED, "node-3: its guest agent does not answer"),
        Looked("CS-CNI", "Network plugins", State.BROKEN, broken=(TOKEN,)),
        Looked("CS-CEPH", "Ceph", State.ABSENT, "the cluster has no cephclusters.ceph.rook.io"),
        Looked("CS-SERVING", "What is served", State.CLEAN),
        Looked("CS-STUCK", "Stuck containers", State.BROKEN, broken=(BARE,)),
    ),
    (HEALED, SKIPPED, Repair(BARE, Healed.LEFT, why="nobody would make this pod again")),
)


def long_history(number: int, nodes: int = 3) -> History:
    """So many corrections, over weeks, each by itself or with those of the other nodes."""
    entries = tuple(
        Entry(
            "watch",
            corrected(
                f"node-{count % nodes + 1}",
                Offset(-(1 + count * 7919 % 86_400) * SECOND_NS, (1 + count % 9) * MS),
                NOW - (number - count) // nodes * 37 * MINUTE_NS,
                (100 + count * 17 % 900) * MS,
                Cause("resumed"),
            ),
        )
        for count in range(number)
    )
    return History(entries)


def hostile(text: str) -> tuple[History, AftermathReport]:
    """Everything that a page is made of, with this text wherever others can choose one."""
    ref = KubeRef(text, text, text)
    broken = Broken(text, ref, text, text, text, text, NOW, text)
    act = Act(Deed.EVICT, ref, text, text)
    finding = Finding(text, Verdict.BAD, text, text)
    claim = replace(CHRONY, daemon=text, source=text, leap=text)
    episode = replace(
        refused(text, Offset(-SECOND_NS, MS)),
        cause=Cause(text, detail=text),
        actions=(Step(SECOND_NS), Resync(text)),
        facts=Facts((), claim, (Trouble(text, text),)),
        findings=(finding, finding),
    )
    freeze = Freeze(text, (text,), (text,), None, Thaw.FROZEN, Trouble(text, text))
    early = replace(episode, started_at_ns=NOW - 40 * DAY_NS)
    entries = (Entry(text, early), *(Entry(text, replace(early, started_at_ns=NOW - day * DAY_NS)) for day in range(9)))
    repairs = (Repair(broken, Healed.HEALED, act, text, NOW, NOW + 1), Repair(broken, Healed.LEFT, None, text, NOW + 2))
    checks = (
        Looked(text, text, State.BROKEN, text, broken=(broken,)),
        Looked(text, text, State.NOT_LOOKED, text),
        Looked(text, text, State.CLEAN, text),
    )
    history = History((*entries, Entry(text, episode, freeze)), 3, repairs)
    return history, AftermathReport(NOW, checks, repairs)
