"""The nouns: records that every other room speaks of, and that `--json` prints exactly as they are.

Time is integer nanoseconds. An offset is a node's clock minus the truth, which is the clock of the machine that runs
clockstep; it never travels without its error.
"""

from enum import Enum
from typing import Annotated

import msgspec

from clockstep.units import DAY_NS, MILLISECOND_NS, SECOND_NS


class Record(msgspec.Struct, frozen=True):
    """What all nouns are: immutable, compared by value, and encodable."""


class Verdict(Enum):
    """What a look says of a node, from harmless to worst. Only BAD is acted on; UNSURE never steps."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    UNREACHABLE = "unreachable"


class Offset(Record, frozen=True):
    """The true offset lies within `error_ns` of `value_ns`; negative is behind."""

    value_ns: int
    error_ns: int

    @property
    def earliest_ns(self) -> int:
        """The least that the true offset can be."""
        return self.value_ns - self.error_ns

    @property
    def latest_ns(self) -> int:
        """The most that the true offset can be."""
        return self.value_ns + self.error_ns

    def surely_within(self, bound_ns: int) -> bool:
        """Whether the true offset can only be at most `bound_ns` away from zero."""
        return -bound_ns <= self.earliest_ns and self.latest_ns <= bound_ns

    def surely_beyond(self, bound_ns: int) -> bool:
        """Whether the true offset can only be more than `bound_ns` away from zero."""
        return self.latest_ns < -bound_ns or self.earliest_ns > bound_ns


class Reading(Record, frozen=True):
    """One measurement of a node's clock, taken at `at_ns` of this machine's wall clock.

    `round_trip_ns` is how long the quickest of its questions took to be answered.
    """

    source: str
    offset: Offset
    at_ns: int
    round_trip_ns: int


class Claim(Record, frozen=True):
    """What a node's own time daemon says of itself; nothing here is believed, it is only shown and compared.

    `synchronised` is None of a daemon that runs and does not say. `source` is the source it follows, in chrony's
    notation (`^* 10.0.2.2`) or by its name; `offset` is how far off it takes the clock to be: one that is right by its
    own account and wrong by ours has noticed nothing. `heard` is whether any of its sources has answered it lately.
    `failed` is whether it runs no more, and has not been stopped, by its service manager.
    """

    daemon: str
    synchronised: bool | None
    source: str | None = None
    offset: Offset | None = None
    leap: str | None = None
    root_delay_ns: int | None = None
    root_dispersion_ns: int | None = None
    heard: bool | None = None
    failed: bool = False


class Trouble(Record, frozen=True):
    """Something that went wrong while a node was looked at.

    `lasting`: asking again will not help. `internal`: it is a bug of clockstep's.
    """

    text: str
    remedy: str = ""
    lasting: bool = False
    internal: bool = False


class Facts(Record, frozen=True):
    """What one look saw: readings, the daemon's claim if it was asked, and trouble met.

    `host_jumped_ns` is how far this machine's own clock was moved since the work began; readings are then missing,
    because what they were compared with is not the truth any more.
    """

    readings: tuple[Reading, ...] = ()
    claim: Claim | None = None
    trouble: tuple[Trouble, ...] = ()
    host_jumped_ns: int = 0


class Policy(Record, frozen=True):
    """What may be done, and when it is enough.

    `max_forward_ns` of None leaves it to the cause to say how far behind a clock can be; `looks` is how many good
    looks in a row prove it; `require_sync` makes a daemon that is not synchronised by the deadline a failure. Without
    `resync_idle`, a daemon that is not in sync is left alone if the clock was within tolerance all the time.
    """

    tolerance_ns: int = 10 * MILLISECOND_NS
    max_forward_ns: int | None = None
    max_backward_ns: int = 0
    deadline_ns: int = 30 * SECOND_NS
    looks: int = 3
    require_sync: bool = False
    resync_idle: bool = True


class Cause(Record, frozen=True):
    """Why a node is worked on, and how far behind that can have left its clock.

    `since_ns` is the reading of this machine's monotonic clock when the node began to run wrong, if that is known.
    """

    text: str
    explains_ns: int = DAY_NS
    since_ns: int | None = None


class Finding(Record, frozen=True):
    """What one check says of the facts. A good finding with a remedy is a warning."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


