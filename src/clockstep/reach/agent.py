"""The QEMU guest agent as a way to a node: it needs no network and no login in the guest.

Whatever carries its commands is a `Channel`; nothing that comes out of one is believed before it was checked, since
the guest may be broken or hostile.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Annotated, Generic, Protocol, TypeVar

import msgspec

from clockstep.errors import DeadlineError, ExecBlockedError, NoProgramError, ReachError
from clockstep.model import Reading
from clockstep.ports import NO_PROGRAM, Clock, Output, Reference
from clockstep.reach.absolute import AbsoluteSet
from clockstep.reach.guard import FIFO, Guard
from clockstep.reach.injection import UNAVAILABLE, WINDOW_NS, added, by_perl, by_shell, fate_words, step_words
from clockstep.reach.sampling import sampled
from clockstep.units import MICROSECOND_NS, MILLISECOND_NS, SECOND_NS
from clockstep.wire import decoded

RESOLUTION_NS = MICROSECOND_NS
"""guest-get-time counts microseconds (g_get_real_time in qga/commands.c), although it answers nanoseconds."""

NOT_ALLOWED = "the guest agent must run as root, with CAP_SYS_TIME, and be allowed to write in /run"

T = TypeVar("T")

FIRST_POLL_NS = 10 * MILLISECOND_NS
LONGEST_POLL_NS = 40 * MILLISECOND_NS
"""How often it is asked whether a command has ended: each question costs the guest more than it costs us to wait.
One that takes long is asked after even less often, in eighths of what it has taken."""
LONGEST_START_NS = 100 * MILLISECOND_NS
"""In a guest where a command's start takes longer than a poll, as an emulated one, nobody asks before it has had as
long again; at most so long."""


class Channel(Protocol):
    """What carries agent commands. Everything raises ReachError: ExecBlockedError where guest-exec is switched off, and
    NoProgramError where there is none of that name."""

    def time(self) -> tuple[int, int]:
        """Return guest-get-time, as seconds and nanoseconds."""

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        """Perform guest-set-time."""

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        """Perform any other command, both ways as JSON."""


Small = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**32)]


class _Started(msgspec.Struct):
    pid: int


class _Status(msgspec.Struct, rename="kebab"):
    exited: bool
    exitcode: Small | None = None
    out_data: str = ""
    err_data: str = ""


class _Return(msgspec.Struct, Generic[T]):
    value: T = msgspec.field(name="return")


class AgentReach:
    """A node through its guest agent. `guarded` says whether it may have a guard: to find none costs it 30 ms.

    `resolution_ns` is that of the time which the agent tells. What `held` returns keeps the channel ready for questions
    one after the other: a wait for it would count as their round trip.
    """

    source = "guest agent"

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        reference: Reference,
        guarded: Callable[[], bool] = lambda: True,
        resolution_ns: int = RESOLUTION_NS,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._reference = reference
        self._guarded = guarded
        self._resolution_ns = resolution_ns
        self._held = held
        self._set = AbsoluteSet(channel.set_time, clock, reference)
        self._guard = Guard(self._tell_guard, self._glance, clock, reference)

    def clock(self, within_ns: int | None = None) -> Reading:
        """Measure the node's clock by guest-get-time."""
        with self._held():
            return self._sampled(within_ns)

    def _sampled(self, within_ns: int | None) -> Reading:
        read, resolution_ns = self._channel.time, self._resolution_ns
        return sampled(self.source, read, self._clock, self._reference, resolution_ns, within_ns)

    def step(self, by_ns: int, token: str) -> int | None:
        """Step the node's clock by `by_ns`, relative to where it is; set it where the guest runs no commands."""
        if self._guarded() and self._guard.steps(by_ns, token):
            return None
        try:
            output = self._carried_out(lambda: step_words(token, by_ns, self._reference.now().at_ns - by_ns))
        except ExecBlockedError:
            return self._set(by_ns, token)
        if output.code in {NO_PROGRAM, UNAVAILABLE}:
            return self._set(by_ns, token)
        return added(output, NOT_ALLOWED)

    def fate(self, token: str) -> int | None:
        """Ask the node what became of a step; of a set only the clock tells, once it cannot come any more."""
        if self._set.knows(token):
            return None
        try:
            output = self._carried_out(lambda: fate_words(token))
        except ExecBlockedError:  # then no program has stepped it either
            return None
        return None if output.code in {NO_PROGRAM, UNAVAILABLE} else added(output, NOT_ALLOWED)

    def _carried_out(self, words: Callable[[], list[str]]) -> Output:
        deadline = self._clock.monotonic_ns() + WINDOW_NS + SECOND_NS
        output = self.run(by_perl(words()), b"", deadline)
        if output.code in {NO_PROGRAM, UNAVAILABLE}:
            output = self.run(by_shell(words()), b"", deadline)
        return output

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a command by guest-exec, and wait for its end."""
        start = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            start["input-data"] = base64.b64encode(stdin).decode()
        asked = self._clock.monotonic_ns()
        try:
            pid = self._ask("guest-exec", start, _Return[_Started], deadline_ns).value.pid
        except NoProgramError as error:
            return Output(NO_PROGRAM, "", error.message)
        began = self._clock.monotonic_ns()
        start_ns = min(began - asked, LONGEST_START_NS)
        if start_ns > FIRST_POLL_NS:
            self._clock.sleep_ns(start_ns)
        pause = max(FIRST_POLL_NS, min(start_ns, LONGEST_POLL_NS))
        while True:
            status = self._ask("guest-exec-status", {"pid": pid}, _Return[_Status], deadline_ns).value
            if status.exited:
                code = -1 if status.exitcode is None else status.exitcode
                return Output(code, _text(status.out_data), _text(status.err_data))
            self._clock.sleep_ns(pause)
            pause = min(2 * pause, max(LONGEST_POLL_NS, (self._clock.monotonic_ns() - began) // 8))

    def close(self) -> None:
        """Hold nothing open: the channel is libvirt's."""

    def _glance(self) -> int:
        seconds, nanoseconds = self._channel.time()
        return seconds * SECOND_NS + nanoseconds - self._reference.now().at_ns

    def _tell_guard(self, line: str) -> bool:
        """Write into the guard's fifo. "r+", because opening it for writing alone would wait for a reader for ever."""
        deadline = self._clock.monotonic_ns() + SECOND_NS
        try:
            handle = self._ask("guest-file-open", {"path": FIFO, "mode": "r+"}, _Return[int], deadline).value
        except ReachError:  # there is none, or files are switched off
            return False
        content = base64.b64encode(f"{line}\n".encode()).decode()
        with suppress(ReachError):  # what came of it is seen by how the clock reads
            self._ask("guest-file-write", {"handle": handle, "buf-b64": content}, _Return[object], deadline)
        with suppress(ReachError):
            own = self._clock.monotonic_ns() + SECOND_NS
            self._ask("guest-file-close", {"handle": handle}, _Return[object], own)
        return True

    def _ask(self, name: str, arguments: object, answer: type[T], deadline_ns: int) -> T:
        left = deadline_ns - self._clock.monotonic_ns()
        if left <= 0:
            raise DeadlineError("a command in the guest did not end in time")
        request = msgspec.json.encode({"execute": name, "arguments": arguments})
        said = self._channel.command(request, left)
        found = decoded(said, answer)
        if found is None:
            text = f"the agent answers {name} invalidly: {said[:80].decode(errors='replace')}"
            raise ReachError(text, "check the guest")
        return found


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError) as error:
        raise ReachError("the agent's answer is not valid base64", "check the guest") from error
