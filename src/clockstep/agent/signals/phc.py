"""The hypervisor's clock against CLOCK_REALTIME: the one test that needs no help of the hypervisor's."""

from collections.abc import Callable

from clockstep.errors import ReachError
from clockstep.model import Happening, Offset, What


class PhcSignal:
    """`compare` returns this machine's clock minus the PHC, and raises ReachError.

    It is a happening that the clock is beyond the threshold, once, and again at each jump from one look to the next. As
    long as it is not known whether the PHC counts UTC or TAI (`scaled`) only jumps count.
    """

    name = "phc"
    sees = "reverts, restores, pauses, migrations and steps by others, as soon as the clock is off"
    blind = "a hypervisor whose own clock is wrong"

    def __init__(self, compare: Callable[[], Offset], scaled: Callable[[], bool], threshold_ns: int) -> None:
        self._compare = compare
        self._scaled = scaled
        self._threshold_ns = threshold_ns
        self._last: Offset | None = None
        self._told = False
        self.trouble = ""

    def wakes(self) -> int | None:
        """Return nothing: it is compared in every tick."""
        return None

    def check(self, now_ns: int) -> Happening | None:
        """Compare once."""
        try:
            offset = self._compare()
        except ReachError as error:
            self.trouble, self._last = error.message, None
            return None
        self.trouble = ""
        jumped, self._last = self._jumped(offset), offset
        beyond = offset.surely_beyond(self._threshold_ns)
        tell = (jumped and (beyond or not self._scaled())) or (beyond and self._scaled() and not self._told)
        self._told = beyond and (self._told or tell)
        return Happening("", What.DIVERGED, now_ns) if tell else None

    def _jumped(self, offset: Offset) -> bool:
        if self._last is None:
            return False
        moved = Offset(offset.value_ns - self._last.value_ns, offset.error_ns + self._last.error_ns)
        return moved.surely_beyond(self._threshold_ns)

    def close(self) -> None:
        """Let go of nothing: the PHC is whoever compares with it's."""