class Step(Record, frozen=True, tag="step"):
    """Move a node's clock by `by_ns`, at once and relative to where it is.

    One that is `unconfirmed` was asked for, and the node has not said whether it was made, or may yet be.
    """

    by_ns: int
    unconfirmed: bool = False


class Resync(Record, frozen=True, tag="resync"):
    """Make the time daemon forget what it measured before the step, and measure anew."""

    daemon: str


Action = Step | Resync


class Episode(Record, frozen=True):
    """One pass of the loop over one node: all that was seen and done, and all that the output renders.

    `before` and `after` are the first and the last offset, `facts` the last look. `started_at_ns` is this machine's
    wall clock; the durations are from its monotonic clock. They run from the cause, or from the first look where no
    moment of the cause is known: `wrong_for_ns` to the first of the good looks that prove it (0 where the very first
    look was good), `proven_ns` to the last of them; both are None where it was not proven. `planned` is what would be
    done, where it was only looked.
    """

    node: str
    cause: Cause
    verdict: Verdict
    before: Offset | None
    actions: tuple[Action, ...]
    after: Offset | None
    facts: Facts
    findings: tuple[Finding, ...]
    started_at_ns: int
    took_ns: int
    wrong_for_ns: int | None = None
    proven_ns: int | None = None
    planned: tuple[Action, ...] = ()


class Guest(Record, frozen=True):
    """A virtual machine as its hypervisor lists it; `state` is `running`, `paused`, `saved`, `shut off` or the like.

    `connection` is the address of its hypervisor as it was given; empty for the default one. `stuck` is why it is
    paused where the hypervisor itself did that, as after an I/O error. `domain` is its hypervisor's name for it if
    `name` is another one, which Vagrant gave it.
    """

    name: str
    uuid: str
    state: str
    connection: str = ""
    stuck: str = ""
    domain: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others: a UUID alone may be on two hosts, as after a migration."""
        return self.connection, self.uuid

    @property
    def recorded(self) -> str:
        """Its name in the snapshots, the same inside a Vagrant project and outside of it."""
        return self.domain or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names that mean it, the one that is printed first."""
        alone = self.recorded.removesuffix(f"@{self.connection}")
        return tuple(dict.fromkeys((self.name, self.recorded, f"{alone}@{self.connection}")))

    @property
    def active(self) -> bool:
        """Whether there is a running state that a revert discards."""
        return self.state not in {"shut off", "crashed"}


class Choice(Enum):
    """What decided which nodes a command is about, from what counts first to what counts last."""

    ARGUMENTS = "arguments"
    CLUSTER = "cluster"
    CONFIGURATION = "configuration"
    VAGRANT = "vagrant"
    RUNNING = "running"


class Selected(Record, frozen=True):
    """A machine that a command is about, and why."""

    guest: Guest
    why: str


class Selection(Record, frozen=True):
    """What `nodes` prints: the machines that a command is about, and in `text` what decided that, in words."""

    choice: Choice
    text: str
    nodes: tuple[Selected, ...]
    schema_version: int = 1


Bounded = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number of nanoseconds in a record that is read back from where others may write."""


class Snapshot(Record, frozen=True):
    """One snapshot of one guest. `set_id` and `members` are None where another tool made it.

    Without `memory` a guest that is put back to it boots anew. `external` is one whose state is in files of its own.
    `frozen` are the cgroups whose workloads stand still in it, until they are thawed.
    """

    name: str
    created_ns: Bounded
    set_id: str | None = None
    members: tuple[str, ...] | None = None
    memory: bool = True
    external: bool = False
    frozen: tuple[str, ...] = ()

    def is_same(self, other: "Snapshot") -> bool:
        """Whether this is a guest's part of the set that the other belongs to."""
        return self.set_id is not None and (self.name, self.set_id) == (other.name, other.set_id)


class Pause(Record, frozen=True):
    """A guest that clockstep has paused and not yet resumed, as it is written down.

    `operation` is `pause`, `snapshot` or `revert`; the last two are of `snapshot`. `clock_ns` is about what its clock
    says: the time of the pause, or that of the snapshot. `released` is whether it may run on whatever became of the
    others: after a revert only once all were put back. `connection` is where it runs; None where that was not noted.
    """

    uuid: str
    node: str
    operation: str
    at_ns: Bounded
    clock_ns: Bounded
    snapshot: Snapshot | None = None
    released: bool = True
    connection: str | None = None

    @property
    def text(self) -> str:
        """What it was paused for, in words."""
        name = f" {self.snapshot.name!r}" if self.snapshot else ""
        return {"snapshot": f"the snapshot{name}", "revert": f"the revert to{name}"}.get(
            self.operation, "clockstep pause"
        )


