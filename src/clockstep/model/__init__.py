"""The nouns: immutable records that every other room speaks of, and that `-o json` prints exactly as they are.

Time is integer nanoseconds. An offset is a node's clock minus the truth, which is the clock of the machine that runs
clockstep; it never travels without its error.

What may be damaged in a cluster is in `model.damage` alone: only `aftermath` needs it, and every command begins here.
"""

from clockstep.model.aftermath import Act, AftermathReport, Broken, Deed, Healed, Looked, Repair, State
from clockstep.model.agent import AgentReport, SignalState
from clockstep.model.certificates import Certificate, NodeCertificates
from clockstep.model.clock import (
    Action,
    Cause,
    Claim,
    Decision,
    Episode,
    Facts,
    Finding,
    HostClock,
    Offset,
    Policy,
    Reading,
    Resync,
    Step,
    Summary,
    Trouble,
    Verdict,
)
from clockstep.model.cluster import (
    ClusterNode,
    ClusterOutcome,
    ClusterPolicy,
    ClusterState,
    ControlPlane,
    Freshness,
)
from clockstep.model.doctor import (
    Around,
    Diagnosis,
    DoctorReport,
    Examination,
    Inside,
    Issue,
    Level,
    TimeSource,
)
from clockstep.model.failure import (
    ErrorReport,
    Failure,
)
from clockstep.model.history import (
    Entry,
    History,
)
from clockstep.model.kubernetes import (
    CLOCK_PROBLEM,
    Cordon,
    KubeAccess,
    KubeCondition,
    KubeEvent,
    KubeNode,
    KubeRef,
    KubeState,
)
from clockstep.model.machines import (
    Bridge,
    Channel,
    Choice,
    Guest,
    Happening,
    Selected,
    Selection,
    What,
)
from clockstep.model.report import (
    KubeReport,
    Report,
)
from clockstep.model.snapshots import (
    Member,
    Outcome,
    Pause,
    SetReport,
    Snapshot,
    SnapshotList,
    SnapshotSet,
)
from clockstep.model.workloads import (
    Freeze,
    Pod,
    Thaw,
    Workloads,
)

__all__ = [
    "CLOCK_PROBLEM",
    "Act",
    "Action",
    "AftermathReport",
    "AgentReport",
    "Around",
    "Bridge",
    "Broken",
    "Cause",
    "Certificate",
    "Channel",
    "Choice",
    "Claim",
    "ClusterNode",
    "ClusterOutcome",
    "ClusterPolicy",
    "ClusterState",
    "ControlPlane",
    "Cordon",
    "Decision",
    "Deed",
    "Diagnosis",
    "DoctorReport",
    "Entry",
    "Episode",
    "ErrorReport",
    "Examination",
    "Facts",
    "Failure",
    "Finding",
    "Freeze",
    "Freshness",
    "Guest",
    "Happening",
    "Healed",
    "History",
    "HostClock",
    "Inside",
    "Issue",
    "KubeAccess",
    "KubeCondition",
    "KubeEvent",
    "KubeNode",
    "KubeRef",
    "KubeReport",
    "KubeState",
    "Level",
    "Looked",
    "Member",
    "NodeCertificates",
    "Offset",
    "Outcome",
    "Pause",
    "Pod",
    "Policy",
    "Reading",
    "Repair",
    "Report",
    "Resync",
    "Selected",
    "Selection",
    "SetReport",
    "SignalState",
    "Snapshot",
    "SnapshotList",
    "SnapshotSet",
    "State",
    "Step",
    "Summary",
    "Thaw",
    "TimeSource",
    "Trouble",
    "Verdict",
    "What",
    "Workloads",
]
