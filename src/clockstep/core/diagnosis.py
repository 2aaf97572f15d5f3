"""Why a clock is wrong, or will be after the next revert: what was found in a node and around it, to one finding each.

The verdict of a finding says how bad it is: BAD breaks a clock, UNSURE may, GOOD with a remedy is worth knowing. Its
`check` is the heading of its part of docs/diagnosis.md.
"""

from collections.abc import Callable

from clockstep.core.checks import judge, measured
from clockstep.core.unnoticed import check_reference, daemons_of, followed, is_hosts, noticed_by_agent, sources_of
from clockstep.errors import CONFINED_HINT
from clockstep.model import Examination, Finding, Policy, Verdict
from clockstep.units import SECOND_NS, show_duration

Check = Callable[[Examination], Finding | None]

EXEC_REMEDY = (
    "allow guest-exec and guest-exec-status, in /etc/sysconfig/qemu-ga on RHEL, Fedora and SUSE, in "
    "/etc/qemu/qemu-ga.conf elsewhere; then restart qemu-guest-agent"
)
SLOW_CLOCKSOURCES = {"acpi_pm", "hpet", "jiffies", "refined-jiffies", "pit"}
WRONG_HOST_NS = SECOND_NS // 10
RTC_APART_NS = 3 * SECOND_NS
"""An RTC counts whole seconds, and reading it takes a moment."""
ADD_SERVERS = "chronyc add pool pool.ntp.org iburst, and `pool pool.ntp.org iburst` in chrony.conf for its next start"
ASK_AGAIN = (
    "chronyc online && chronyc refresh && chronyc burst 1/2; if none answers to that: routes, and firewalls for UDP "
    "port 123"
)
ADD_NTS = (
    "others with nts. A pool without it counts only after authselectmode ignore in chrony.conf: where one source has "
    "nts, chronyd requires one of these"
)
ASK_AGAIN_BY_NTS = (
    "firewalls for TCP port 4460 (NTS) and UDP port 123; and clockstep step first if the clock is far off, since it "
    "takes their certificates for lapsed then; after that chronyc online && chronyc refresh && chronyc burst 1/2"
)
"""A source that is asked by NTS is refused where its certificate is not valid by the node's own clock. Beside such a
source, one without has no vote in chrony's default mode (authselectmode in chrony.conf(5))."""
SWITCH_OFF = {
    "systemd-timesyncd": "systemctl disable --now systemd-timesyncd",
    "ntpd": "systemctl disable --now $(ps -o unit= -C ntpd)",  # the unit's name is the package's: ntp, ntpsec, openntpd
    "ntp-daemon": "systemctl disable --now ntpd-rs",
    "clockbound": "systemctl disable --now clockbound",
    "vmtoolsd": "vmware-toolbox-cmd timesync disable",
    "VBoxService": "VBoxManage setextradata VM VBoxInternal/Devices/VMMDev/0/Config/GetHostTimeDisabled 1, on its host",
}
"""How a program that sets the clock is kept from it, by its name."""
ORDER = (Verdict.UNREACHABLE, Verdict.BAD, Verdict.UNSURE, Verdict.GOOD)


def diagnose(examination: Examination, policy: Policy) -> tuple[Finding, ...]:
    """Return all that is to be said of a node, worst first; nothing of what is in order."""
    of_clock = [finding for finding in judge(examination.facts, policy) if _says(finding)]
    found = [*of_clock, *(finding for check in CHECKS if (finding := check(examination)))]
    return tuple(sorted(found, key=lambda finding: ORDER.index(finding.verdict)))


def check_asked(found: Examination) -> Finding | None:
    """If the node's system could not be asked, nothing found does not mean that all is in order."""
    if not found.unasked:
        return None
    remedy = "" if found.unasked_lasts else "run clockstep doctor again"
    return Finding("unasked", Verdict.UNSURE, f"its system could not be asked: {found.unasked}", remedy)