class HostClock(Record, frozen=True):
    """What this machine's kernel says of its own clock: `max_error_ns` bounds it against UTC while synchronised."""

    synchronised: bool
    max_error_ns: int


class What(Enum):
    """What can happen to a guest, as far as its clock is concerned."""

    REVERTED = "reverted to a snapshot"
    RESTORED = "restored from a saved state"
    MIGRATED = "migrated"
    RESUMED = "resumed after a pause"
    BOOTED = "booted"
    ANSWERS = "its agent answers"
    PAUSED = "paused"
    STOPPED = "stopped"


class Happening(Record, frozen=True):
    """Something that happened to a guest of a connection, at `at_ns` of this machine's monotonic clock."""

    uuid: str
    what: What
    at_ns: int
    connection: str = ""


class Summary(Record, frozen=True):
    """All nodes together: the worst verdict, the longest time that a clock was wrong, and `largest_ns`.

    That is how far any clock may be off, its bound included; None where one was not read.
    """

    verdict: Verdict
    largest_ns: int | None
    wrong_for_ns: int | None


class Report(Record, frozen=True):
    """What `status` and `step` print."""

    host: HostClock
    episodes: tuple[Episode, ...]
    summary: Summary | None = None
    schema_version: int = 1


class TimeSource(Record, frozen=True):
    """One of chronyd's sources: `mode` and `state` as in `chronyc sources`; `reach` is whether it answered lately.

    `poll_s` is how often it is asked.
    """

    mode: str
    state: str
    name: str
    reach: bool
    poll_s: float = 64


class Inside(Record, frozen=True):
    """What a node's own system says of its timekeeping; empty or None where it does not say.

    `daemons` are time daemons that run, None where that cannot be told; `others` other programs that may set the clock.
    `ptp` are the hardware clocks by their files, each with its name in /sys/class/ptp; `refclocks` are the files that
    chrony's configuration names, each with what it leads to, `optional` those of them that may be missing, and
    `trusted` those that servers cannot outvote. `configured` is whether that configuration could be read, `makestep`
    its threshold and limit, and `nts` whether any of its servers is asked by NTS. `confined` is what a security module
    calls whoever runs programs there for us, where it forbids that most. `rtc_ahead_s` is the RTC minus the clock.
    `interpreter` is whether there is a perl or a python, by which a clock can be stepped.
    """

    daemons: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()
    sources: tuple[TimeSource, ...] = ()
    makestep: str | None = None
    refclocks: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    configured: bool = False
    nts: bool = False
    rtcsync: bool = False
    ptp: tuple[tuple[str, str], ...] = ()
    kernel: str = ""
    has_ptp_kvm: bool | None = None
    clocksource: str = ""
    may_set_time: bool | None = None
    container: bool = False
    confined: str = ""
    rtc_ahead_s: int | None = None
    rtc_local: bool = False
    interpreter: bool = True
    tai_s: int | None = None


class Channel(Record, frozen=True):
    """What was done to give a domain a channel for an agent: to its definition, and to the machine as it runs.

    `objection` is why the running machine did not take it, else empty.
    """

    defined: bool
    plugged: bool
    objection: str = ""


class Bridge(Record, frozen=True):
    """A network of a hypervisor's that nodes are on, with its bridge; `uuid` is the network's.

    `spanning` is whether the bridge takes part in the spanning tree protocol, by its definition; `members` are the
    names of all running guests on it, as their hypervisor calls them.
    """

    network: str
    uuid: str
    device: str
    spanning: bool
    members: tuple[str, ...]


class Around(Record, frozen=True):
    """What a node's hypervisor gives it for keeping time.

    `rtc_offset` is what its RTC is kept in, as libvirt says it: utc, localtime, timezone, or absolute. `snapshot_ns` is
    when its current snapshot was taken. `spanning` are the networks it is on whose bridge takes part in the spanning
    tree protocol. `windows` is whether Windows runs there, which keeps its RTC in local time.
    """

    agent_channel: bool
    generation_id: bool
    rtc_offset: str = "utc"
    rtc_track: str = ""
    snapshot_ns: int | None = None
    spanning: tuple[str, ...] = ()
    windows: bool = False


