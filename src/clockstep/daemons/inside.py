"""What a node's system says of its own timekeeping: a shell script that only reads, and a pure parse of its answer."""

import re

from clockstep.core.foreign import bounded, understood
from clockstep.core.sections import LAST, SAY, sections
from clockstep.daemons import PROGRAMS, RUNNING, chrony
from clockstep.model import Inside, TimeSource
from clockstep.ports import PLATFORM_PYTHON

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

ASK = f"""PATH=$PATH:/usr/sbin:/sbin
{SAY}
{RUNNING}
command -v pidof >/dev/null && say daemons && running {" ".join(PROGRAMS)}
say others; running {" ".join(OTHERS)}
say capability; for name in {" ".join(PROGRAMS)}; do for pid in $(own_pids $name); do
grep '^CapEff:' /proc/$pid/status; done; done 2>/dev/null
say container; [ -e /run/.containerenv ] || [ -e /.dockerenv ] || systemd-detect-virt --container --quiet && echo yes
say confined; [ "$(cat /sys/fs/selinux/enforce)" = 1 ] && cat /proc/self/attr/current
say clocksource; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
say kernel; uname -r
say ptp_kvm; cd /lib/modules/$(uname -r) && {{ grep -q ptp_kvm modules.dep modules.builtin && echo yes || echo no; }}
say ptp; for clock in /sys/class/ptp/*; do [ -e $clock ] && echo "/dev/${{clock##*/}} $(cat $clock/clock_name)"; done
say configuration
file=$(chronyd_file)
configuration=$(chronyd -p ${{file:+-f "$file"}} || for file in $file {CONFIGURATIONS}; do
[ -f "$file" ] && cat "$file" && echo; done)
echo "$configuration"
say nts; {{ echo "$configuration"; cat /etc/chrony/sources.d/*.sources; }} |
grep -iqE '^(server|pool) .*[[:space:]]nts([[:space:]]|$)' && echo yes
say links; echo "$configuration" | while read -r word kind file rest; do
case $word$kind in refclockPHC) file=${{file%%:*}}; echo "$file $(readlink -f "$file")";; esac; done
say sources; timeout 2 chronyc -n -c sources
say rtc; cat /sys/class/rtc/rtc0/since_epoch && date +%s
say adjtime; cat /etc/adjtime
say interpreter; for tool in perl python3 {PLATFORM_PYTHON}; do command -v $tool && break; done
say tai; case $(uname -m) in x86_64) call=159;; aarch64) call=171;; *) call=;; esac
[ -n "$call" ] && perl -e 'my $now = "\\0" x 208; print unpack("x160 l", $now) if syscall('$call', $now) >= 0'
say {LAST}
"""
"""`chronyd -p` prints the configuration with all that it includes, in the order that counts (chronyd(8)). `tai` is in
struct timex at byte 160 (linux/timex.h); the kernel has it from chronyd, or from a table of leap seconds.
"""


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