def check_daemon(found: Examination) -> Finding | None:
    """Nobody keeps the clock right between reverts."""
    if found.inside is None or found.inside.daemons != () or found.facts.claim or found.inside.sources:
        return None
    unnoticed = "" if noticed_by_agent(found.inside) else ": nothing in it would ever notice a revert"
    text = f"no time daemon runs in the node{unnoticed}"
    return Finding("no-daemon", Verdict.BAD, text, "clockstep setup apply installs chrony")


def check_two_daemons(found: Examination) -> Finding | None:
    """Two that set one clock fight."""
    inside, daemons = found.inside, daemons_of(found)
    if inside is None or len(daemons) + len(inside.others) < 2:
        return None
    verdict = Verdict.BAD if len(daemons) > 1 else Verdict.UNSURE
    text = f"several programs set the clock: {', '.join((*daemons, *inside.others))}"
    kept, *rest = (*daemons, *inside.others)
    ends = "; ".join(SWITCH_OFF[name] for name in rest)
    return Finding("two-daemons", verdict, text, f"keep {kept}: {ends}")


def check_may_step(found: Examination) -> Finding | None:
    """A daemon without the capability only measures."""
    inside = found.inside
    if inside is None or inside.may_set_time is not False:
        return None
    where = ", which is a container" if inside.container else ""
    text = f"{next(iter(daemons_of(found)), 'the daemon')} may not set the clock of this node{where}"
    return Finding(
        "cannot-step", Verdict.BAD, text, "give it CAP_SYS_TIME, or keep the clock from outside the container"
    )


def check_one_source(found: Examination) -> Finding | None:
    """A single source cannot be outvoted, and cannot be told from a wrong one."""
    answering = [source for source in sources_of(found) if source.reach]
    if len(answering) != 1:
        return None
    text = f"chronyd has only one source that answers: {answering[0].name}"
    add = ADD_NTS if found.inside and found.inside.nts else ADD_SERVERS
    return Finding("one-source", Verdict.GOOD, text, f"add more, so that a false one can be outvoted: {add}")


def check_falsetickers(found: Examination) -> Finding | None:
    """chronyd drops a source that disagrees: after a revert that is the right one. One among many does no harm."""
    sources, offset = sources_of(found), measured(found.facts)
    selected = any(source.state == "*" for source in sources)
    wrong = [source for source in sources if source.state == "x" or (source.state == "~" and not selected)]
    if not wrong:
        return None
    text = f"chronyd rejects these sources: {', '.join(f'{one.mode}{one.state} {one.name}' for one in wrong)}"
    right = offset is None or not offset.surely_beyond(WRONG_HOST_NS)
    if selected and right and not any(source.mode == "#" for source in wrong):
        return Finding("falseticker", Verdict.GOOD, text, "check them; the others outvote them")
    return Finding(
        "falseticker",
        Verdict.BAD,
        text,
        "clockstep step makes it resample; if that does not help, check which source is correct",
    )


def check_unreachable_sources(found: Examination) -> Finding | None:
    """No source that answers, no time."""
    sources, claim = sources_of(found), found.facts.claim
    if any(source.reach for source in sources):
        return None
    if sources:
        text = f"none of its sources answers: {', '.join(source.name for source in sources)}"
        nts = found.inside is not None and found.inside.nts
        return Finding("no-answer", Verdict.BAD, text, ASK_AGAIN_BY_NTS if nts else ASK_AGAIN)
    if found.inside and claim and claim.daemon == "chrony":
        return Finding(
            "no-answer", Verdict.BAD, "chronyd has no sources", f"chronyc refresh, if DNS is the cause; {ADD_SERVERS}"
        )
    return None


def check_makestep(found: Examination) -> Finding | None:
    """`makestep 1 3` is used up minutes after boot; what comes later is slewed, an hour in twelve."""
    inside = found.inside
    if inside is None or "chronyd" not in daemons_of(found) or not inside.configured or _steps(inside.makestep):
        return None
    said = f"its `makestep {inside.makestep}` does not apply then" if inside.makestep else "it has no makestep"
    text = f"chronyd only slews a clock that a revert leaves behind: {said}"
    return Finding("makestep", Verdict.UNSURE, text, "clockstep setup apply makes it step at any time: `makestep 1 -1`")


