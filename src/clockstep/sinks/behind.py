"""A sink that may take its time, kept from holding up the watcher."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from clockstep.model import Episode
from clockstep.ports import Listed, Sink, Tell

WAITING = 1000
"""How many Episodes may wait; more are dropped, and their number is told."""
LAST_S = 5.0


class Behind:
    """Gives Episodes to a sink on a thread of its own, in the order in which they came.

    When the watch ends, what waits is given for up to five seconds; `cut_off` is called if that was not enough.
    """

    def __init__(
        self,
        sink: Sink,
        tell: Tell,
        cut_off: Callable[[], None] = lambda: None,
        waiting: int = WAITING,
        last_s: float = LAST_S,
    ) -> None:
        self._sink = sink
        self._tell = tell
        self._cut_off = cut_off
        self._last_s = last_s
        self._queue: queue.Queue[tuple[Episode, bool] | None] = queue.Queue(waiting)
        self._dropped = 0
        self._failed = False
        self._thread = threading.Thread(target=self._give_all, name=type(sink).__name__, daemon=True)
        self._thread.start()

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed: no sink that is slow wants it."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode, to be given to the sink in its turn."""
        if not new:
            return
        try:
            self._queue.put_nowait((episode, new))
        except queue.Full:
            self._dropped += 1

    def ended(self) -> None:
        """Give the sink what waits, for a while."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=self._last_s)
        self._thread.join(self._last_s)
        if self._thread.is_alive():
            self._cut_off()
            self._thread.join(1)

    def _give_all(self) -> None:
        while (item := self._queue.get()) is not None:
            episode, new = item
            self._do(partial(self._sink.seen, episode, new=new))
            if self._dropped and self._queue.empty():
                dropped, self._dropped = self._dropped, 0
                self._tell("", f"{dropped} corrections were not delivered to {type(self._sink).__name__}: too slow")
        self._do(self._sink.ended)

    def _do(self, give: Callable[[], None]) -> None:
        """Give the sink something; that it fails is told once, and the next Episode is given to it too."""
        try:
            give()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends nothing
            if not self._failed:
                self._failed = True
                self._tell("", f"{type(self._sink).__name__} failed: {type(error).__name__}: {error}")
