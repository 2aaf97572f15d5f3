"""What is seen of clocks, what is done about it, and what that came to."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from clockstep.model.kubernetes import KubeState
from clockstep.units import DAY_NS, MILLISECOND_NS, SECOND_NS


class Verdict(Enum):
    """What is measured of a node's clock, from harmless to worst. What may be done about it is a `Decision`."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    UNREACHABLE = "unreachable"


class Decision(Enum):
    """What is to be done about a node's clock, where that is allowed."""

    NOTHING = "nothing"
    STEP = "step"
    LEAVE = "leave-to-daemon"
    CONSENT = "needs-consent"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Offset:
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

    def widened(self, by_ns: int) -> "Offset":
        """Return the same offset, known less well by so many nanoseconds."""
        return Offset(self.value_ns, self.error_ns + by_ns)

    def surely_within(self, bound_ns: int) -> bool:
        """Whether the true offset can only be at most `bound_ns` away from zero."""
        return -bound_ns <= self.earliest_ns and self.latest_ns <= bound_ns

    def surely_beyond(self, bound_ns: int) -> bool:
        """Whether the true offset can only be more than `bound_ns` away from zero."""
        return self.latest_ns < -bound_ns or self.earliest_ns > bound_ns


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement of a node's clock, taken at `at_ns` of the clock that it was compared with.

    `round_trip_ns` is how long the quickest of its questions took to be answered. `reference` is that clock's name.
    """

    source: str
    offset: Offset
    at_ns: int
    round_trip_ns: int
    reference: str = "host"


@dataclass(frozen=True, slots=True)
class Claim:
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


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong while a node was looked at.

    `lasting`: asking again will not help. `internal`: it is a bug of clockstep's. `locked`: by another
    clockstep.
    """

    text: str
    remedy: str = ""
    lasting: bool = False
    internal: bool = False
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look saw: readings, the daemon's claim if it was asked, and trouble met.

    `reference_moved_ns` is how far the clock that nodes are compared with was set since the work began; readings are
    then missing, because they mean nothing.
    """

    readings: tuple[Reading, ...] = ()
    claim: Claim | None = None
    trouble: tuple[Trouble, ...] = ()
    reference_moved_ns: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done, and when it is enough.

    `max_forward_ns` of None leaves it to the cause to say how far behind a clock can be; `looks` is how many good
    looks in a row prove it; `require_sync` makes a daemon that is not synchronised by the deadline a failure. Without
    `resync_idle`, a daemon that is not in sync is left alone if the clock was within tolerance all the time. With
    `glance` a clock found within tolerance is measured no better, as is enough for many nodes at once.
    """

    tolerance_ns: int = 10 * MILLISECOND_NS
    max_forward_ns: int | None = None
    max_backward_ns: int = 0
    deadline_ns: int = 30 * SECOND_NS
    looks: int = 3
    require_sync: bool = False
    resync_idle: bool = True
    glance: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a node is worked on, and how far behind that can have left its clock.

    `kind` is a token, as `reverted`, and `detail` what tells it from others of its kind, as the snapshot's name.
    `since_ns` is the reading of the host's monotonic clock since when the node's clock is off, if that is known.
    """

    kind: str
    explains_ns: int = DAY_NS
    since_ns: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of the facts. A good finding with a remedy is a warning."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


class Action:
    """What is done to a node, as data: a `Step` or a `Resync`, distinguished by `type` in JSON."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step(Action):
    """Move a node's clock by `by_ns`, at once and relative to where it is.

    One that is `unconfirmed` was asked for, and the node has not said whether it was made, or may yet be.
    """

    by_ns: int
    unconfirmed: bool = False
    type: Literal["step"] = field(default="step", init=False)


@dataclass(frozen=True, slots=True)
class Resync(Action):
    """Make the time daemon drop what it measured before the step, and measure again."""

    daemon: str
    type: Literal["resync"] = field(default="resync", init=False)


@dataclass(frozen=True, slots=True)
class Episode:
    """One pass of the loop over one node: all that was seen and done, and all that the output renders.

    `before` and `after` are the first and the last offset, `facts` the last look. `started_at_ns` is the host's
    wall clock; the durations are from its monotonic clock. They run from the cause, or from the first look where no
    moment of the cause is known: `wrong_for_ns` to the first of the good looks that prove it (0 where the very first
    look was good), `proven_ns` to the last of them; both are None where it was not proven. `planned` is what would be
    done, where it was only looked. `decision` is of the last look, and `consent` the option that allows a step which
    needs it. `kubernetes` is what a Kubernetes cluster says of the node, if one was asked.
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
    decision: Decision = Decision.NOTHING
    consent: str = ""
    kubernetes: KubeState | None = None


@dataclass(frozen=True, slots=True)
class HostClock:
    """What the host's kernel reports of its own clock: `max_error_ns` bounds it against UTC while synchronised."""

    synchronised: bool
    max_error_ns: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All nodes together: the worst verdict, the longest time that a clock was wrong, and `largest_ns`.

    That is how far any clock may be off, its bound included; None where one was not read.
    """

    verdict: Verdict
    largest_ns: int | None
    wrong_for_ns: int | None
