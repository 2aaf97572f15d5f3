"""Whether any parser of foreign input can be brought to raise, to return what does not fit, or to print what it should
not: hypothesis takes true answers apart and puts them together anew, with what breaks parsers in between.

    bench/fuzz.py [--seconds S] [--seed N]

Each parser has its share of the time. What it raises may only be an error of clockstep's own; what it returns must be
encoded as JSON, with no number beyond 64 bits; what would be printed of it must be visible.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from clockstep import config
from clockstep.core.foreign import MOST
from clockstep.daemons import ask_all, inside, parse_all, setup
from clockstep.errors import ClockstepError, ReachError, visible
from clockstep.host.reference import HostReference
from clockstep.machines.libvirt import bridges, fitness, hardware
from clockstep.machines.libvirt.marks import as_running, parse_snapshot
from clockstep.model import (
    Cause,
    Entry,
    Episode,
    Facts,
    Finding,
    History,
    Offset,
    Pause,
    Reading,
    Resync,
    Step,
    Trouble,
    Verdict,
)
from clockstep.ports import Output
from clockstep.reach import injection
from clockstep.reach.agent import AgentReach
from clockstep.reach.ssh import ANSWER, same_machine
from clockstep.render.output import json_line
from clockstep.render.text import episode_line, history_page
from clockstep.state.cordons import FileCordons
from clockstep.vagrant.logins import parse_ssh_config
from clockstep.wire import decoded, encoded
from clockstep.workloads import certificates, survey
from harness import Results

BATCH = 200
TRACKING = "7F000001,10.0.2.2,2,1800000000.0,-0.000001,0.0,0.0,-0.149,0.000,11.280,0.0000089,0.0000482,2.0,Normal\n"
SOURCE = "^,*,10.0.2.2,1,6,17,3,0.000000919,0.000001851,0.000004506\n"
TIMESYNC = (
    "PollIntervalUSec=32s\nServerName=10.0.2.2\nNTPMessage={ Leap=0, Version=4, Stratum=1, Precision=-24, "
    "RootDelay=1ms, RootDispersion=2ms, Reference=X, Ignored=no, PacketCount=1, Jitter=0 }\n"
)
DOMAIN = (
    "<domain><name>x</name><uuid>y</uuid><metadata><libosinfo:libosinfo "
    "xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'><libosinfo:os id='http://microsoft.com/win/11'/>"
    "</libosinfo:libosinfo></metadata><os firmware='efi'><loader type='pflash' stateless='no'>/a</loader>"
    "<nvram format='raw'>/b</nvram></os><genid/><clock offset='variable' basis='utc'><timer name='rtc' track='guest'/>"
    "</clock><devices><disk device='disk'><driver type='qcow2'/><source file='/d'/><target dev='vda'/></disk>"
    "<interface type='network'><source network='default'/></interface><hostdev type='pci'/><channel type='unix'>"
    "<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>"
)
SNAPSHOT = (
    "<domainsnapshot><name>base</name><state>paused</state><creationTime>1800000000</creationTime><description>"
    'clockstep: {"set": "a", "members": ["x"], "created_ns": 1800000000000000000, "frozen": ["kubepods.slice"], '
    '"certificates": [{"path": "/a", "subject": "b", "not_before_ns": 1, "not_after_ns": 2}]}'
    "</description><memory snapshot='internal'/><disks><disk name='vda' snapshot='external'/></disks></domainsnapshot>"
)
INSIDE = "".join(
    f"#clockstep {name}\n{said}\n"
    for name, said in (
        ("daemons", "chronyd"),
        ("capability", "CapEff:\t0000000002000400"),
        ("ptp", "/dev/ptp1 KVM virtual PTP"),
        ("configuration", "makestep 1 -1\nrefclock PHC /dev/ptp_kvm:nocrossts poll 2 optional"),
        ("links", "/dev/ptp_kvm /dev/ptp1"),
        ("sources", SOURCE),
        ("rtc", "1800000005\n1800000000"),
        ("confined", "a:b:virt_qemu_ga_t:s0"),
        ("tai", "37"),
        ("end", ""),
    )
)
WORKLOADS = (
    "#clockstep unified\nyes\n#clockstep cgroups\nkubepods.slice\n#clockstep static\n3\n#clockstep kubelet\n9\n"
    '#clockstep crictl\n{"items": [{"metadata": {"namespace": "a", "name": "b", "uid": "c-d"}, "annotations": {}}]}\n'
    "#clockstep end\n"
)
CERTIFICATE = (
    "#clockstep file /etc/kubernetes/pki/a.crt\n-----BEGIN CERTIFICATE-----\n"
    "MIHvMIGioAMCAQICFCC16wr5vB/wlAN754gKNQ81JxGWMAUGAytlcDAYMRYwFAYDVQQDDA1zeXN0ZW06bm9kZTphMB4XDTIzMTEx"
    "NDIyMTMyMFoXDTI3MDExNTA4MDAwMFowGDEWMBQGA1UEAwwNc3lzdGVtOm5vZGU6YTAqMAUGAytlcAMhAIthkgNJcXUhk5Y4Hfna"
    "K6O1lkS6EjdyNbPK77oRf38oMAUGAytlcANBAM/MUe3g/EdyL9qoN9R6bicRydMwLBM1TGwKeHW4RqjUNyXZVUA3t0V05UYCtqi8"
    "/EBEMRcq4cbikY+PhQ/AOwY="
    "\n-----END CERTIFICATE-----\n#clockstep unreadable /a\n#clockstep end\n"
)
PLAN = (
    "#clockstep system\ndebian 13\n#clockstep manager\napt-get\n#clockstep chrony\n4.6\n#clockstep clock\n"
    "/dev/ptp0 KVM\n#clockstep before /etc/a\n|x\n"
    "#clockstep after /etc/a\n|y\n#clockstep silent\na does not answer\n#clockstep end\n"
)
CONFIG = '[cluster.a]\nnodes = ["n*"]\nconnect = "qemu:///system"\ntolerance = "10ms"\ndeadline = "1h 30min"\n'
PAUSE = msgspec.json.encode(Pause("uuid", "n", "pause", 1, 2)).decode()
STARTED, ENDED = (
    '{"return": {"pid": 7}}',
    '{"return": {"exited": true, "exitcode": 0, "out-data": "aGk=", "err-data": ""}}',
)
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
SPECIAL = (
    *("inf", "-inf", "nan", "sNaN", "1e9999", "-1e999999999", "1e-9999", "9" * 5000, "-0", "٣", "0x1p4", "1_0", "null"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775809", "1e5000", "true"),
    *(
        "\x1b]0;x\x07",
        "\x1b[2J",
        "\u202e",
        "\u2066",
        "\u2028",
        "\x85",
        "\x00",
        "\r",
        "\n",
        "\n#clockstep end\n",
        "\ufffd",
    ),
    *(
        "[" * 5000,
        "{" * 5000,
        "<a>" * 2000,
        "&lol;",
        "<![CDATA[",
        "]]>",
        "..",
        "%n",
        "%%",
        "$(x)",
        "`x`",
        "'",
        '"',
        "\\",
    ),
)
PIECES = re.compile(r"\w+|\s+|.", re.DOTALL)


@dataclass(frozen=True)
class Parser:
    """Something that reads what is not ours, and true answers to begin with."""

    name: str
    read: Callable[[str], object]
    seeds: tuple[str, ...]


class Clock:
    """A clock on which time passes only by being asked."""

    now = 1_800_000_000_000_000_000

    def monotonic_ns(self) -> int:
        """Return a time a microsecond later than the last."""
        self.now += 1000
        return self.now

    boottime_ns = monotonic_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Let it pass."""
        self.now += duration_ns


