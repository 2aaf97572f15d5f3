"""What time is compared with."""

from typing import NamedTuple, Protocol

from clockstep.model import HostClock, Offset


class Instant(NamedTuple):
    """A time since 1970, which may be off by `error_ns` either way from what the reference means to say."""

    at_ns: int
    error_ns: int = 0


class Reference(Protocol):
    """The clock that nodes are compared with and corrected to."""

    name: str
    """What a reading that was taken against it says."""

    def now(self) -> Instant:
        """Return the time."""

    def anchor(self) -> Offset:
        """Return where it is against the monotonic clock, for `moved_since`."""

    def moved_since(self, anchor: Offset) -> int:
        """Return by how many nanoseconds it was set since an anchor was taken; 0 where it was not."""

    def quality(self) -> HostClock:
        """Return whether it is synchronised, and its bound against UTC."""
