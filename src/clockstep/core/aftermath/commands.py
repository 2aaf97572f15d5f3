"""Commands that a person pastes into a shell: names in them are somebody else's, so each stays one word. Pure.

Kubernetes keeps most names to letters, digits, dashes and dots, but not those of requests for certificates, which any
node may make, and an API server may say anything.
"""

from shlex import quote

from clockstep.model import KubeRef


def named(on: KubeRef) -> str:
    """Return an object's namespace and name, as kubectl takes them."""
    return f"-n {quote(on.namespace)} {quote(on.name)}"


def delete_pod(pod: KubeRef) -> str:
    """Return what deletes a pod."""
    return f"kubectl delete pod {named(pod)}"


def rollout_restart(on: KubeRef) -> str:
    """Return what restarts a workload."""
    return f"kubectl rollout restart -n {quote(on.namespace)} {quote(f'{on.kind.lower()}/{on.name}')}"
