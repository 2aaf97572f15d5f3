"""Saying that one waits, if that takes longer than a moment."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOMENT_S = 1.0


@contextmanager
def said_if_slow(tell: Callable[[str, str], None], node: str, text: str) -> Iterator[None]:
    """Tell `text` of a node if the block has not ended after a second."""
    timer = threading.Timer(MOMENT_S, tell, (node, text))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