class Said:
    """A guest agent's channel that answers what it is given."""

    def __init__(self, said: str) -> None:
        self._said = said

    def time(self) -> tuple[int, int]:
        """Tell no time."""
        raise ReachError("not asked")

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        """Set nothing."""

    def command(self, request: bytes, _timeout_ns: int) -> bytes:
        """Answer the first half to what starts a program, and the rest to how it stands."""
        first, _, rest = self._said.partition("\x1e")
        return (first if b'"guest-exec"' in request else rest or first).encode(errors="surrogatepass")


def _agent(text: str) -> Output:
    return AgentReach(Said(text), Clock(), HostReference()).run(["/bin/true"], b"", Clock.now + 10**9)


def _note(text: str) -> object:
    return decoded(text.encode(errors="replace"), Pause)


def _printed(text: str) -> str:
    """Return what an Episode that is full of a text comes to, as a line and as JSON."""
    facts = Facts((Reading(text, next(OFFSETS), 0, 0),), trouble=(Trouble(text, text),))
    finding = Finding("offset", Verdict.BAD, text, text)
    episode = Episode(text, Cause(text), Verdict.BAD, None, (), None, facts, (finding,), 0, 0)
    json.loads(json_line(episode))
    return visible(episode_line(episode))


def _offsets() -> Iterator[Any]:
    from clockstep.model import Offset

    while True:
        yield Offset(-1, 1)


