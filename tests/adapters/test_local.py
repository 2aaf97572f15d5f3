"""The way to the machine itself: read against a PHC, stepped once, in a kernel that is only numbers."""

import errno
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.node import MILLISECOND, SECOND, SimKernel, SimPhc, made_up
from clockstep.errors import NoProgramError, NotSteppedError, ReachError
from clockstep.guest import program
from clockstep.host.clock import SystemClock
from clockstep.host.kernel import ADJ_NANO, ADJ_SETOFFSET, ADJ_TICK, ReadKernel, adjustment
from clockstep.host.phc import Phc, host_devices
from clockstep.host.phc_reference import PhcReference
from clockstep.host.reference import HostReference
from clockstep.loop.prove import prove
from clockstep.loop.run import begin
from clockstep.loop.settle import settle
from clockstep.model import Cause, Policy, Step, Verdict
from clockstep.ports import Node, Output
from clockstep.reach.local import LocalReach

TOKEN = "0123456789ab" + "0" * 16


class NodeReach(LocalReach):
    """Of a node that has no time daemon, whose clock is only numbers: a real program would take real time."""

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        return Output(0, "", "")


@pytest.fixture
def kernel() -> SimKernel:
    return SimKernel()


@pytest.fixture
def reference(kernel: SimKernel, tmp_path: Path) -> PhcReference:
    return PhcReference(Phc(host_devices(made_up(tmp_path, "hyperv"))[0], SimPhc(kernel).ioctl), kernel)


@pytest.fixture
def reach(kernel: SimKernel, reference: PhcReference, tmp_path: Path) -> LocalReach:
    return NodeReach(kernel, kernel, reference, tmp_path / "run/steps")


def test_a_node_proves_its_own_clock_after_a_step_by_the_offset_that_it_has(
    kernel: SimKernel, reference: PhcReference, reach: LocalReach
) -> None:
    kernel.stand_still(22 * SECOND)
    run = begin(Node("this", reach), Cause("reverted"), Policy(), kernel, reference)
    assert prove(run)
    episode = settle(run)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step]
    assert abs(kernel.offset) < MILLISECOND
    assert episode.facts.readings[0].reference == "phc"


def test_a_clock_that_somebody_else_has_set_meanwhile_is_not_stepped(kernel: SimKernel, reach: LocalReach) -> None:
    kernel.stand_still(2 * SECOND)
    by_ns = -reach.clock().offset.value_ns
    kernel.offset += 2 * SECOND  # the host's watcher
    with pytest.raises(NotSteppedError, match="something else") as raised:
        reach.step(by_ns, TOKEN)
    assert not raised.value.lasting
    assert kernel.steps == []
    assert reach.clock().offset.surely_within(MILLISECOND)


def test_a_step_happens_once_for_a_token(kernel: SimKernel, reach: LocalReach) -> None:
    assert reach.step(-1_500_000_000, TOKEN) == -1_500_000_000
    assert reach.step(-1_500_000_000, TOKEN) == -1_500_000_000
    assert reach.fate(TOKEN) == -1_500_000_000
    assert kernel.steps == [-1_500_000_000]


def test_to_ask_for_a_token_that_is_not_known_closes_it(kernel: SimKernel, reach: LocalReach) -> None:
    assert reach.fate(TOKEN) == 0
    assert reach.step(SECOND, TOKEN) == 0
    assert kernel.steps == []


def test_a_step_that_was_cut_off_is_open(kernel: SimKernel, reach: LocalReach, tmp_path: Path) -> None:
    reach.step(SECOND, TOKEN)
    memory = tmp_path / "run/steps"
    memory.write_text(f"\n{TOKEN} begun\n")
    again = LocalReach(kernel, kernel, HostReference(), memory)
    assert again.fate(TOKEN) is None
    assert again.step(SECOND, TOKEN) is None
    assert kernel.steps == [SECOND]


def test_what_is_not_allowed_is_lasting_and_says_what_to_do(kernel: SimKernel, reach: LocalReach) -> None:
    kernel.refusal = errno.EPERM
    with pytest.raises(NotSteppedError, match="not permitted") as raised:
        reach.step(SECOND, TOKEN)
    assert raised.value.lasting
    assert "CAP_SYS_TIME" in raised.value.hint
    assert reach.fate(TOKEN) == 0


