"""Times as Kubernetes writes them: RFC 3339, in whole seconds (`Time`) or with six decimals (`MicroTime`)."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_ns(text: str) -> int:
    """Return nanoseconds since 1970. Raises ValueError for what is no time, or one without a time zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a time zone")
    return (found - EPOCH) // timedelta(microseconds=1) * 1_000


def text_of(at_ns: int) -> str:
    """Return a moment in whole seconds, as of `metav1.Time`."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
