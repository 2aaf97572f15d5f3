"""What goes to an API server and what comes back, bounded: an answer that is too long or too late ends with an error.

httpx bounds each wait of its own, and neither the sum of them nor what is read.
"""

import math
import ssl
import time
from collections.abc import Iterator
from contextvars import ContextVar

import httpx2

MOST_BYTES = 64 << 20
"""A page of 250 Nodes with the images that each has comes to some 5 MiB."""
UNTIL_S: ContextVar[float] = ContextVar("until_s", default=math.inf)
"""The reading of the monotonic clock until which what runs in this context may take."""


class TooMuchError(httpx2.TransportError):
    """An answer that is longer than any can be, or may be."""


class BoundedTransport(httpx2.BaseTransport):
    """An HTTP transport whose answers are bounded in size and time, by way of a proxy if there is one."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None, server_name: str | None) -> None:
        self._inner = httpx2.HTTPTransport(verify=context, proxy=proxy)
        self._server_name = server_name

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its answer, which is read later."""
        _refuse_late()
        request.headers["accept-encoding"] = "identity"  # so what is read is as long as what it unpacks to
        if self._server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._server_name}
        response = self._inner.handle_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise TooMuchError("the answer is compressed, which nobody asked for")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedStream(response.stream)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for chunk in self._inner:
            total += len(chunk)
            if total > MOST_BYTES:
                raise TooMuchError(f"the answer is longer than {MOST_BYTES >> 20} MiB")
            _refuse_late()
            yield chunk

    def close(self) -> None:
        self._inner.close()


def _refuse_late() -> None:
    if time.monotonic() > UNTIL_S.get():
        raise httpx2.ReadTimeout("the time is over")
