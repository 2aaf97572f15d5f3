"""What the client raises, as errors of ours."""

from collections.abc import Iterator

import httpx2
import msgspec
from lightkube import ApiError, ConfigError

from clockstep.errors import KubernetesError
from clockstep.kubernetes.refusals import answered, not_reached, not_understood, too_late, unreached

RAISED = (
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    msgspec.MsgspecError,
    ConfigError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What lightkube and httpx raise, on answers that make no sense too."""


def translated(error: Exception, what: str, server: str) -> KubernetesError:
    """Return an error of the client as one of ours; `what` is what was asked for, as `list nodes`."""
    for cause in _causes(error):  # the status is behind a body that makes no sense
        if known := _of_cause(cause, what, server):
            return known
    if isinstance(error, httpx2.TransportError):
        return not_reached(error, server)
    return not_understood(error, what, server)


def _of_cause(cause: BaseException, what: str, server: str) -> KubernetesError | None:
    match cause:
        case httpx2.HTTPStatusError():
            said = (cause.status.message or "") if isinstance(cause, ApiError) else ""
            return answered(cause.response.status_code, said, what, server)
        case httpx2.TimeoutException():
            return too_late(what, server)
        case _:
            return unreached(cause, server)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
