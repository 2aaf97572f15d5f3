"""What a user is known by; a program of the kubeconfig may give it, a credential plugin.

We run it ourselves: lightkube knows no API version v1, no time limit and no expiry. The protocol is
kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from subprocess import TimeoutExpired
from typing import Any

from clockstep.core.foreign import understood
from clockstep.errors import KubernetesError
from clockstep.host.programs import output
from clockstep.kubernetes.contexts import Target
from clockstep.kubernetes.times import moment_ns

WITHIN_S = 10
GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
"""v1alpha1 left Kubernetes with 1.24."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a plugin gives, as entries of a kubeconfig's user; it counts until `until_ns` since 1970, None for ever."""

    user: Mapping[str, str] = field(default_factory=dict)
    until_ns: int | None = None

    def expired(self, now_ns: int) -> bool:
        """Whether their time is over."""
        return self.until_ns is not None and now_ns >= self.until_ns


def from_plugin(target: Target, environ: Mapping[str, str], within_s: float = WITHIN_S) -> Credentials:
    """Return what the plugin of a user gives. Raises KubernetesError where it gives nothing in time."""
    try:
        plugin = _Plugin.of(target.user["exec"])
    except (LookupError, TypeError, AttributeError) as error:
        text = f"the context {target.context!r} has a credential plugin that cannot be read"
        raise KubernetesError(text, _HINT, lasting=True) from error
    if plugin.version not in VERSIONS:
        text = f"the credential plugin {plugin.command} is of version {plugin.version!r}"
        raise KubernetesError(text, f"clockstep runs those of {' and '.join(VERSIONS)}", lasting=True)
    found = understood(partial(_read, plugin.version), plugin.output(target, environ, within_s))
    if found is None:
        text = f"the credential plugin {plugin.command} printed no ExecCredential of {plugin.version}"
        raise KubernetesError(text, _HINT)
    return found


_HINT = "kubectl with the same --kubeconfig and --context says more"


@dataclass(frozen=True, slots=True)
class _Plugin:
    version: str
    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cluster_too: bool
    hint: str

    @classmethod
    def of(cls, found: Any) -> "_Plugin":
        """Return the plugin of a user's `exec`. Raises LookupError, TypeError or AttributeError for what is none."""
        arguments, variables = found.get("args") or [], found.get("env") or []
        environment = {one["name"]: one["value"] for one in variables}
        if not all(isinstance(one, str) for one in (found["command"], *arguments, *environment, *environment.values())):
            raise TypeError("not a text")
        cluster_too, hint = found.get("provideClusterInfo") is True, str(found.get("installHint") or _HINT)
        return cls(str(found.get("apiVersion")), found["command"], tuple(arguments), environment, cluster_too, hint)

    def output(self, target: Target, environ: Mapping[str, str], within_s: float) -> str:
        """Return what the plugin prints. Raises KubernetesError if it fails, or takes too long."""
        environment = {**environ, **self.environment, "KUBERNETES_EXEC_INFO": self._info(target)}
        try:
            done = output([self.command, *self.arguments], within_s, environment=environment)
        except FileNotFoundError as error:
            raise KubernetesError(f"there is no credential plugin {self.command}", self.hint, lasting=True) from error
        except TimeoutExpired as error:
            text = f"the credential plugin {self.command} did not end within {within_s:g} s"
            raise KubernetesError(text, _HINT) from error
        except (OSError, ValueError) as error:
            raise KubernetesError(f"the credential plugin {self.command} failed: {error}", _HINT) from error
        if done.returncode:
            code = done.returncode
            said = done.stderr.strip().rpartition("\n")[2] or (f"exit code {code}" if code > 0 else f"signal {-code}")
            raise KubernetesError(f"the credential plugin {self.command} failed: {said}", _HINT)
        return done.stdout

    def _info(self, target: Target) -> str:
        """Return what a plugin is given to know of its caller: that nobody can answer, and the cluster if it asks."""
        spec = {"interactive": False} | ({"cluster": _cluster(target)} if self.cluster_too else {})
        return json.dumps({"apiVersion": self.version, "kind": "ExecCredential", "spec": spec})


def _cluster(target: Target) -> dict[str, Any]:
    keys = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    return {key: target.cluster[key] for key in keys if key in target.cluster}


def _read(version: str, text: str) -> Credentials | None:
    """Return what an ExecCredential gives; None for one of another version, and where it gives nothing."""
    found = json.loads(text)
    if found.get("kind") != "ExecCredential" or found.get("apiVersion") != version:
        return None
    status = found["status"]
    user = {"token": str(status["token"])} if status.get("token") else {}
    if status.get("clientCertificateData"):
        user["client-certificate-data"] = _encoded(status["clientCertificateData"])
        user["client-key-data"] = _encoded(status["clientKeyData"])
    if not user:
        return None
    ends = status.get("expirationTimestamp")
    return Credentials(user, moment_ns(ends) if ends else None)


def _encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
