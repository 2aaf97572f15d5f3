"""What a node's system says of its own timekeeping: a shell script that only reads, and a pure parse of its answer."""

from collections.abc import Mapping

from clockstep.model import Inside, TimeSource

MARK = "#clockstep "
PROGRAMS = ("chronyd", "systemd-timesyncd", "ntpd")
OTHERS = ("vmtoolsd", "VBoxService")
"""Guest tools of VMware and VirtualBox that may set the clock as well."""
CONFIGURATIONS = (
    "/etc/chrony/chrony.conf /etc/chrony.conf /etc/chrony/conf.d/*.conf /etc/chrony.d/*.conf "
    "/etc/chrony/sources.d/*.sources"
)
CAP_SYS_TIME = 1 << 25
"""linux/capability.h."""
SOURCE_FIELDS = 10

ASK = f"""say() {{ echo '{MARK}'"$1"; }}
say daemons; for name in {" ".join(PROGRAMS)}; do pidof $name >/dev/null && echo $name; done
say others; for name in {" ".join(OTHERS)}; do pidof $name >/dev/null && echo $name; done
say capability; for pid in $(pidof {" ".join(PROGRAMS)}); do grep '^CapEff:' /proc/$pid/status; done 2>/dev/null
say container; [ -e /run/.containerenv ] || [ -e /.dockerenv ] || systemd-detect-virt --container --quiet && echo yes
say clocksource; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
say kernel; uname -r
say ptp_kvm; cd /lib/modules/$(uname -r) && {{ grep -q ptp_kvm modules.dep modules.builtin && echo yes || echo no; }}
say ptp; for clock in /sys/class/ptp/*; do [ -e $clock ] && echo "/dev/${{clock##*/}} $(cat $clock/clock_name)"; done
say links; for link in /dev/ptp_*; do [ -e $link ] && echo "$link $(readlink -f $link)"; done
say configuration; cat {CONFIGURATIONS}
say sources; timeout 2 chronyc -n -c sources
say rtc; cat /sys/class/rtc/rtc0/since_epoch && date +%s
say adjtime; cat /etc/adjtime
say tai; case $(uname -m) in x86_64) call=159;; aarch64) call=171;; *) call=;; esac
[ -n "$call" ] && perl -e 'my $now = "\\0" x 208; print unpack("x160 l", $now) if syscall('$call', $now) >= 0'
"""
"""`tai` is in struct timex at byte 160 (linux/timex.h); the kernel's number is what chronyd or a leap second table told
it."""


def parse(output: str) -> Inside:
    """Return what the answer says; what is missing in it or not in its form is left out."""
    said = {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in output.split(MARK)[1:]}
    lines = {name: text.split("\n") for name, text in said.items()}
    directives = [line.split() for line in lines.get("configuration", []) if _is_directive(line)]
    rtc = [int(line) for line in lines.get("rtc", []) if line.strip().isdecimal()]
    tai = said.get("tai", "").strip()
    return Inside(
        daemons=tuple(name for name in PROGRAMS if name in lines.get("daemons", [])),
        others=tuple(name for name in OTHERS if name in lines.get("others", [])),
        sources=tuple(source for line in lines.get("sources", []) if (source := _source(line))),
        makestep=next((" ".join(words[1:]) for words in reversed(directives) if words[0] == "makestep"), None),
        refclocks=tuple(words[2] for words in directives if words[:2] == ["refclock", "PHC"] and len(words) > 2),
        rtcsync=any(words[0] == "rtcsync" for words in directives),
        ptp=_clocks(lines),
        kernel=said.get("kernel", "").strip(),
        has_ptp_kvm={"yes": True, "no": False}.get(said.get("ptp_kvm", "").strip()),
        clocksource=said.get("clocksource", "").strip(),
        may_set_time=_may_set_time(lines.get("capability", [])),
        container="yes" in lines.get("container", []),
        rtc_ahead_s=rtc[0] - rtc[1] if len(rtc) == 2 else None,
        rtc_local="LOCAL" in lines.get("adjtime", []),
        tai_s=int(tai) if tai.removeprefix("-").isdecimal() else None,
    )


def _is_directive(line: str) -> bool:
    return bool(line.strip()) and line.lstrip()[0] not in "#!;%"


def _source(line: str) -> TimeSource | None:
    """Return a source from a line of `chronyc -c sources` (chronyc(1))."""
    fields = line.split(",")
    if len(fields) != SOURCE_FIELDS or len(fields[0]) != 1 or len(fields[1]) != 1:
        return None
    return TimeSource(mode=fields[0], state=fields[1], name=fields[2], reach=fields[5] != "0")


def _clocks(lines: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Return the hardware clocks by their files, stable links included, with what each is."""
    clocks = dict(_pair(line) for line in lines.get("ptp", []) if line)
    links = dict(_pair(line) for line in lines.get("links", []) if line)
    return (*clocks.items(), *((link, clocks[file]) for link, file in links.items() if file in clocks))


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
