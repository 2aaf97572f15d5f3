"""Every page that commands print, as terminals of three widths and a pipe get it, held to golden files.

Run as a program, it writes them: python tests/cli/test_golden.py
"""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from clockstep.config import ConfigReport, Source
from clockstep.core.agent_status import AgentSays, status_line
from clockstep.core.agent_unit import UNIT, UNIT_FILE
from clockstep.core.own_agent import Found, plan_of, planned_agent
from clockstep.core.selection import Cluster, Limits
from clockstep.core.setup import FileChange, SetupNode, SetupOutcome, SetupPlan, SetupReport
from clockstep.host.systemd_unit import ServiceStatus
from clockstep.model import (
    Act,
    AftermathReport,
    AgentReport,
    Broken,
    Cause,
    Certificate,
    Choice,
    Claim,
    ClusterNode,
    ClusterOutcome,
    ClusterState,
    ControlPlane,
    Deed,
    Diagnosis,
    DoctorReport,
    Entry,
    Episode,
    Facts,
    Finding,
    Freeze,
    Freshness,
    Guest,
    Healed,
    History,
    HostClock,
    Issue,
    KubeAccess,
    KubeCondition,
    KubeRef,
    KubeReport,
    KubeState,
    Level,
    Looked,
    Member,
    NodeCertificates,
    Offset,
    Outcome,
    Reading,
    Repair,
    Report,
    Resync,
    Selected,
    Selection,
    SetReport,
    SignalState,
    Snapshot,
    SnapshotList,
    SnapshotSet,
    State,
    Step,
    Thaw,
    Trouble,
    Verdict,
)
from clockstep.render import aftermath, setup, text
from clockstep.render.aftermath import aftermath_page, repairs_page
from clockstep.render.cluster import lapses_in_short
from clockstep.render.forms import wide
from clockstep.render.output import print_page, rich_page, visible_page
from clockstep.render.setup import done_page, explained_page, plan_page
from clockstep.render.text import (
    Page,
    agent_page,
    config_page,
    doctor_page,
    episode_line,
    history_page,
    nodes_page,
    service_page,
    set_page,
    snapshots_page,
    status_page,
    step_page,
    targets_line,
)
from clockstep.render.text import plan_page as step_plan_page

GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (80, 100, 120)
MS, SECOND, DAY = 1_000_000, 1_000_000_000, 86_400_000_000_000
NOW = 1_790_000_000 * SECOND
HOST = HostClock(synchronised=True, max_error_ns=3 * MS)
CHRONY = Claim(
    "chrony", synchronised=True, source="^* 10.0.2.2", root_delay_ns=MS, root_dispersion_ns=300_000, leap="Normal"
)
BEHIND = Offset(-19_619_400_000, 800_000)
NEAR = Offset(200_000, 300_000)
GOOD = Episode(
    "node-1",
    Cause("reverted", detail="before-upgrade"),
    Verdict.GOOD,
    BEHIND,
    (Step(19_619_400_000), Resync("chrony")),
    NEAR,
    Facts((Reading("guest agent", NEAR, NOW, 900_000),), CHRONY),
    (Finding("offset", Verdict.GOOD, "within"),),
    NOW,
    2 * SECOND,
    213 * MS,
    400 * MS,
)
BAD = Episode(
    "k8s-control-plane-01.lab.example.org",
    Cause("asked"),
    Verdict.BAD,
    BEHIND,
    (),
    BEHIND,
    Facts((Reading("ssh", BEHIND, NOW, 2 * MS),), CHRONY),
    (
        Finding("offset", Verdict.BAD, "-19.6194 s ± 800 µs is beyond 10 ms", "run clockstep step"),
        Finding("daemon", Verdict.BAD, "chrony claims to be synchronised", "run clockstep step"),
    ),
    NOW,
    SECOND,
    planned=(Step(19_619_400_000),),
)
AWAY = Episode(
    "node-3",
    Cause("asked"),
    Verdict.UNREACHABLE,
    None,
    (),
    None,
    Facts((), None, (Trouble("it is paused", "run clockstep resume"),)),
    (Finding("reach", Verdict.UNREACHABLE, "it is paused", "run clockstep resume"),),
    NOW,
    SECOND,
)
REPORT = Report(HOST, (GOOD, BAD, AWAY))
HISTORY = History((Entry("revert", GOOD), Entry("step", BAD), Entry("watch", AWAY)), skipped=2)
GUESTS = (
    Guest("node-1", "11111111-1111-4111-8111-111111111111", "running"),
    Guest("web", "22222222-2222-4222-8222-222222222222", "paused", "qemu+ssh://host/system", domain="shop_web"),
)
PLAN = SetupPlan(
    "Debian 13",
    "apt-get",
    clock="/dev/ptp_kvm",
    install=("chrony",),
    replaces=("systemd-timesyncd",),
    files=(FileChange("/etc/chrony/conf.d/clockstep.conf", None, "makestep 1 -1\n"),),
)
SETUP = SetupReport(
    HOST,
    (
        SetupNode("node-1", SetupOutcome.WOULD_CHANGE, plan=PLAN),
        SetupNode("node-2", SetupOutcome.UNCHANGED),
        SetupNode("node-3", SetupOutcome.REFUSED, "setup needs root on the node", SetupPlan("Debian 12")),
    ),
)
OWN_AGENT = SetupReport(
    HOST,
    (
        planned_agent(
            "node-1",
            plan_of(
                Found("debian 13", pythons=(("/usr/bin/python3", (3, 13)),), clock="/dev/ptp0 hyperv"), b"x" * 5000
            ),
        ),
        planned_agent("node-2", plan_of(Found("debian 12", daemons=("chronyd",)), b"x")),
    ),
)
DONE = SetupReport(
    HOST,
    (
        SetupNode("node-1", SetupOutcome.SET_UP, plan=PLAN, episode=GOOD),
        SetupNode("node-2", SetupOutcome.FAILED, "not verified in time: chronyd does not follow a server"),
    ),
)
CERTIFICATE = Certificate(
    "/var/lib/kubelet/pki/kubelet-client-current.pem", "system:node:node-1", NOW - 400 * DAY, NOW - 35 * DAY
)
LAPSED = NodeCertificates("node-1", (CERTIFICATE, Certificate("/etc/kubernetes/pki/ca.crt", "", NOW + DAY)))
SNAPSHOTS = SnapshotList(
    (
        SnapshotSet("theirs", None, NOW - 90_000 * SECOND, (), ("node-2",), complete=True),
        SnapshotSet("before-upgrade", "s1", NOW - 40 * SECOND, ("node-1", "node-2"), ("node-1",), complete=False),
    ),
    (Member("node-3", Outcome.UNREAD, Trouble("libvirt does not answer")),),
)
SET = SetReport(
    HOST,
    None,
    True,
    (Member("node-1", Outcome.REVERTED),),
    (GOOD,),
    pause_spread_ns=4_400_000,
    stalled_ns=274 * MS,
    remarks=("node-2: its snapshot has no memory state, so it boots",),
    freezes=(Freeze("node-1", ("kubepods.slice",), still_ns=812 * MS, thaw=Thaw.PROVEN),),
    lapsed=(LAPSED,),
    cluster=ClusterState(
        ClusterOutcome.WORKS,
        ControlPlane.OUTSIDE,
        (ClusterNode("node-1", Freshness.FRESH, "k-1", "True", 2 * SECOND, 4 * SECOND),),
        4_100 * MS,
    ),
)
LATE = ClusterState(
    ClusterOutcome.LATE,
    ControlPlane.PARTLY,
    (
        ClusterNode("node-1", Freshness.LEASE_OLD, "k-1", "True", 190 * SECOND),
        ClusterNode("node-2", Freshness.LEASE_AHEAD, "k-2", "True", -35 * SECOND),
        ClusterNode("node-3", Freshness.NOT_READY, "k-3", "Unknown", 3 * SECOND),
        ClusterNode("node-4", Freshness.READY_AHEAD, "k-4", "True", 3 * SECOND),
        ClusterNode("node-5", Freshness.CLOCK_UNPROVEN, "k-5", "True", 3 * SECOND),
        ClusterNode("node-6", Freshness.FRESH, "k-6", "True", 3 * SECOND, 5 * SECOND),
        ClusterNode("db", Freshness.NO_NODE),
    ),
    60 * SECOND,
    cordoned=("k-1",),
)
AWAY_CLUSTER = ClusterState(
    ClusterOutcome.UNKNOWN,
    ControlPlane.INSIDE,
    waited_ns=60 * SECOND,
    trouble=Trouble(
        "the certificate of the API server https://10.0.0.1:6443 is not yet valid", "check the host's clock"
    ),
)
PARTIAL = SetReport(
    HOST,
    None,
    False,
    (
        Member("node-1", Outcome.HELD),
        Member("node-2", Outcome.NOT_REVERTED, Trouble("revert: the snapshot does not exist")),
    ),
)
TARGETS = {guest: Snapshot("before-upgrade", NOW - 40 * SECOND, "s1", ("node-1", "web")) for guest in GUESTS}
DOCTOR = DoctorReport(
    HOST,
    (Issue("snapshots", Level.WARNING, "the nodes' current snapshots are 2 h apart", "take one snapshot of all"),),
    (
        Diagnosis(
            "node-1",
            (
                Issue("offset", Level.ERROR, "-19.6194 s ± 800 µs is beyond 10 ms", "run clockstep step"),
                Issue("clocksource", Level.NOTE, "its kernel counts by hpet, which is slow to read, or coarse"),
            ),
        ),
        Diagnosis("node-2", ()),
    ),
)
CONFIG = ConfigReport(
    "/srv/shop/clockstep.toml",
    Source.ABOVE,
    (
        Cluster("prod", "", ("web-*", "db"), ("qemu:///system",), Limits(5 * MS, 120 * SECOND, None, True), freeze=()),
        Cluster("trial", "", ("*",), kubernetes=KubeAccess("/srv/shop/admin.conf", "shop")),
    ),
    ("clockstep.toml", "/srv/shop/clockstep.toml"),
)
HISTORY = History((Entry("revert", GOOD), Entry("step", BAD), Entry("watch", AWAY)), skipped=2)
AGENT = AgentReport(
    (
        SignalState("phc", up=True, sees="reverts and pauses", blind="a hypervisor whose own clock is wrong"),
        SignalState("fork", up=False, sees="reverts", blind="pauses", trouble="/dev/kmsg cannot be read"),
    ),
    "/dev/ptp0 (KVM virtual PTP), which counts UTC",
    "chrony",
    steps=True,
    others=("vmtoolsd: VMware's tools may set the clock: vmware-toolbox-cmd timesync disable",),
    reports_to="Kubernetes at https://10.0.0.10:6443, as the Node worker-1",
)
READY = KubeCondition("True", "KubeletReady")
STATES = (
    KubeState("worker-1", ("worker",), READY, lease_age_ns=190 * SECOND, lease_ns=40 * SECOND),
    KubeState(
        "worker-2",
        ("control-plane", "etcd"),
        KubeCondition("Unknown", "NodeStatusUnknown"),
        unschedulable=True,
        lease_age_ns=-36 * SECOND,
        lease_ns=40 * SECOND,
        problem=KubeCondition("True", "ClockOutOfBounds", "+36 s"),
    ),
    None,
)
LEFT = KubeReport(tuple(f"far-{number}" for number in range(12)), ("node-3",), ("twin-1", "twin-2"), None, "forbidden")
REFUSED = KubeReport(trouble=Trouble("the API server https://api:6443 refused the connection", "check that it runs"))
IN_CLUSTER = Report(
    HOST,
    tuple(replace(one, kubernetes=state) for one, state in zip((GOOD, BAD, AWAY), STATES, strict=True)),
    kubernetes=LEFT,
)
NODES = Selection(
    Choice.ARGUMENTS,
    "the arguments",
    tuple(Selected(guest, "named", state) for guest, state in zip(GUESTS, STATES, strict=False)),
    LEFT,
)
WEBHOOK = KubeRef("Service", "cert-manager-webhook", "cert-manager")
LAPSED_SERVING = Broken(
    "CS-SERVING",
    WEBHOOK,
    "the certificate that it serves expired 3 d ago",
    "cert-manager-webhook: notBefore 2026-08-20 00:00:00 UTC, notAfter 2026-09-18 00:00:00 UTC",
    "kubectl rollout restart -n cert-manager deployment/cert-manager-webhook",
    "calls of it fail while its pods start",
    NOW - 3 * DAY,
)
BARE = Broken("CS-STUCK", KubeRef("Pod", "bare", "shop"), "it cannot be made", "name is reserved", "make it again")
RESTART = Act(Deed.RESTART, KubeRef("Deployment", "cert-manager-webhook", "cert-manager"), "CS-SERVING")
LOOKED = (
    Looked("CS-CLOCK", "Leases of Nodes", State.CLEAN),
    Looked("CS-KUBELET", "Certificates of kubelets", State.NOT_LOOKED, "node-2: no answer"),
    Looked("CS-CEPH", "Ceph", State.ABSENT, "the cluster has no cephclusters.ceph.rook.io"),
    Looked("CS-SERVING", "What is served", State.BROKEN, "other: it has side effects", 90 * SECOND, (LAPSED_SERVING,)),
    Looked("CS-STUCK", "Stuck containers", State.BROKEN, broken=(BARE,)),
)
WOULD = AftermathReport(
    NOW,
    LOOKED,
    (Repair(LAPSED_SERVING, Healed.LEFT, RESTART), Repair(BARE, Healed.LEFT, why="nobody would make this pod again")),
)
HEALED = AftermathReport(
    NOW,
    (*LOOKED[:3], Looked("CS-SERVING", "What is served", State.CLEAN), LOOKED[4]),
    (
        Repair(LAPSED_SERVING, Healed.HEALED, RESTART, at_ns=NOW, proven_ns=NOW + 12 * SECOND),
        Repair(BARE, Healed.LEFT, why="nobody would make this pod again"),
    ),
)
PAGES = {
    "aftermath": (None, aftermath_page(AftermathReport(NOW, LOOKED))),
    "aftermath-plan": (None, repairs_page(WOULD)),
    "aftermath-repaired": (None, aftermath_page(HEALED)),
    "nodes": (
        selection := Selection(
            Choice.ARGUMENTS, "the arguments", tuple(Selected(guest, f"named {guest.name}") for guest in GUESTS)
        ),
        nodes_page(selection),
    ),
    "nodes-kubernetes": (NODES, nodes_page(NODES)),
    "status": (REPORT, status_page(REPORT)),
    "status-kubernetes": (IN_CLUSTER, status_page(IN_CLUSTER)),
    "status-kubernetes-away": (
        away := replace(REPORT, kubernetes=REFUSED),
        status_page(away),
    ),
    "step": (REPORT, step_page(REPORT)),
    "step-dry-run": (REPORT, step_plan_page(REPORT)),
    "doctor": (DOCTOR, doctor_page(DOCTOR)),
    "setup-plan": (SETUP, plan_page(SETUP)),
    "setup-plan-agent": (OWN_AGENT, plan_page(OWN_AGENT)),
    "setup-apply": (DONE, done_page(DONE)),
    "setup-explain": (None, explained_page()),
    "snapshot-list": (SNAPSHOTS, snapshots_page(SNAPSHOTS, NOW)),
    "revert": (SET, set_page(SET)),
    "revert-cluster-late": (late := replace(SET, lapsed=(), freezes=(), remarks=(), cluster=LATE), set_page(late)),
    "step-cluster-unknown": (unknown := Report(HOST, (GOOD,), cluster=AWAY_CLUSTER), step_page(unknown)),
    "step-cluster-other": (
        other := Report(HOST, (GOOD,), cluster=ClusterState(ClusterOutcome.UNMATCHED, waited_ns=20 * MS)),
        step_page(other),
    ),
    "revert-incomplete": (PARTIAL, set_page(PARTIAL)),
    "revert-aftermath": (
        ending := replace(SET, lapsed=(), freezes=(), remarks=(), aftermath=HEALED),
        set_page(ending),
    ),
    "step-aftermath": (
        stepped := Report(HOST, (GOOD,), aftermath=AftermathReport(NOW, LOOKED)),
        step_page(stepped),
    ),
    "step-aftermath-away": (
        unknown_aftermath := Report(HOST, (GOOD,), aftermath=AftermathReport(NOW, (), trouble=REFUSED.trouble)),
        step_page(unknown_aftermath),
    ),
    "config": (CONFIG, config_page(CONFIG)),
    "config-none": (
        none := ConfigReport("", None, (), ("clockstep.toml", "/etc/clockstep/config.toml")),
        config_page(none),
    ),
    "service": (
        service := ServiceStatus("clockstep-watch.service", "/etc/systemd/system/c.service", "enabled", "active"),
        service_page(service),
    ),
    "service-agent": (
        service := ServiceStatus(
            UNIT, UNIT_FILE, "enabled", "active", status_line(AgentSays("phc", "yes", "good", NEAR))
        ),
        service_page(service),
    ),
    "agent": (AGENT, agent_page(AGENT)),
    "history": (HISTORY, history_page(HISTORY)),
    "watch": (None, Page((episode_line(GOOD), episode_line(BAD), episode_line(AWAY)), (), (), ())),
    "revert-question": (
        None,
        Page((targets_line("before-upgrade", TARGETS, ("said", *lapses_in_short([LAPSED] * 5)), NOW),), (), (), ()),
    ),
}


