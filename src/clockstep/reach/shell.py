"""One process with a POSIX shell at its far end, kept open, and what is said over its pipes.

The far end may be broken, hostile or merely slow. So every wait has a deadline, what is kept of its output has a
limit, and an answer is what stands between marks that nobody can guess: whatever else a login prints is passed over.
"""

import os
import secrets
import select
import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, TypeVar

from clockstep.errors import DeadlineError, ReachError
from clockstep.ports import Clock, Output
from clockstep.units import MILLISECOND_NS, SECOND_NS

LIMIT = 2**20
CHUNK = 2**16
LAST_WORDS_NS = SECOND_NS
LEAVE = b"q\n"
"""Ends a program that was entered; as the shell's own input it would be a command, so it is sent only inside one."""

T = TypeVar("T")


class ShellEndedError(ReachError):
    """The process is gone. `said` is what it left on stderr; `answered` whether a shell had ever answered."""

    def __init__(self, said: str, *, answered: bool) -> None:
        super().__init__(said or "it ended without an error message")
        self.said = said
        self.answered = answered


class Shell:
    """The process and its pipes. After any error but a command's own failure it is of no use: end it."""

    def __init__(self, argv: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        environment = {**os.environ, "LC_ALL": "C", "SHELL": "/bin/sh"}  # by which ssh starts its ProxyCommand
        pipe = subprocess.PIPE
        try:  # a session of its own: no terminal to ask a person at, and one group with whatever it starts
            self._process = subprocess.Popen(
                argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=environment, start_new_session=True
            )
        except OSError as error:
            text = f"{argv[0]} cannot be started: {error.strerror}"
            raise ReachError(text, "install the package openssh-client", lasting=True) from error
        self._stdin, self._stdout, self._stderr = self._pipes()
        self._out, self._err = bytearray(), bytearray()
        self._mute = self._answered = self._inside = False

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a command to its end and return what it printed; its input is passed by printf, which the shell has."""
        mark = secrets.token_hex(16)
        octal = "".join(f"\\{byte:03o}" for byte in stdin)
        before, after = (f"printf '{octal}' | ", "") if stdin else ("", " </dev/null")
        script = (
            f"{{ printf {mark}; printf {mark} >&2\n"
            f"{before}( exec {shlex.join(argv)} ){after}\n"
            f'printf "{mark}%d\\n" $?; printf "{mark}\\n" >&2\n}}\n'
        )
        self._send((LEAVE if self._inside else b"") + script.encode(errors="surrogateescape"), deadline_ns)
        self._inside = False
        out, code = self._await(lambda: _framed(self._out, mark.encode()), deadline_ns)
        err, _ = self._await(lambda: _framed(self._err, mark.encode()), deadline_ns)
        self._answered = True
        try:
            return Output(int(code), out.decode(errors="replace"), err.decode(errors="replace"))
        except ValueError as error:
            raise ReachError("the shell gave an invalid answer", "check the node") from error

    def enter(self, program: str, deadline_ns: int) -> None:
        """Start a program that answers lines until `LEAVE`, and prints a line with `$mark` when it is ready.

        Nothing may be sent to it before that, because the shell would read it.
        """
        if self._inside:
            return
        mark = secrets.token_hex(16)
        self._send(f"{{ mark={mark}\n{program}\necho it ended\n}}\n".encode(), deadline_ns)
        self._await(lambda: _through(self._out, f"{mark}\n".encode()), deadline_ns)
        self._inside = self._answered = True

    @property
    def entered(self) -> bool:
        """Whether a program that answers lines runs there."""
        return self._inside

    def ask(self, line: bytes, deadline_ns: int) -> str:
        """Send the program that was entered a line, and return the line that it answers."""
        self._send(line, deadline_ns)
        return self._await(lambda: _through(self._out, b"\n"), deadline_ns).decode(errors="replace").strip()

    def kill(self) -> None:
        """End the process and all that it started, from any thread; whoever waits for an answer finds it gone."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """End the process and close its pipes, from the thread that uses them."""
        self.kill()
        for pipe in (self._stdin, self._stdout, self._stderr):
            with suppress(OSError):
                pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        stdin, stdout, stderr = pipes
        assert stdin and stdout and stderr
        for pipe in (stdin, stdout, stderr):
            os.set_blocking(pipe.fileno(), False)
        return stdin, stdout, stderr

    def _send(self, data: bytes, deadline_ns: int) -> None:
        rest = memoryview(data)
        while rest:
            self._wait({self._stdin: select.POLLOUT}, deadline_ns)
            try:
                rest = rest[os.write(self._stdin.fileno(), rest[:CHUNK]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None

    def _await(self, found: Callable[[], T | None], deadline_ns: int) -> T:
        while (result := found()) is None:
            if not self._receive(deadline_ns):
                raise self._ended()
        return result

    def _receive(self, deadline_ns: int) -> bool:
        """Take in what is there, once something is; False when stdout has ended."""
        listening = [self._stdout] if self._mute else [self._stdout, self._stderr]
        self._wait(dict.fromkeys(listening, select.POLLIN), deadline_ns)
        self._mute = not _read(self._stderr, self._err)
        more = _read(self._stdout, self._out)
        if max(len(self._out), len(self._err)) > LIMIT:
            raise ReachError("the node answers with more than 1 MiB", "check the node")
        return more

    def _wait(self, pipes: dict[IO[bytes], int], deadline_ns: int) -> None:
        """Wait until one of the pipes is ready or ended."""
        poll = select.poll()
        for pipe, events in pipes.items():
            poll.register(pipe, events)
        left = deadline_ns - self._clock.monotonic_ns()
        if left <= 0 or not poll.poll(-(-left // MILLISECOND_NS)):
            raise DeadlineError("no answer in time", "check whether the node is busy or its network is slow")

    def _ended(self) -> ShellEndedError:
        """Return what the process left to say, when its output has ended."""
        until = self._clock.monotonic_ns() + LAST_WORDS_NS
        with suppress(ReachError):
            while _read(self._stderr, self._err) and len(self._err) < LIMIT:
                self._wait({self._stderr: select.POLLIN}, until)
        said = bytes(self._err or self._out).decode(errors="replace")
        return ShellEndedError(said, answered=self._answered)


def _read(pipe: IO[bytes], into: bytearray) -> bool:
    """Read what is there; False at the end."""
    try:
        data = os.read(pipe.fileno(), CHUNK)
    except BlockingIOError:
        return True
    into += data
    return bool(data)


def _framed(buffer: bytearray, mark: bytes) -> tuple[bytes, bytes] | None:
    """Take out of the buffer what stands between two marks, and what follows on the line of the second."""
    begin = buffer.find(mark)
    middle = buffer.find(mark, begin + len(mark)) if begin >= 0 else -1
    end = buffer.find(b"\n", middle) if middle >= 0 else -1
    if end < 0:
        return None
    body, rest = bytes(buffer[begin + len(mark) : middle]), bytes(buffer[middle + len(mark) : end])
    del buffer[: end + 1]
    return body, rest


def _through(buffer: bytearray, ending: bytes) -> bytes | None:
    """Take out of the buffer everything through `ending`."""
    end = buffer.find(ending)
    if end < 0:
        return None
    taken = bytes(buffer[: end + len(ending)])
    del buffer[: end + len(ending)]
    return taken
