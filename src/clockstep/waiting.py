"""Work that nobody has to wait for, and saying that one waits, if that takes longer than a moment."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

MOMENT_S = 1.0
T = TypeVar("T")

Said = tuple[float, Callable[[str, str], None], str, str]


class _Clerk:
    """One thread for all that wait: each of a thousand nodes waits many times, and nearly always for less than that."""

    def __init__(self) -> None:
        self._waiting: dict[object, Said] = {}  # in the order in which they are due
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, said: Said) -> object:
        key = object()
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="waiting", daemon=True)
                self._thread.start()
            self._waiting[key] = said
            if len(self._waiting) == 1:
                self._changed.notify()
        return key

    def remove(self, key: object) -> None:
        with self._changed:
            self._waiting.pop(key, None)

    def _work(self) -> None:
        while True:
            _, tell, node, text = self._next_due()
            with suppress(Exception):  # whom it cannot be told to is no reason to tell nobody
                tell(node, text)

    def _next_due(self) -> Said:
        with self._changed:
            while True:
                key, said = next(iter(self._waiting.items()), (None, None))
                if said is None:
                    self._changed.wait()
                elif (left_s := said[0] - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    del self._waiting[key]
                    return said


_CLERK = _Clerk()


@contextmanager
def said_if_slow(tell: Callable[[str, str], None], node: str, text: str) -> Iterator[None]:
    """Tell `text` of a node if the block has not ended after a second."""
    key = _CLERK.add((time.monotonic() + MOMENT_S, tell, node, text))
    try:
        yield
    finally:
        _CLERK.remove(key)


def begun(job: Callable[[], T]) -> Future[T]:
    """Return what a thread that begins now will answer; nothing waits for a thread that never does."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 - raised where the answer is taken
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