class Examination(Record, frozen=True):
    """All that was found of a node; None where it could not be looked at, and `unasked` says why not inside.

    `confined` is what the node says of forbidding its guest agent to run programs.
    """

    node: str
    facts: Facts
    around: Around | None = None
    inside: Inside | None = None
    exec_blocked: bool = False
    confined: str = ""
    unasked: str = ""
    host_tai_s: int = 0


class Diagnosis(Record, frozen=True):
    """What is to be said of a node, worst first; nothing where all is in order."""

    node: str
    findings: tuple[Finding, ...]


class DoctorReport(Record, frozen=True):
    """What `doctor` prints; `general` is of this machine, and of all nodes together."""

    host: HostClock
    general: tuple[Finding, ...]
    nodes: tuple[Diagnosis, ...]
    schema_version: int = 1


class Outcome(Enum):
    """What a snapshot, a revert, a pause or a resume came to for one node."""

    TAKEN = "snapshot taken"
    NOT_TAKEN = "no snapshot taken"
    DELETED = "snapshot deleted"
    NOT_DELETED = "snapshot not deleted"
    REVERTED = "reverted"
    HELD = "reverted and left paused"
    NOT_REVERTED = "not reverted"
    PAUSED = "paused"
    NOT_PAUSED = "not paused"
    RESUMED = "resumed"
    NOT_RESUMED = "not resumed"
    THAWED = "thawed"
    NOTHING_FROZEN = "nothing was frozen by clockstep"
    NOT_THAWED = "not thawed"
    UNREAD = "not read"


class Member(Record, frozen=True):
    """One node's part in a snapshot or a revert, and what went wrong with it."""

    node: str
    outcome: Outcome
    trouble: Trouble | None = None


class Pod(Record, frozen=True):
    """A pod as the container runtime knows it; `static` is one that the kubelet runs from a file."""

    namespace: str
    name: str
    uid: str
    static: bool = False


class Workloads(Record, frozen=True):
    """What a node has that could be frozen; all cgroups are below the root of cgroups, by their paths.

    `unified` is whether it has cgroup v2, `cgroups` those that were asked about and are there, `pod_cgroups` those of
    pods. `static_pods` is how many files the kubelet runs static pods from, `kubelet_pods` how many pods it keeps;
    `pods` is None where no runtime tells.
    """

    unified: bool
    cgroups: tuple[str, ...] = ()
    pod_cgroups: tuple[str, ...] = ()
    static_pods: int = 0
    kubelet_pods: int = 0
    pods: tuple[Pod, ...] | None = None


class Thaw(Enum):
    """What became of workloads that were frozen."""

    PROVEN = "thawed, the clock proven right"
    FROZEN = "frozen still"
    RUNNING = "not frozen"


class Freeze(Record, frozen=True):
    """A node's workloads that were frozen, the pods that were `left_out`, and for how long they stood still."""

    node: str
    cgroups: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    still_ns: int | None = None
    thaw: Thaw = Thaw.FROZEN
    trouble: Trouble | None = None


class SetReport(Record, frozen=True):
    """What `snapshot create` and `delete`, `revert`, `pause` and `resume` print.

    `complete` says whether every member took part; only then were the members of a revert resumed. `pause_spread_ns`
    bounds how far apart the members were paused, `stalled_ns` for how long each stood still for its snapshot at most.
    `freezes` are of the nodes whose workloads were frozen.
    """

    host: HostClock
    snapshot: Snapshot | None
    complete: bool
    members: tuple[Member, ...]
    episodes: tuple[Episode, ...] = ()
    pause_spread_ns: int | None = None
    stalled_ns: int | None = None
    remarks: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    summary: Summary | None = None
    schema_version: int = 1


class SnapshotSet(Record, frozen=True):
    """The snapshots of one set, or of one name where another tool made them: who should have one, and who has."""

    name: str
    set_id: str | None
    created_ns: int
    members: tuple[str, ...]
    present: tuple[str, ...]
    complete: bool


class SnapshotList(Record, frozen=True):
    """What `snapshot list` prints; `unread` are the nodes whose snapshots could not be listed."""

    snapshots: tuple[SnapshotSet, ...]
    unread: tuple[Member, ...] = ()
    schema_version: int = 1