def _steps(makestep: str | None) -> bool:
    """Whether chronyd steps at any time what a revert leaves: its limit is -1 and its threshold a second or less."""
    words = (makestep or "").split()
    try:
        return len(words) == 2 and int(words[1]) < 0 and float(words[0]) <= 1
    except ValueError:
        return False


def check_phc(found: Examination) -> Finding | None:
    """The clock of a network card is no truth for a guest, and one that is not there stops chronyd."""
    if found.inside is None:
        return None
    for file, name in followed(found.inside):
        if not name and file in found.inside.optional:
            continue
        if not name:
            text = f"chronyd is configured to follow {file}, which does not exist"
            remedy = "remove the line, or load its module: chronyd before 4.9 does not start without it"
            return Finding("wrong-phc", Verdict.BAD, text, remedy)
        if not is_hosts(name):
            text = f"chronyd follows {file}, which is {name!r} and not known as a hypervisor's clock"
            remedy = "check that it is not an emulated card's; name the hypervisor's by its link, such as /dev/ptp_kvm"
            return Finding("wrong-phc", Verdict.BAD, text, remedy)
    return None


def check_kernel(found: Examination) -> Finding | None:
    """Debian's cloud kernels have no ptp_kvm, others do."""
    inside = found.inside
    if inside is None or inside.has_ptp_kvm is not False or any(is_hosts(name) for _, name in inside.ptp):
        return None
    text = f"its kernel {inside.kernel} has no ptp_kvm, so it cannot read the hypervisor's clock"
    machine = inside.kernel.partition("-cloud-")[2]
    another = f"apt-get install linux-image-{machine}, and boot that; or " if machine else ""
    return Finding("no-ptp-kvm", Verdict.GOOD, text, f"{another}clockstep watch, which needs none")


def check_clocksource(found: Examination) -> Finding | None:
    """What counts coarsely or slowly is worth knowing."""
    inside = found.inside
    if inside is None or inside.clocksource not in SLOW_CLOCKSOURCES:
        return None
    text = f"its kernel uses the clocksource {inside.clocksource}, which is slow to read, or coarse"
    return Finding("clocksource", Verdict.GOOD, text, "kvm-clock or tsc is better; check whether kvmclock is disabled")


def check_agent(found: Examination) -> Finding | None:
    """Without an agent's channel nothing outside can reach the node but ssh."""
    if found.around is None or found.around.agent_channel:
        return None
    text = "its domain has no channel for a guest agent"
    return Finding("no-agent", Verdict.GOOD, text, "clockstep setup apply --guest-agent adds it; or keep ssh working")


def check_spanning(found: Examination) -> Finding | None:
    """A bridge that takes part in the spanning tree protocol lets each new port wait before it forwards."""
    by_agent = any(reading.source == "guest agent" for reading in found.facts.readings)
    if found.around is None or not found.around.spanning or by_agent:
        return None
    networks = ", ".join(found.around.spanning)
    text = f"its network {networks} has a spanning tree: for 4 s after a revert or a start it cannot be reached there"
    remedy = "clockstep domain apply --spanning-tree shows who is on it, asks, and switches it off (stp='off')"
    return Finding("spanning-tree", Verdict.GOOD, text, remedy)


def check_commands(found: Examination) -> Finding | None:
    """RHEL's agent runs no commands by default."""
    if not found.exec_blocked:
        return None
    text = "its guest agent runs no commands: the clock can be set, but not stepped, and no daemon resynchronised"
    return Finding("exec-blocked", Verdict.UNSURE, text, EXEC_REMEDY)


