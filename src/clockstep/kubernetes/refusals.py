"""What an API server refuses, and why it is not reached: a line with a hint. The standard library alone."""

import socket
import ssl

from clockstep.errors import KubernetesError

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
LOGIN = "log in again, or choose another --context"
RIGHTS = "use an account with that right, or grant it: deploy/kubernetes has the roles"
SHORT = "check the network on the way to it, and whether it is overloaded"


def too_late(what: str, server: str) -> KubernetesError:
    """Return that an answer did not come in time."""
    return KubernetesError(f"the API server {server} did not answer in time, asked to {what}", SHORT)


def answered(code: int, said: str, what: str, server: str) -> KubernetesError:
    """Return an answer that is none to `what` was asked for: its HTTP status, and what the server says to it."""
    text, hint = {
        401: (f"the API server {server} refuses the credentials", LOGIN),
        403: (f"forbidden to {what}", RIGHTS),
    }.get(code, (f"the API server {server} answered {code}, asked to {what}", ""))
    whole = said if code == NOT_FOUND and said else ": ".join(filter(None, (text, said)))
    return KubernetesError(whole, hint, lasting=code in LASTING, status=code)


def unreached(cause: BaseException, server: str) -> KubernetesError | None:
    """Return why a server could not be reached, by what the system raises; None for what says nothing of that."""
    match cause:
        case ssl.SSLError():
            return _of_tls(cause, server)
        case ConnectionRefusedError():
            return KubernetesError(f"the API server {server} refused the connection", RUNS)
        case socket.gaierror():
            return KubernetesError(f"the API server {server} has no address here: {cause.strerror}", RUNS)
        case _:
            return None


def not_understood(error: BaseException, what: str, server: str) -> KubernetesError:
    """Return that an answer makes no sense."""
    return KubernetesError(f"the API server {server} cannot be understood, asked to {what}: {error}", RUNS)


def not_reached(error: BaseException, server: str) -> KubernetesError:
    """Return that there was no answer, for a reason that has no sentence of its own."""
    return KubernetesError(f"the API server {server} cannot be reached: {error}", RUNS)


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