def shown(name: str) -> str:
    """Return a page as terminals of all widths and a pipe get it, and its wide form."""
    record, page = PAGES[name]
    parts = [f"== {width} columns\n{on_terminal(page, width)}" for width in WIDTHS]
    parts.append(f"== a pipe\n{in_pipe(page)}")
    if record is not None and wide(record, page) != page:
        parts.append(f"== wide\n{in_pipe(wide(record, page))}")
    return "".join(parts)


def on_terminal(page: Page, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=True, highlight=False)
    console.print(rich_page(visible_page(page), width))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def in_pipe(page: Page) -> str:
    out = io.StringIO()
    print_page(page, out)
    return out.getvalue()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_as_its_golden_file_says(name: str) -> None:
    assert shown(name) == (GOLDEN / f"{name}.txt").read_text(), "run: python tests/cli/test_golden.py"


def test_every_page_that_there_is_has_a_golden_file() -> None:
    made = {name for module in (aftermath, text, setup) for name in vars(module) if name.endswith(("_page", "_line"))}
    used = set(re.findall(r"\b(\w+(?:_page|_line))\(", Path(__file__).read_text()))
    helpers = {name for name in made if name.startswith("_")} | {"host_line", "repair_line"}
    assert sorted(made - helpers - used) == []


def test_there_is_no_golden_file_of_a_page_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(PAGES)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file in GOLDEN.iterdir():
        file.unlink()
    for name in PAGES:
        (GOLDEN / f"{name}.txt").write_text(shown(name))
