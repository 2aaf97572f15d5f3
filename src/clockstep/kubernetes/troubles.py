"""What the client raises, as errors of ours: one line, and what to do about it."""

import socket
import ssl
from collections.abc import Iterator

import httpx2
import msgspec
from lightkube import ApiError, ConfigError

from clockstep.errors import KubernetesError

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
NOT_FOUND = 404
LASTING = {400, 401, 403, 404, 405, 409, 410, 422}
"""Answers that will be the same in a moment."""
NOT_YET_VALID, EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h."""
RUNS = "check that it runs, and that the kubeconfig has its address"
CLOCKS = "check this host's clock, and when the certificate was made"
RENEW = (
    "check this host's clock; if that is correct, on the control plane: kubeadm certs renew all, then restart its "
    "static pods; k3s and RKE2 renew it when their service is restarted"
)
CERTIFICATES = "check the certificates of the kubeconfig"
LOGIN = "log in again, or choose another --context"
RIGHTS = "use an account with that right, or grant it: deploy/kubernetes has the roles"
SHORT = "check the network on the way to it, and whether it is overloaded"


def translated(error: Exception, what: str, server: str) -> KubernetesError:
    """Return an error of the client as one of ours; `what` is what was asked for, as `list nodes`."""
    for cause in _causes(error):  # the status is behind a body that makes no sense
        if known := _of_cause(cause, what, server):
            return known
    done = "be reached" if isinstance(error, httpx2.TransportError) else f"be understood, asked to {what}"
    return KubernetesError(f"the API server {server} cannot {done}: {error}", RUNS)


def too_late(what: str, server: str) -> KubernetesError:
    """Return that an answer did not come in time."""
    return KubernetesError(f"the API server {server} did not answer in time, asked to {what}", SHORT)


def _answered(error: httpx2.HTTPStatusError, what: str, server: str) -> KubernetesError:
    code, said = error.response.status_code, (error.status.message or "") if isinstance(error, ApiError) else ""
    text, hint = {
        401: (f"the API server {server} refuses the credentials", LOGIN),
        403: (f"forbidden to {what}", RIGHTS),
    }.get(code, (f"the API server {server} answered {code}, asked to {what}", ""))
    whole = said if code == NOT_FOUND and said else ": ".join(filter(None, (text, said)))
    return KubernetesError(whole, hint, lasting=code in LASTING, status=code)


def _of_cause(cause: BaseException, what: str, server: str) -> KubernetesError | None:
    match cause:
        case httpx2.HTTPStatusError():
            return _answered(cause, what, server)
        case httpx2.TimeoutException():
            return too_late(what, server)
        case ssl.SSLError():
            return _of_tls(cause, server)
        case ConnectionRefusedError():
            return KubernetesError(f"the API server {server} refused the connection", RUNS)
        case socket.gaierror():
            return KubernetesError(f"the API server {server} has no address here: {cause.strerror}", RUNS)
        case _:
            return None


def _of_tls(error: ssl.SSLError, server: str) -> KubernetesError:
    code = getattr(error, "verify_code", 0)
    said = getattr(error, "verify_message", "") or error.reason or str(error)
    if code == NOT_YET_VALID:
        return KubernetesError(f"the certificate of the API server {server} is not yet valid", CLOCKS)
    if code == EXPIRED:
        return KubernetesError(f"the certificate of the API server {server} has expired", RENEW)
    return KubernetesError(
        f"no trusted connection to the API server {server}: {said}", "check the kubeconfig's certificates"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