OFFSETS = _offsets()
ENTRY = encoded(
    Entry(
        "watch",
        Episode(
            "node-1",
            Cause("reverted", 5, 6),
            Verdict.GOOD,
            Offset(-5, 1),
            (Step(5), Resync("chrony")),
            None,
            Facts((Reading("ssh", Offset(0, 1), 5, 6),), None, (Trouble("late"),)),
            (Finding("offset", Verdict.BAD, "far off"),),
            1_800_000_000_000_000_000,
            5,
        ),
    )
).decode()


def _entry(text: str) -> object:
    """A line of the history as it is shown, of what is read of it."""
    entry = decoded(text, Entry)
    history = History((entry,) if entry else ())
    return history_page(history).rows and history


PARSERS = (
    Parser(
        "daemons", parse_all, (f"#clockstep chrony\n{TRACKING}{SOURCE}", f"#clockstep systemd-timesyncd\n{TIMESYNC}")
    ),
    Parser("inside", inside.parse, (INSIDE,)),
    Parser("setup's plan", setup.parse, (PLAN,)),
    Parser("setup's status", setup.read_status, ("working\nactive\nwriting\n", "done\ninactive\n")),
    Parser("workloads", survey.parse, (WORKLOADS,)),
    Parser("a cordon's mark", FileCordons(Path("/nonexistent")).is_over, ("host 123/456 2027-01-15, snapshot base",)),
    Parser("certificates", certificates.read, (CERTIFICATE,)),
    Parser(
        "a step's fate", lambda text: injection.added(Output(0, text, text), ""), ("done -1 5\n", "begun", "closed")
    ),
    Parser("guest agent", _agent, (f"{STARTED}\x1e{ENDED}", '{"error": {"class": "X"}}')),
    Parser("clock by ssh", lambda text: ANSWER.fullmatch(text) and text, ("1800000000 000000001", "1800000000 %N")),
    Parser("firmware's UUID", lambda text: same_machine(UUID, text), (UUID,)),
    Parser("domain", lambda xml: hardware.parse(xml, None), (DOMAIN,)),
    Parser("domain's lacks", lambda xml: (hardware.improved(xml), hardware.clock_lacks(xml)), (DOMAIN,)),
    Parser("fitness", lambda xml: (fitness.against_snapshot(xml, 10_010_000), fitness.disk_files(xml)), (DOMAIN,)),
    Parser("revert's fitness", lambda xml: fitness.against_revert(DOMAIN, xml, 9_000_000), (SNAPSHOT,)),
    Parser("networks", lambda xml: (bridges.networks_of(xml), bridges.on_bridge(xml, "a", "b")), (DOMAIN,)),
    Parser("snapshot", parse_snapshot, (SNAPSHOT,)),
    Parser("snapshot redefined", as_running, (SNAPSHOT,)),
    Parser("ssh_config", parse_ssh_config, ("Host k8s1\n  HostName 10.0.0.1\n  Port 22\n  IdentityFile /k%d/x\n",)),
    Parser("clockstep.toml", lambda text: len(config.parse(text, "clockstep.toml")), (CONFIG,)),
    Parser("a pause's note", _note, (PAUSE,)),
    Parser("a line of the history", _entry, (ENTRY,)),
    Parser("when clocks were seen", lambda text: decoded(text, dict[str, int]), ('{"u1": 1800000000000000000}',)),
    Parser("what is printed", _printed, ("node-1", "Permission denied\n")),
)
BY_LIBVIRT = {"domain", "domain's lacks", "fitness", "revert's fitness", "networks", "snapshot redefined"}
"""Of what libvirt has written itself: it is well-formed, so what is not is only to be refused in one way."""


