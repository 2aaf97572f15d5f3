"""Machines, a hypervisor and a host's clocks that exist only as numbers: they refuse what the real ones refuse.

Time passes only where something takes time, so a test of half a minute takes none.
"""

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4, uuid5

from clockstep.core.anchoring import anchored, moved_between
from clockstep.daemons import ask_all, chrony
from clockstep.errors import ExecBlockedError, HypervisorError, NoProgramError, NotRunningError, ReachError
from clockstep.model import Around, Bridge, Channel, Guest, Happening, HostClock, Offset, Snapshot
from clockstep.ports import Instant, Listed
from clockstep.reach import guard
from clockstep.reach.agent import AgentReach
from clockstep.reach.injection import CHOICE, MEMORY, PERL
from clockstep.workloads.certificates import READ

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
NOW_S = 1_800_000_000
TRACKING = "7F000001,10.0.2.2,2,{now},0.0,0.0,0.0,-0.149,0.000,11.280,0.000008908,0.000048285,2.0,Normal\n"
SELECTED = "^,*,10.0.2.2,1,6,17,3,0.000000919,0.000001851,0.000004506\n"
UNSYNCHRONISED = "00000000,,0,0.0,0.0,0.0,0.0,-0.149,0.000,0.000,1.000000000,1.000000000,2.0,Not synchronised\n"
UNREACHED = "^,?,10.0.2.2,0,6,{reach},4294967295,0.000000000,0.000000000,0.000000000\n"


class SimClock:
    """The host's clocks, which nodes are compared with."""

    name = "host"

    def __init__(self) -> None:
        self.real = NOW_S * SECOND
        self.mono = 5000 * SECOND
        self.slept = 0
        self._lock = threading.RLock()

    def realtime_ns(self) -> int:
        self.sleep_ns(1000)
        return self.real

    def monotonic_ns(self) -> int:
        self.sleep_ns(1000)
        return self.mono

    def now(self) -> Instant:
        return Instant(self.realtime_ns())

    def anchor(self) -> Offset:
        return anchored(self.monotonic_ns(), self.realtime_ns(), self.monotonic_ns())

    def moved_since(self, anchor: Offset) -> int:
        return moved_between(anchor, self.anchor())

    def quality(self) -> HostClock:
        return HostClock(synchronised=True, max_error_ns=1000)

    def boottime_ns(self) -> int:
        return self.monotonic_ns() + self.slept

    def sleep_ns(self, duration_ns: int) -> None:
        assert duration_ns >= 0
        with self._lock:
            self.real += duration_ns
            self.mono += duration_ns

    def set_by(self, by_ns: int) -> None:
        """Somebody steps the host's own wall clock."""
        self.real += by_ns


