"""The nouns: immutable records that every other room speaks of, and that `-o json` prints exactly as they are.

Time is integer nanoseconds. An offset is a node's clock minus the truth, which is the clock of the machine that runs
clockstep; it never travels without its error.
"""

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
    KubeAccess,
    KubeCondition,
    KubeEvent,
    KubeNode,
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
    "Action",
    "Around",
    "Bridge",
    "Cause",
    "Certificate",
    "Channel",
    "Choice",
    "Claim",
    "Decision",
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
    "Guest",
    "Happening",
    "History",
    "HostClock",
    "Inside",
    "Issue",
    "KubeAccess",
    "KubeCondition",
    "KubeEvent",
    "KubeNode",
    "KubeReport",
    "KubeState",
    "Level",
    "Member",
    "NodeCertificates",
    "Offset",
    "Outcome",
    "Pause",
    "Pod",
    "Policy",
    "Reading",
    "Report",
    "Resync",
    "Selected",
    "Selection",
    "SetReport",
    "Snapshot",
    "SnapshotList",
    "SnapshotSet",
    "Step",
    "Summary",
    "Thaw",
    "TimeSource",
    "Trouble",
    "Verdict",
    "What",
    "Workloads",
]
