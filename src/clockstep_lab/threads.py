"""The same thing for several guests at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Each = TypeVar("Each")
Came = TypeVar("Came")


def side_by_side(act: Callable[[Each], Came], each: Sequence[Each], at_once: int | None = None) -> list[Came]:
    """What `act` returns for each, in their order; the first error is raised once all have ended.

    With `at_once`, no more than that many are worked on at a time.
    An interrupt is raised at once: what the others wait for goes away with the lab.
    """
    executor = ThreadPoolExecutor(at_once or max(1, len(each)))
    try:
        under_way = [executor.submit(act, one) for one in each]
        errors = [error for future in under_way if (error := future.exception())]
        if errors:
            raise errors[0]
        return [future.result() for future in under_way]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
