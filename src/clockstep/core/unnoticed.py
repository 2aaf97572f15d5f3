"""For how long a revert would go unnoticed with what a node has: its agent, a clock of its hypervisor's, or servers."""

from collections.abc import Sequence

from clockstep.model import Examination, Finding, Inside, TimeSource, Verdict
from clockstep.units import SECOND_NS, show_duration

HOST_CLOCKS = ("KVM virtual PTP", "hyperv", "ptp_vmw", "ena-ptp-", "Virtio PTP type 0/", "vmclock")
"""How names of hardware clocks in /sys/class/ptp/*/clock_name begin that are the hypervisor's (drivers/ptp, and ENA's
driver). virtio's types other than 0 count TAI or something else. A network card's follows what it likes."""
SEEN_S = 12
"""How long a chronyd that trusts the hypervisor's clock was wrong after a standstill of 600 s, simulated."""
MEASURES_ANEW_S = 200
"""After a jump of more than 10 s chronyd drops all samples, asks every 64 s, and wants three of each source (sched.c,
sources.c): 180 to 195 s were measured."""
TIMESYNCD_POLL_S = 2048.0
"""systemd-timesyncd asks that seldom, as it comes (timesyncd.conf(5), PollIntervalMaxSec)."""
CORRECT_ITSELF = "clockstep setup apply --agent has the node correct itself at once"
WATCH = "run clockstep watch"


def check_reference(found: Examination) -> Finding | None:
    """For how long a revert stays unseen with what the node has: its daemon remembers what servers said before."""
    inside = found.inside
    if inside is None:
        return None
    if signal := noticed_by_agent(inside):
        return Finding("own-agent", Verdict.GOOD, f"its own agent notices a revert at once, by {signal}")
    if not daemons_of(found):
        return None
    of_host = [file for file, name in followed(inside) if is_hosts(name)]
    if any(file in inside.trusted for file in of_host):
        text = (
            f"it trusts the hypervisor's clock ({of_host[0]}): it notices a revert within some {SEEN_S} s, and follows "
        )
        return Finding("trusted-phc", Verdict.GOOD, f"{text}a host whose clock is off")
    if of_host:
        text = f"servers outvote the hypervisor's clock ({of_host[0]}) after a revert, for 6 to 16 min"
        remedy = f"{CORRECT_ITSELF}; or clockstep setup apply --trust, or run clockstep watch"
        return Finding("outvoted-phc", Verdict.GOOD, text, remedy)
    return _unnoticed(found, inside)


def noticed_by_agent(inside: Inside) -> str:
    """Return by what the node's own agent notices a revert; nothing where none runs, or it could not act on it."""
    phc = next((file for file, name in inside.ptp if is_hosts(name)), "")
    forks = inside.forks and "chronyd" in (inside.daemons or ())
    signal = f"the hypervisor's clock ({phc})" if phc else "the kernel's log (vmgenid)" if forks else ""
    return signal if inside.agent else ""


def _unnoticed(found: Examination, inside: Inside) -> Finding:
    """Return for how long a node without a clock of its hypervisor's goes by servers it has asked before."""
    polls = [source.poll_s for source in sources_of(found) if source.mode == "^"] or [TIMESYNCD_POLL_S]
    unseen = show_duration(int(max(polls) + MEASURES_ANEW_S) * SECOND_NS)
    blind = "; its own agent has no signal of one" if inside.agent else ""
    text = f"a revert goes unnoticed for up to {unseen}: its daemon does not use the hypervisor's clock (PHC){blind}"
    there = next((file for file, name in inside.ptp if is_hosts(name)), "")
    if there and "chronyd" in daemons_of(found):
        remedy = f"{CORRECT_ITSELF}, by {there}; clockstep setup apply --trust makes chronyd follow that; or {WATCH}"
    elif inside.has_ptp_kvm and "chronyd" in daemons_of(found):
        remedy = f"{WATCH}; clockstep setup apply loads ptp_kvm, and follows /dev/ptp_kvm if it appears"
    else:
        remedy = f"{WATCH}; or clockstep setup apply --short-polls, if the servers are yours"
    return Finding("no-phc", Verdict.UNSURE, text, remedy)


def sources_of(found: Examination) -> Sequence[TimeSource]:
    """Return chronyd's sources."""
    return found.inside.sources if found.inside else ()


def daemons_of(found: Examination) -> Sequence[str]:
    """Return the time daemons that run in a node."""
    return found.inside.daemons or () if found.inside else ()


def followed(inside: Inside) -> Sequence[tuple[str, str]]:
    """Return the hardware clocks that chronyd is to follow, each with its name; none where there is no such clock."""
    names = dict(inside.ptp)
    return [(file, names.get(leads_to, "")) for file, leads_to in inside.refclocks]


def is_hosts(name: str) -> bool:
    """Whether a hardware clock of this name is the hypervisor's."""
    return name.startswith(HOST_CLOCKS)