def test_a_slewing_daemon_is_ended_by_the_step_and_its_fine_tuning_is_not(kernel: SimKernel, reach: LocalReach) -> None:
    kernel.tick = 10_003
    reach.step(SECOND, TOKEN)
    assert kernel.tick == 10_003
    kernel.tick = 10_833
    reach.clock()
    reach.step(SECOND, TOKEN[:-1] + "1")
    assert kernel.tick == 10_000


def test_a_run_that_cannot_be_written_keeps_nothing_from_a_step(kernel: SimKernel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reach = LocalReach(kernel, kernel, HostReference(), tmp_path / "file/steps")
    assert reach.step(SECOND, TOKEN) == SECOND
    assert reach.step(SECOND, TOKEN) == SECOND
    assert kernel.steps == [SECOND]


def test_the_memory_is_the_one_of_the_program_that_a_host_sends(
    kernel: SimKernel, reach: LocalReach, tmp_path: Path
) -> None:
    memory, step = tmp_path / "run/steps", [sys.executable, "-I", "-S", "-c", program("step/main.py")]
    reach.step(-1_500_000_000, TOKEN)
    done = subprocess.run([*step, memory, TOKEN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (76, "done -2 500000000\n")
    other = TOKEN[:-1] + "1"
    closed = subprocess.run([*step, memory, other], capture_output=True, text=True, check=False)
    assert closed.stdout == "closed\n"
    assert reach.step(SECOND, other) == 0


def test_a_memory_that_grows_is_cut_and_keeps_its_end(kernel: SimKernel, reach: LocalReach, tmp_path: Path) -> None:
    memory = tmp_path / "run/steps"
    reach.step(SECOND, TOKEN)
    memory.write_text("x" * 70_000 + f"\n{TOKEN} done 7 0\n")
    assert LocalReach(kernel, kernel, HostReference(), memory).fate(TOKEN) == 7 * SECOND
    assert memory.stat().st_size <= 4096


def test_a_program_is_run_and_one_that_is_not_there_or_hangs_is_an_error() -> None:
    clock = SystemClock()
    reach = LocalReach(ReadKernel(), clock, HostReference(), Path("/nonexistent"))
    later = clock.monotonic_ns() + 10 * SECOND
    assert reach.run(["/bin/sh", "-c", "cat; exit 3"], b"told", later) == (3, "told", "")
    with pytest.raises(NoProgramError):
        reach.run(["no-such-program"], b"", later)
    with pytest.raises(ReachError, match="did not end"):
        reach.run(["sleep", "60"], b"", clock.monotonic_ns() + 50 * MILLISECOND)


def test_a_kernel_that_only_reads_moves_nothing() -> None:
    kernel = ReadKernel()
    assert abs(kernel.realtime_ns() - HostReference().now().at_ns) < 3600 * SECOND
    assert 9_000 <= kernel.tick_us() <= 11_000
    with pytest.raises(PermissionError):
        kernel.add(1, reset_tick=False)


def test_what_the_kernel_would_be_asked_for_is_an_offset_of_whole_seconds_and_positive_nanoseconds() -> None:
    asked = adjustment(-1, reset_tick=False)
    assert (asked.modes, asked.tv_sec, asked.tv_usec) == (ADJ_SETOFFSET | ADJ_NANO, -1, 999_999_999)
    assert adjustment(0, reset_tick=True).modes & ADJ_TICK
    assert adjustment(0, reset_tick=True).tick == 10_000


SETS = """
import ctypes, os
from clockstep.host.kernel import SystemKernel
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(24, 25, 0, 0, 0) == 0 or os.geteuid()  # PR_CAPBSET_DROP, CAP_SYS_TIME
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
if not os.geteuid():
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
assert not int(next(l for l in open("/proc/self/status") if l.startswith("CapEff")).split()[1], 16) & 1 << 25
try:
    SystemKernel().add(0, reset_tick=False)
except PermissionError as error:
    print(error.errno)
"""
"""Asks the real kernel for a move by nothing, where it is not allowed to move the clock at all."""


def test_the_real_kernel_takes_the_call_and_refuses_it_without_the_capability() -> None:
    done = subprocess.run([sys.executable, "-c", SETS], capture_output=True, text=True, check=False)
    assert done.stdout == f"{errno.EPERM}\n", done.stderr