def fault(parser: Parser, text: str) -> str:
    """Return what is wrong with what a parser makes of a text; nothing where nothing is."""
    from xml.etree import ElementTree

    try:
        found = parser.read(text)
    except ClockstepError as error:
        return "" if visible(error.message) == error.message else f"an error that is not visible: {error.message!r}"
    except ElementTree.ParseError as error:
        return "" if parser.name in BY_LIBVIRT else repr(error)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return repr(error)
    try:
        encoded = msgspec.json.encode(found)
    except Exception as error:  # noqa: BLE001
        return f"not to be encoded: {error!r}"
    most = max((abs(number) for number in _integers(msgspec.json.decode(encoded))), default=0)
    if most > MOST:
        return f"a number beyond 64 bits: {most}"
    shown = found if parser.name == "what is printed" else ""
    return "" if str(shown).isprintable() else f"printed: {shown!r}"


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _integers(below)
    elif isinstance(value, list):
        for below in value:
            yield from _integers(below)


def mutated(seeds: tuple[str, ...]) -> "st.SearchStrategy[str]":
    """Texts that are like these: pieces of them left out, doubled, exchanged, and replaced by what breaks parsers."""
    pieces = [PIECES.findall(one) for one in seeds]
    foreign = st.sampled_from(SPECIAL) | st.integers().map(str) | st.floats().map(str) | st.text(max_size=8)

    @st.composite
    def text(draw: "st.DrawFn") -> str:
        made = list(draw(st.sampled_from(pieces)))
        for _ in range(draw(st.integers(0, 6))):
            place = draw(st.integers(0, max(0, len(made) - 1)))
            match draw(st.integers(0, 4)):
                case 0:
                    made[place : place + 1] = [draw(foreign)]
                case 1:
                    made.insert(place, draw(foreign))
                case 2:
                    del made[place : place + draw(st.integers(1, 20))]
                case 3:
                    made[place:place] = made[place : place + 20] * draw(st.integers(1, 3))
                case _:
                    made = made[place:] + made[:place]
        return "".join(made)

    return text() | st.text(max_size=60)


def fuzz(parser: Parser, seconds: float, number: int) -> tuple[int, list[tuple[str, str]]]:
    """Return how many inputs a parser was given in that time, and those that were a fault, each with what it was."""
    faults: list[tuple[str, str]] = []
    count, until = 0, time.monotonic() + seconds

    def one(text: str) -> None:
        nonlocal count
        count += 1
        if time.monotonic() < until and (wrong := fault(parser, text)):
            faults.append((text, wrong))

    quiet = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    while time.monotonic() < until and not faults:
        number += 1
        seed(number)(quiet(given(mutated(parser.seeds))(one)))()
    return count, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long all of it may take")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="where to begin")
    options = parser.parse_args()
    assert ask_all()
    results, inputs, wrong = Results("fuzz"), 0, 0
    results.head()
    for one in PARSERS:
        count, faults = fuzz(one, options.seconds / len(PARSERS), options.seed)
        inputs, wrong = inputs + count, wrong + len(faults)
        results.add(one.name, "inputs", [count], "")
        for text, said in faults[:3]:
            print(f"  {said}\n  by {text[:400]!r}", flush=True)
    results.add("all", "inputs", [inputs], "")
    results.goal("faults", wrong, 0)
    results.write(whole=options.seconds >= 600)


if __name__ == "__main__":
    main()