def check_confined(found: Examination) -> Finding | None:
    """SELinux lets an agent run few programs, whatever the agent itself allows."""
    label = found.inside.confined if found.inside else ""
    if not found.confined and not label:
        return None
    text = found.confined or f"SELinux confines its guest agent ({label}): it may not ask or resync its time daemon"
    return Finding("confined", Verdict.UNSURE, text, CONFINED_HINT)


def check_interpreter(found: Examination) -> Finding | None:
    """What cannot make the call that adds to a clock can only have it set, late by what that takes."""
    if found.inside is None or found.inside.interpreter:
        return None
    text = (
        "it has neither perl nor python, so its clock is set instead of stepped: by the agent to within about half of "
        "the time that takes, by date over ssh to within a second if that knows no nanoseconds"
    )
    return Finding("no-interpreter", Verdict.GOOD, text, "install perl or python3 in the node")


def check_generation(found: Examination) -> Finding | None:
    """A generation id is how a kernel learns that it was put back."""
    if found.around is None or found.around.generation_id:
        return None
    text = "its domain has no generation id, so its kernel does not learn of a revert"
    return Finding(
        "no-genid",
        Verdict.GOOD,
        text,
        "clockstep domain apply adds <genid/>, which takes effect at the next cold start",
    )


def check_rtc(found: Examination) -> Finding | None:
    """An RTC that follows the guest is as wrong as the guest, and local time breaks at each change of it."""
    around, inside = found.around, found.inside
    if around and around.windows:
        return None
    if around and around.rtc_track == "guest":
        text = (
            "its RTC stops with the guest (<timer name='rtc' track='guest'>): after a pause it boots with a late clock"
        )
        return Finding("rtc", Verdict.UNSURE, text, "clockstep domain apply keeps it running")
    if around and around.rtc_offset != "utc":
        text = f"its RTC is not kept in UTC (<clock offset='{around.rtc_offset}'>)"
        return Finding("rtc", Verdict.UNSURE, text, "clockstep domain apply keeps it in UTC")
    if inside and inside.rtc_local:
        text = "its system keeps the RTC in local time (/etc/adjtime)"
        return Finding("rtc", Verdict.UNSURE, text, "timedatectl set-local-rtc 0")
    return None


def check_rtc_written(found: Examination) -> Finding | None:
    """`rtcsync` has a wrong guest overwrite its RTC every eleven minutes; then a reboot does not help either."""
    inside, offset = found.inside, measured(found.facts)
    if inside is None or inside.rtc_ahead_s is None or offset is None or inside.rtc_local:
        return None
    off_ns = abs(inside.rtc_ahead_s * SECOND_NS + offset.value_ns)
    if off_ns <= RTC_APART_NS:
        return None
    by_daemon = ", and rtcsync makes its daemon write it" if inside.rtcsync else ""
    text = f"its RTC is {show_duration(off_ns)} off{by_daemon}"
    return Finding("rtc-wrong", Verdict.BAD, text, "correct the clock, then run hwclock --systohc in the node")


def check_tai(found: Examination) -> Finding | None:
    """Programs that ask for TAI get a wrong time from a kernel that was told a wrong difference."""
    inside = found.inside
    if inside is None or inside.tai_s in {None, 0, found.host_tai_s} or not found.host_tai_s:
        return None
    text = f"its kernel takes TAI to be {inside.tai_s} s from UTC, this host's {found.host_tai_s} s"
    return Finding(
        "tai", Verdict.UNSURE, text, "check leapsectz or leapseclist in chrony.conf, and for a PHC that counts TAI"
    )


def _says(finding: Finding) -> bool:
    return finding.verdict is not Verdict.GOOD or bool(finding.remedy)


CHECKS: tuple[Check, ...] = (
    check_asked,
    check_daemon,
    check_two_daemons,
    check_may_step,
    check_one_source,
    check_falsetickers,
    check_unreachable_sources,
    check_makestep,
    check_reference,
    check_phc,
    check_kernel,
    check_clocksource,
    check_agent,
    check_spanning,
    check_commands,
    check_confined,
    check_interpreter,
    check_generation,
    check_rtc,
    check_rtc_written,
    check_tai,
)
