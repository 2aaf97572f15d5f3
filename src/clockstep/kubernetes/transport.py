"""What goes to an API server and what comes back, bounded: an answer that is too long or too late ends with an error.

httpx bounds each wait of its own, and neither the sum of them nor what is read. Answers are asked for in gzip: a list
of a thousand Nodes has 12 MB, in thousands of reads, and after each a thread has to wait for its turn among the others.
"""

import math
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

import httpx2

MOST_BYTES = 64 << 20
"""A page of 250 Nodes with the images that each has comes to some 5 MiB."""
PIECE_BYTES = 1 << 20
UNTIL_S: ContextVar[float] = ContextVar("until_s", default=math.inf)
"""The reading of the monotonic clock until which what runs in this context may take."""


GZIP = zlib.MAX_WBITS | 16


class TooMuchError(httpx2.TransportError):
    """An answer that is longer than any can be."""


class BoundedTransport(httpx2.BaseTransport):
    """An HTTP transport whose answers are bounded in size and time, by way of a proxy if there is one."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None, server_name: str | None) -> None:
        self._inner = httpx2.HTTPTransport(verify=context, proxy=proxy)
        self._server_name = server_name

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its answer, which is read later."""
        _refuse_late()
        request.headers["accept-encoding"] = "gzip"
        if self._server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._server_name}
        response = self._inner.handle_request(request)
        packed = response.headers.pop("content-encoding", "identity")  # httpx unpacks without a bound
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedStream(response.stream, packed)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    """An answer's body, unpacked."""

    def __init__(self, inner: httpx2.SyncByteStream, packed: str) -> None:
        self._inner = inner
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        left = MOST_BYTES
        for chunk in self._unpacked():
            left -= len(chunk)
            if left < 0:
                raise TooMuchError(f"the answer is longer than {MOST_BYTES >> 20} MiB")
            yield chunk

    def _unpacked(self) -> Iterator[bytes]:
        if self._packed == "identity":
            yield from _in_time(self._inner)
        elif self._packed == "gzip":
            yield from _unzipped(_in_time(self._inner))
        else:
            raise httpx2.DecodingError(f"the answer is packed by {self._packed}, which nobody asked for")

    def close(self) -> None:
        self._inner.close()


def _unzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give what was packed, in pieces that are bounded however well that was done."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        for chunk in chunks:
            packed = chunk
            while packed and not unpacker.unused_data:
                yield unpacker.decompress(packed, PIECE_BYTES)
                packed = unpacker.unconsumed_tail
            if unpacker.unused_data:
                raise httpx2.DecodingError("the answer goes on after its end")
    except zlib.error as error:
        raise httpx2.DecodingError(f"the answer cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise httpx2.DecodingError("the answer ends in the middle")


def _in_time(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        _refuse_late()
        yield chunk


def _refuse_late() -> None:
    if time.monotonic() > UNTIL_S.get():
        raise httpx2.ReadTimeout("the time is over")
