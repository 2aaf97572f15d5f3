"""By what a node notices that its clock may be off, each at its own interface."""

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.node import MILLISECOND, SECOND, SimKernel, SimPhc, made_up
from clockstep.agent.signals.clock_set import ClockSetSignal, armed
from clockstep.agent.signals.fork import AT_ONCE, LINE, ForkSignal, is_fork
from clockstep.agent.signals.phc import PhcSignal
from clockstep.agent.signals.tick import TickSignal
from clockstep.agent.signals.vmclock import HEAD, UnknownPageError, VmclockSignal, consistent, parse
from clockstep.host.phc import Phc, host_devices
from clockstep.model import Happening, What


class Seen:
    """A signal of a made-up PHC, checked as in a tick of 50 ms."""

    def __init__(self, root: Path, *, scaled: bool = True) -> None:
        self.kernel = SimKernel()
        self.sim = SimPhc(self.kernel)
        phc = Phc(host_devices(made_up(root, "hyperv"))[0], self.sim.ioctl)
        self.signal = PhcSignal(phc.offset, lambda: scaled, 10 * MILLISECOND)

    def tick(self) -> What | None:
        self.kernel.pass_ns(50 * MILLISECOND)
        happening = self.signal.check(self.kernel.raw)
        return happening.what if happening else None


