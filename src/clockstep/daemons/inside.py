"""What a node's system says of its own timekeeping: a shell script that only reads, and a pure parse of its answer."""

import re

from clockstep.core.foreign import bounded, understood
from clockstep.core.sections import LAST, sections
from clockstep.daemons import PROGRAMS, chrony
from clockstep.guest import program
from clockstep.model import Inside, TimeSource

OTHERS = ("vmtoolsd", "VBoxService")
"""Guest tools of VMware and VirtualBox that may set the clock as well."""
CONFIGURATIONS = (
    "/etc/chrony/chrony.conf /etc/chrony.conf /etc/chrony/conf.d/*.conf /etc/chrony.d/*.conf "
    "/etc/chrony/sources.d/*.sources"
)
AGENT_TYPE = ":virt_qemu_ga_t:"
"""In the SELinux label of what a confined guest agent runs (virt_qemu_ga_selinux(8))."""
CAP_SYS_TIME = 1 << 25
"""linux/capability.h."""

NUMBER = re.compile(r"-?[0-9]{1,12}", re.ASCII)

ASK = program(
    "survey/inside.sh",
    PROGRAMS=" ".join(PROGRAMS),
    OTHERS=" ".join(OTHERS),
    CONFIGURATIONS=CONFIGURATIONS,
    TAI=program("survey/tai.pl", CALL="'$call'"),
)


def parse(output: str) -> Inside | None:
    """Return what the answer says, None of one that is not whole; what is not in its form is left out."""
    return understood(_parsed, output)


def _parsed(output: str) -> Inside | None:
    lines = sections(output)
    if LAST not in lines:
        return None

    def said(name: str) -> str:
        return " ".join(lines.get(name, ())).strip()

    directives = [line.split() for line in lines.get("configuration", []) if _is_directive(line)]
    rtc = [int(line) for line in lines.get("rtc", []) if NUMBER.fullmatch(line.strip())]
    tai = said("tai")
    return Inside(
        daemons=tuple(name for name in PROGRAMS if name in lines["daemons"]) if "daemons" in lines else None,
        others=tuple(name for name in OTHERS if name in lines.get("others", [])),
        sources=tuple(source for line in lines.get("sources", []) if (source := _source(line))),
        makestep=next((" ".join(words[1:]) for words in reversed(directives) if words[0].lower() == "makestep"), None),
        refclocks=tuple(_pair(line) for line in lines.get("links", [])),
        optional=tuple(words[2].partition(":")[0] for words in directives if _is_of_phc(words, "optional")),
        trusted=tuple(words[2].partition(":")[0] for words in directives if _is_of_phc(words, "trust")),
        configured=bool(directives),
        nts="yes" in lines.get("nts", []),
        rtcsync=any(words[0].lower() == "rtcsync" for words in directives),
        ptp=tuple(_pair(line) for line in lines.get("ptp", [])),
        kernel=said("kernel"),
        has_ptp_kvm={"yes": True, "no": False}.get(said("ptp_kvm")),
        agent="active" in lines.get("agent", []),
        forks="yes" in lines.get("fork", []),
        clocksource=said("clocksource"),
        may_set_time=_may_set_time(lines.get("capability", [])),
        confined=said("confined") if AGENT_TYPE in said("confined") else "",
        container="yes" in lines.get("container", []),
        rtc_ahead_s=rtc[0] - rtc[1] if len(rtc) == 2 else None,
        interpreter=bool(said("interpreter")),
        rtc_local="LOCAL" in lines.get("adjtime", []),
        tai_s=bounded(int(tai)) if NUMBER.fullmatch(tai) else None,
    )


def _is_directive(line: str) -> bool:
    return bool(line.strip()) and line.lstrip()[0] not in "#!;%"


def _is_of_phc(words: list[str], option: str) -> bool:
    """Whether a directive is of a hardware clock, and has this option (chrony.conf(5))."""
    return words[0].lower() == "refclock" and words[1:2] == ["PHC"] and option in words[3:]


def _source(line: str) -> TimeSource | None:
    """Return a source from a line of `chronyc -c sources` (chronyc(1))."""
    fields = line.split(",")
    if len(fields) != chrony.SOURCE_FIELDS or len(fields[0]) != 1 or len(fields[1]) != 1:
        return None
    poll_s = 2.0 ** min(24, max(-8, int(fields[4])))  # chrony.conf(5): -7 to 24
    return TimeSource(mode=fields[0], state=fields[1], name=fields[2], reach=fields[5] != "0", poll_s=poll_s)


def _pair(line: str) -> tuple[str, str]:
    file, _, name = line.partition(" ")
    return file, name


def _may_set_time(lines: list[str]) -> bool | None:
    """Return whether any process of the daemon has CAP_SYS_TIME; None where that is not known."""
    found = [line.split()[1] for line in lines if len(line.split()) == 2]
    try:
        return any(int(value, 16) & CAP_SYS_TIME for value in found) if found else None
    except ValueError:
        return None
