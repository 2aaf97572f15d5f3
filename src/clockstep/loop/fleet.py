"""One job on each of many nodes, side by side: one sick node never costs the others.

Threads, because everything underneath blocks; daemonic ones, because a call into libvirt can hang for ever and must
keep neither the result nor the process waiting.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from clockstep.errors import ClockstepError, DeadlineError, InternalError
from clockstep.model import Guest
from clockstep.units import SECOND_NS, show_duration

T = TypeVar("T")

AT_ONCE, STALLED_NS = 100, SECOND_NS // 20
"""How many jobs are begun at once; and after how long in which none has ended as many are begun again."""


def side_by_side(
    guests: Sequence[Guest],
    job: Callable[[Guest], T],
    within_ns: int,
    ended_so_far: Callable[[int], None] = lambda _count: None,
) -> dict[Guest, T | ClockstepError]:
    """Do the job on every guest, on a thread of its own, and return what each came to, an error of ours included.

    The result always has all guests. One whose job has not ended `within_ns` from now comes to a DeadlineError and is
    left behind. Any other exception is a bug, and that guest's result as an InternalError. An interrupt is raised.
    `ended_so_far` is told how many have ended, each time that one has and others have not.
    """
    ended: queue.SimpleQueue[tuple[Guest, T | ClockstepError | _Interrupt]] = queue.SimpleQueue()
    until_ns = time.monotonic_ns() + within_ns
    waiting = iter(guests)

    def begin(count: int) -> None:
        for guest in islice(waiting, count):
            threading.Thread(target=_work, args=(guest, job, ended), name=guest.name, daemon=True).start()

    begin(AT_ONCE)
    results: dict[Guest, T | ClockstepError | _Interrupt] = {}
    while len(results) < len(guests) and (left_ns := until_ns - time.monotonic_ns()) > 0:
        try:
            guest, result = ended.get(timeout=min(left_ns, STALLED_NS) / SECOND_NS)
        except queue.Empty:
            begin(AT_ONCE)  # those that are under way wait for something, and cost the others nothing
            continue
        results[guest] = result
        begin(1)
        if len(results) < len(guests):
            ended_so_far(len(results))
    late = DeadlineError(f"did not answer within {show_duration(within_ns)}", "allow it more time with --deadline")
    return {guest: _checked(results.get(guest, late)) for guest in guests}


def failures(results: Mapping[Guest, object]) -> dict[Guest, ClockstepError]:
    """Return the errors among what jobs came to."""
    return {guest: result for guest, result in results.items() if isinstance(result, ClockstepError)}


class _Interrupt:
    """An interrupt that came in a thread, on its way to the main thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _work(
    guest: Guest, job: Callable[[Guest], T], ended: queue.SimpleQueue[tuple[Guest, T | ClockstepError | _Interrupt]]
) -> None:
    try:
        ended.put((guest, job(guest)))
    except ClockstepError as error:
        ended.put((guest, error))
    except Exception as bug:  # noqa: BLE001 - it costs the others nothing
        ended.put((guest, InternalError(bug)))
    except BaseException as interrupt:  # noqa: BLE001 - raised again in the main thread
        ended.put((guest, _Interrupt(interrupt)))


def _checked(result: T | ClockstepError | _Interrupt) -> T | ClockstepError:
    if isinstance(result, _Interrupt):
        raise result.error
    return result