def test_a_standstill_is_seen_in_the_next_tick_and_once(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    assert [seen.tick(), seen.tick()] == [None, None]
    seen.kernel.stand_still(SECOND // 2)
    assert [seen.tick(), seen.tick(), seen.tick()] == [What.DIVERGED, None, None]


def test_a_second_one_is_seen_though_the_first_is_not_corrected_yet(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.kernel.stand_still(SECOND)
    assert seen.tick() is What.DIVERGED
    seen.kernel.stand_still(SECOND)
    assert [seen.tick(), seen.tick()] == [What.DIVERGED, None]


def test_the_step_that_corrects_it_is_no_happening_and_slewing_within_the_tolerance_neither(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.kernel.stand_still(SECOND)
    assert seen.tick() is What.DIVERGED
    seen.kernel.add(SECOND, reset_tick=False)
    assert seen.tick() is None
    for _ in range(3):
        seen.kernel.offset += 3 * MILLISECOND
        assert seen.tick() is None
    seen.kernel.offset += 3 * MILLISECOND
    assert [seen.tick(), seen.tick()] == [What.DIVERGED, None]


def test_where_its_scale_is_not_known_only_a_jump_counts(tmp_path: Path) -> None:
    seen = Seen(tmp_path, scaled=False)
    seen.sim.ahead = 37 * SECOND
    assert [seen.tick(), seen.tick()] == [None, None]
    seen.kernel.stand_still(SECOND)
    assert [seen.tick(), seen.tick()] == [What.DIVERGED, None]


def test_a_phc_that_is_gone_is_trouble_until_it_is_back(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.sim.gone = True
    assert seen.tick() is None
    assert "No such device" in seen.signal.trouble
    seen.sim.gone = False
    assert seen.tick() is None
    assert seen.signal.trouble == ""


RECORD = "{priority},1234,5678,-;{text}\n"


def of_kernel(text: str = LINE, priority: int = 5) -> bytes:
    return RECORD.format(priority=priority, text=text).encode()


def test_the_kernels_own_line_is_a_fork() -> None:
    assert is_fork(of_kernel())
    assert is_fork(of_kernel() + b" SUBSYSTEM=x\n")


@pytest.mark.parametrize(
    "record",
    [
        of_kernel(priority=(1 << 3) + 5),  # what a program writes to /dev/kmsg, also if it asks for facility 0
        of_kernel(priority=(3 << 3) + 5),
        of_kernel(f"{LINE} not"),
        of_kernel(f"kworker: {LINE}"),
        of_kernel(f"something\\x0a{LINE}"),
        of_kernel(f"something\n {LINE}"),
        b";" + LINE.encode(),
        b"5" * 5000 + b",1,1,-;" + LINE.encode(),
        b"",
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_not_the_kernels_own_is_none(record: bytes) -> None:
    assert not is_fork(record)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[ForkSignal, socket.socket]]:
    """Yield a signal, and where its records come from: a socket gives a record at a time, as /dev/kmsg does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    (tmp_path / "kmsg").touch()
    signal = ForkSignal(tmp_path / "kmsg", lambda _file, size: os.read(ours.fileno(), size))
    with ours, theirs:
        yield signal, theirs
    signal.close()


def test_a_fork_is_heard_among_other_records(log: tuple[ForkSignal, socket.socket]) -> None:
    signal, kernel = log
    assert signal.check(1) is None
    for text in ("eth0: link up", LINE, "eth0: link down"):
        kernel.send(of_kernel(text))
    assert signal.check(7) == Happening("", What.REVERTED, 7)
    assert signal.check(8) is None


def test_records_that_were_overwritten_are_read_over(tmp_path: Path) -> None:
    (tmp_path / "kmsg").touch()
    answers: Iterator[Exception | bytes] = iter([BrokenPipeError(), of_kernel(), BlockingIOError()])

    def read(_file: int, _size: int) -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert ForkSignal(tmp_path / "kmsg", read).check(1) is not None


def test_a_log_that_is_flooded_delays_one_tick_by_so_many_records(tmp_path: Path) -> None:
    (tmp_path / "kmsg").touch()
    read: list[int] = []

    def flooded(_file: int, _size: int) -> bytes:
        read.append(1)
        return of_kernel("flood", priority=12)

    signal = ForkSignal(tmp_path / "kmsg", flooded)
    assert signal.check(1) is None
    assert len(read) == AT_ONCE
    signal.close()


def test_what_a_container_has_in_place_of_the_log_is_given_up_and_not_waited_for() -> None:
    signal = ForkSignal(Path("/dev/null"))
    assert signal.check(1) is None
    assert "it has an end" in signal.trouble
    assert signal.wakes() is None


def test_a_log_that_may_not_be_read_is_trouble_that_says_what_it_takes(tmp_path: Path) -> None:
    signal = ForkSignal(tmp_path / "none")
    assert "CAP_SYSLOG" in signal.trouble
    assert signal.check(1) is None
    assert signal.wakes() is None


def test_a_machine_that_sleeps_or_stands_still_misses_ticks() -> None:
    kernel = SimKernel()
    signal = TickSignal(kernel)
    kernel.pass_ns(50 * MILLISECOND)
    assert signal.check(kernel.raw) is None
    kernel.pass_ns(3 * SECOND)
    assert signal.check(7) == Happening("", What.RESUMED, 7)
    kernel.pass_ns(50 * MILLISECOND)
    assert signal.check(kernel.raw) is None


def test_the_kernels_timer_is_quiet_as_long_as_nobody_sets_the_clock() -> None:
    signal = ClockSetSignal()
    file = signal.wakes()
    assert file is not None
    assert signal.check(1) is None
    poll = select.poll()
    poll.register(file, select.POLLIN)
    assert poll.poll(0) == []
    assert signal.trouble == ""
    signal.close()


def test_the_kernels_timer_never_comes_whatever_the_clock_is_set_to() -> None:
    signal = ClockSetSignal()
    left = ctypes.create_string_buffer(32)
    assert ctypes.CDLL(None).timerfd_gettime(signal.wakes(), left) == 0
    _, _, seconds, _ = struct.unpack("@4l", left.raw)
    assert time.time() + seconds >= 2**63 // SECOND - 2  # else it would be due at each look, once the clock is there
    signal.close()


def test_a_timer_that_is_cancelled_is_a_step_and_is_armed_again() -> None:
    again: list[int | None] = []

    def arm(file: int | None) -> int:
        again.append(file)
        return armed(file)

    def cancelled(_file: int, _size: int) -> bytes:
        raise OSError(errno.ECANCELED, "Operation canceled")

    signal = ClockSetSignal(arm, cancelled)
    assert signal.check(5) == Happening("", What.SET, 5)
    assert again == [None, signal.wakes()]
    signal.close()


def test_a_kernel_without_such_timers_is_trouble() -> None:
    def refused(_file: int | None) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    signal = ClockSetSignal(refused)
    assert "Invalid argument" in signal.trouble
    assert signal.check(1) is None


def page(
    sequence: int = 2, marker: int = 7, flags: int = 0, generation: int = 0, size: int = 4096, error_ns: int = 0
) -> bytes:
    """Return a page of a vmclock device, 4096 bytes."""
    body = bytearray(4096)
    HEAD.pack_into(body, 0, 0x4B4C4356, size, 1, 1, 0, sequence, marker, flags)
    body[34] = 2
    struct.pack_into("<QQ", body, 96, error_ns, generation)
    return bytes(body)


GENERATION, NOTIFIES = 1 << 8, 1 << 9


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (page(), page(4, 8), What.RESTORED),
        (page(flags=GENERATION, generation=1), page(4, 8, GENERATION, 1), What.MIGRATED),
        (page(flags=GENERATION, generation=1), page(4, 8, GENERATION, 2), What.REVERTED),
        (page(), page(4, 7), None),  # its time was updated
        (page(), page(2, 8), What.RESTORED),  # a hypervisor that forgets the sequence number
        (page(generation=1), page(4, 7, 0, 2), None),  # no flag, no generation
    ],
)
def test_what_changes_in_a_page_says_what_has_happened(
    tmp_path: Path, machine: str, before: bytes, after: bytes, what: What | None
) -> None:
    device = tmp_path / "vmclock0"
    device.write_bytes(before)
    signal = VmclockSignal(device, machine=machine)
    assert signal.trouble == ""
    assert signal.check(1) is None
    with device.open("r+b") as file:
        file.write(after)
    happening = signal.check(9)
    assert (happening and happening.what) == what
    assert signal.check(10) is None
    signal.close()


def test_a_field_that_is_beyond_the_pages_size_is_not_read() -> None:
    assert parse(page(flags=GENERATION, generation=5, size=104)).generation is None
    assert parse(page(flags=GENERATION, generation=5)[:104]).generation is None
    assert parse(page(flags=GENERATION, generation=5)[:112]).generation == 5
    assert parse(page(flags=1 << 6, error_ns=900)).max_error_ns == 900
    assert parse(page(error_ns=900)).max_error_ns is None


@pytest.mark.parametrize("body", [b"", b"x" * 40, bytes(4096), page()[:8] + b"\x02" + page()[9:]])
def test_a_page_of_another_kind_or_version_is_trouble_and_nothing_more(tmp_path: Path, body: bytes) -> None:
    device = tmp_path / "vmclock0"
    device.write_bytes(body)
    signal = VmclockSignal(device)
    assert "cannot be used" in signal.trouble or body == b""
    assert signal.check(1) is None
    with pytest.raises(UnknownPageError):
        parse(body)


def test_a_page_in_whose_middle_a_writer_is_is_looked_at_in_the_next_tick() -> None:
    looks = iter([page(3), page(4, 8), page(6, 9), page(6, 9), page(6, 9)])
    assert consistent(lambda: next(looks)) == page(6, 9)
    assert consistent(lambda: page(3)) is None


def test_a_page_that_cannot_be_read_a_second_time_is_looked_at_in_the_next_tick() -> None:
    looks = iter([page(4, 8), b"", page(6, 9), page(6, 9)])
    assert consistent(lambda: next(looks)) == page(6, 9)


def test_a_writer_that_is_in_the_middle_for_long_delays_one_tick_and_loses_nothing(tmp_path: Path) -> None:
    device = tmp_path / "vmclock0"
    device.write_bytes(page())
    signal = VmclockSignal(device)
    device.write_bytes(page(3, 8))
    assert signal.check(1) is None
    device.write_bytes(page(4, 8))
    happening = signal.check(2)
    assert happening
    assert happening.what is What.RESTORED


@pytest.mark.parametrize(
    ("flags", "said", "waits"),
    [
        (NOTIFIES, [0, 0], True),
        (0, [0, 0], False),  # without the flag it is not even asked
        (NOTIFIES, [select.POLLIN | select.POLLOUT], False),  # a kernel before 7.0
        (NOTIFIES, [select.POLLHUP], False),
        (NOTIFIES, [0, select.POLLIN | select.POLLHUP, 0], False),
    ],
)
def test_a_page_is_waited_for_only_where_that_is_quiet(
    tmp_path: Path, flags: int, said: list[int], *, waits: bool
) -> None:
    device = tmp_path / "vmclock0"
    device.write_bytes(page(flags=flags))
    answers = iter([*said, *[0] * 5])
    signal = VmclockSignal(device, lambda _file: next(answers))
    assert (signal.wakes() is not None) == waits
    assert (signal.wakes() is not None) == waits


def test_what_is_no_such_device_is_never_waited_for(tmp_path: Path) -> None:
    device = tmp_path / "vmclock0"
    device.write_bytes(page(flags=NOTIFIES))
    assert VmclockSignal(device).wakes() is None  # poll(2) of a file is always ready, as of a kernel before 7.0
    assert "No such file" in VmclockSignal(tmp_path / "none").trouble