@dataclass
class SimGuest:
    """A guest with a clock, a qemu-ga and perhaps a chronyd; it is a `Channel`."""

    clock: SimClock
    offset_ns: int = 0
    latency_ns: int = 400_000
    exec_latency_ns: int = 200 * MILLISECOND
    exec_allowed: bool = True
    has_tools: bool = True
    root: bool = True
    chrony: bool = True
    silent: str = ""
    deaf: bool = False
    stuck: str = ""
    network: bool = True
    heard: bool = True
    tracking: str = ""
    deaf_resyncs: int = 0
    running: bool = True
    slew: int = 0
    synchronised_at: int | None = 0
    guarded: bool = False
    guard_latency_ns: int = 20 * MILLISECOND
    certificates: str = ""
    commands: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    memory: dict[str, str] = field(default_factory=dict)
    _ended: dict[int, tuple[int, str, str]] = field(default_factory=dict)

    def reach(self) -> AgentReach:
        return AgentReach(self, self.clock, self.clock)

    def pass_ns(self, duration_ns: int) -> None:
        self.clock.sleep_ns(duration_ns)
        self.offset_ns += duration_ns * self.slew // 10_000
        if self.chrony and self.synchronised_at is not None and self.clock.mono >= self.synchronised_at > 0:
            most = duration_ns * 833 // 10_000
            self.offset_ns -= max(-most, min(self.offset_ns, most))

    def time(self) -> tuple[int, int]:
        self._require_running()
        self.pass_ns(self.latency_ns // 2)
        now = (self.clock.real + self.offset_ns) // 1000 * 1000
        self.pass_ns(self.latency_ns // 2)
        return divmod(now, SECOND)

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        self._require_running()
        assert 0 <= nanoseconds < SECOND
        self.pass_ns(60 * MILLISECOND)
        self.offset_ns = seconds * SECOND + nanoseconds - self.clock.real
        self.synchronised_at = None

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        self._require_running()
        assert timeout_ns > 0
        self.pass_ns(MILLISECOND)
        asked = json.loads(request)
        match asked:
            case {"execute": "guest-exec", "arguments": {"path": path, "arg": arg, "capture-output": True}}:
                if not self.exec_allowed:
                    raise ExecBlockedError("Command guest-exec has been disabled", "allow guest-exec")
                pid = 100 + len(self.commands)
                self._ended[pid] = self._execute([path, *arg])
                return json.dumps({"return": {"pid": pid}}).encode()
            case {"execute": "guest-file-open", "arguments": {"path": guard.FIFO, "mode": "r+"}} if self.guarded:
                return b'{"return": 1000}'
            case {"execute": "guest-file-write", "arguments": {"handle": 1000, "buf-b64": content}}:
                self._hear(base64.b64decode(content).decode())
                return b'{"return": {"count": 1, "eof": false}}'
            case {"execute": "guest-file-close", "arguments": {"handle": 1000}}:
                return b'{"return": {}}'
            case {"execute": "guest-exec-status", "arguments": {"pid": pid}}:
                if pid not in self._ended:
                    raise ReachError(f"PID {pid} does not exist")
                return json.dumps({"return": self._status(pid)}).encode()
        raise ReachError(f"The command {asked.get('execute')} has not been found")

    def _hear(self, line: str) -> None:
        """What the guard does with a line."""
        self.clock.sleep_ns(self.guard_latency_ns)
        self._step(line.split())

    def _require_running(self) -> None:
        if self.deaf:
            raise ReachError("Guest agent is not responding")
        if not self.running:
            raise NotRunningError("domain is not running")

    def _status(self, pid: int) -> dict[str, object]:
        code, out, err = self._ended.pop(pid)
        data = {
            "out-data": base64.b64encode(out.encode()).decode(),
            "err-data": base64.b64encode(err.encode()).decode(),
        }
        return {"exited": True, "exitcode": code, **{name: text for name, text in data.items() if text}}

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[0] == "perl" and not self.has_tools:
            raise NoProgramError("Failed to execute child process “perl”")
        assert argv[0] == "perl" or argv[:2] == ["/bin/sh", "-c"], "only the shell is sure to be there"
        self.pass_ns(self.exec_latency_ns)
        asks_for_fate = argv[-2] == MEMORY
        self.commands.append("fate" if asks_for_fate else argv[2])
        if argv[2] in {PERL, CHOICE}:
            return self._step(argv[argv.index(MEMORY) :]) if self.has_tools else (69, "", "")
        if argv[2] == guard.START:
            self.guarded = self.has_tools and self.root
            return 0 if self.guarded else 69, "", ""
        if argv[2] == ask_all():
            return self._ask()
        if argv[2] == chrony.RESYNC:
            heard = self.network and self.deaf_resyncs == 0
            self.heard = self.network
            self.deaf_resyncs = max(0, self.deaf_resyncs - 1)
            self.synchronised_at = self.clock.mono + 4600 * MILLISECOND if heard else None
            return 0, "200 OK\n200 OK\n", ""
        if argv[2] == chrony.WAIT:
            in_sync_in = (self.synchronised_at or self.clock.mono + 10 * SECOND) - self.clock.mono
            self.pass_ns(min(max(0, in_sync_in), 2 * SECOND))
            return 0 if in_sync_in <= 2 * SECOND else 124, "", ""
        found = f"{self.certificates}\n#clockstep end\n"
        return (0, found, "") if argv[2] == READ else (127, "", "not found")

    def _step(self, words: list[str]) -> tuple[int, str, str]:
        """What the scripts do: under a token once, and adjtimex(2) with the checks of timekeeping_validate_timex."""
        _, token, *numbers = words
        if fate := self.memory.get(token):
            return 76, f"{fate}\n", ""
        if not numbers:
            self.memory[token] = "closed"
            return 76, "closed\n", ""
        seconds, nanoseconds, at_s, at_ns, window = map(int, numbers)
        elapsed = self.clock.real + self.offset_ns - at_s * SECOND - at_ns
        later = any(other > token for other, fate in self.memory.items() if fate != "closed")
        if later or abs(elapsed) > window:
            return 75, "", ""
        if not self.root or not 0 <= nanoseconds < SECOND:
            return 77, "", "adjtimex: Operation not permitted"
        by_ns = seconds * SECOND + nanoseconds
        if abs(self.slew) > 10:
            by_ns -= elapsed * self.slew // (10_000 + self.slew)
            self.slew = 0
        self.offset_ns += by_ns
        self.steps.append(by_ns)
        self.synchronised_at = None
        self.memory[token] = "done {} {}".format(*divmod(by_ns, SECOND))
        return 0, f"{self.memory[token]}\n", ""

    def _ask(self) -> tuple[int, str, str]:
        if not self.chrony:
            return 1, f"#clockstep chrony\n#clockstep silent\n{self.silent}", ""
        if self.tracking:
            return 0, f"#clockstep chrony\n{self.tracking}{SELECTED}", ""
        if self.synchronised_at is not None and self.clock.mono >= self.synchronised_at:
            return 0, "#clockstep chrony\n" + TRACKING.format(now=self.clock.real / SECOND) + SELECTED, ""
        reach = "377" if self.heard else "0"
        return 0, "#clockstep chrony\n" + UNSYNCHRONISED + UNREACHED.format(reach=reach), ""


class SimHypervisor:
    """Guests that can be paused, snapshot and reverted; `broken` are the operations that fail, by guest."""

    def __init__(self, clock: SimClock, names: list[str]) -> None:
        self.clock = clock
        self.id = uuid4()
        self.channels: set[str] = set()
        self.spanning = True
        self.machines = {name: SimGuest(clock) for name in names}
        self.identities: dict[str, str] = {}
        self.taken: dict[str, dict[str, tuple[Snapshot, int]]] = {name: {} for name in names}
        self.broken: set[tuple[str, str]] = set()
        self.calls: list[tuple[str, str]] = []
        self.unfit: dict[str, list[str]] = {}
        self.silent = False
        self.defined = {name: f"<domain><name>{name}</name><devices/></domain>" for name in names}
        self._stopped_at: dict[str, int] = {}

    def guests(self) -> list[Guest]:
        return [
            Guest(
                name,
                self.identities.get(name) or str(uuid5(self.id, name)),
                "running" if machine.running else "paused",
                stuck=machine.stuck,
            )
            for name, machine in sorted(self.machines.items())
        ]

    def survey(self, within_ns: int) -> list[Listed]:
        error = HypervisorError("libvirt does not answer") if self.silent else None
        return [Listed("", () if error else self.guests(), error)]

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        if ("snapshots", guest.name) in self.broken:
            raise HypervisorError("internal error: listing failed")
        return [snapshot for snapshot, _ in self.taken[guest.name].values()]

    def state(self, guest: Guest) -> str:
        return {one.uuid: one.state for one in self.guests()}.get(guest.uuid, "gone")

    def current(self, guest: Guest) -> Snapshot | None:
        return max(self.snapshots(guest), key=lambda snapshot: snapshot.created_ns, default=None)

    def add_channel(self, guest: Guest) -> Channel:
        added = guest.name not in self.channels
        self.channels.add(guest.name)
        return Channel(defined=added, plugged=added)

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        if added.defined:
            self.channels.discard(guest.name)

    def bridges(self, guest: Guest) -> list[Bridge]:
        return [Bridge("default", str(self.id), "virbr0", self.spanning, tuple(self.machines))]

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        self.spanning = spanning
        return ""

    def around(self, guest: Guest) -> Around:
        current = self.current(guest)
        return Around(agent_channel=True, generation_id=True, snapshot_ns=current.created_ns if current else None)

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        return self.defined[guest.name]

    def define(self, guest: Guest, definition: str) -> None:
        self._begin("define", guest)
        if f"<name>{guest.name}</name>" not in definition:
            raise HypervisorError("domain is already defined with another name")
        self.defined[guest.name] = definition

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        return self.unfit.get(guest.name, [])

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        self._begin("snapshot", guest)
        there = self.taken[guest.name].get(snapshot.name)
        if there and there[0].is_same(snapshot):
            return
        if there:
            raise HypervisorError(f"domain snapshot {snapshot.name} already exists")
        machine = self.machines[guest.name]
        now = self.clock.real + machine.offset_ns if machine.running else self._stopped_at[guest.name]
        self.clock.sleep_ns(200 * MILLISECOND)
        self.taken[guest.name][snapshot.name] = (snapshot, now)

    def forget(self, guest: Guest, name: str) -> None:
        self._begin("forget", guest)
        if self.taken[guest.name].pop(name, None) is None:
            raise HypervisorError(f"no domain snapshot with matching name {name!r}")

    def revert(self, guest: Guest, name: str) -> None:
        self._begin("revert", guest)
        if name not in self.taken[guest.name]:
            raise HypervisorError(f"no domain snapshot with matching name {name!r}")
        self.clock.sleep_ns(2 * SECOND)
        self.machines[guest.name].running = False
        self._stopped_at[guest.name] = self.taken[guest.name][name][1]

    def pause(self, guest: Guest) -> None:
        self._begin("pause", guest)
        machine = self.machines[guest.name]
        if not machine.running:
            raise HypervisorError("domain is not running")
        self._stopped_at[guest.name] = self.clock.real + machine.offset_ns
        machine.running = False

    def resume(self, guest: Guest) -> None:
        self._begin("resume", guest)
        machine = self.machines[guest.name]
        if machine.running:
            return
        machine.offset_ns = self._stopped_at[guest.name] - self.clock.real
        machine.running = True

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        self.tell = tell

    def reach(self, guest: Guest) -> AgentReach:
        return self.machines[guest.name].reach()

    def _begin(self, operation: str, guest: Guest) -> None:
        self.calls.append((operation, guest.name))
        self.clock.sleep_ns(MILLISECOND)
        if (operation, guest.name) in self.broken:
            raise HypervisorError(f"internal error: {operation} failed")
