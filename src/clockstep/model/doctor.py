"""What is found of a node's timekeeping, and what there is to say of it."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.clock import Facts, HostClock, Summary


@dataclass(frozen=True, slots=True)
class TimeSource:
    """One of chronyd's sources: `mode` and `state` as in `chronyc sources`; `reach` is whether it answered lately.

    `poll_s` is how often it is asked.
    """

    mode: str
    state: str
    name: str
    reach: bool
    poll_s: float = 64


@dataclass(frozen=True, slots=True)
class Inside:
    """What a node's own system says of its timekeeping; empty or None where it does not say.

    `daemons` are time daemons that run, None if that is unknown; `others` other programs that may set the clock.
    `ptp` are the hardware clocks by their files, each with its name in /sys/class/ptp; `refclocks` are the files that
    chrony's configuration names, each with what it leads to, `optional` those of them that may be missing, and
    `trusted` those that servers cannot outvote. `configured` is whether that configuration could be read, `makestep`
    its threshold and limit, and `nts` whether any of its servers is asked by NTS. `confined` is what a security module
    calls whoever runs programs there for us, where it forbids that most. `rtc_ahead_s` is the RTC minus the clock.
    `interpreter` is whether there is a perl or a python, by which a clock can be stepped. `agent` is whether the node's
    own agent runs, as a unit of systemd, and `forks` whether its kernel tells of a revert (vmgenid).
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
    agent: bool = False
    forks: bool = False
    tai_s: int | None = None


@dataclass(frozen=True, slots=True)
class Around:
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


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found of a node; None if it could not be examined, and `unasked` says why not inside.

    `unasked_lasts` is whether asking again would not help.

    `confined` is what the node says of forbidding its guest agent to run programs.
    """

    node: str
    facts: Facts
    around: Around | None = None
    inside: Inside | None = None
    exec_blocked: bool = False
    confined: str = ""
    unasked: str = ""
    unasked_lasts: bool = False
    host_tai_s: int = 0


class Level(Enum):
    """How bad it is what `doctor` found: a clock is off by it, may be after the next revert, or it is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that `doctor` found; `check` is its section in docs/diagnosis.md."""

    check: str
    level: Level
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found on a node, worst first; nothing if all is in order."""

    node: str
    findings: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What `doctor` prints; `general` is about the host, and of all nodes together."""

    host: HostClock
    general: tuple[Issue, ...]
    nodes: tuple[Diagnosis, ...]
    summary: Summary | None = None
    schema_version: int = 2
