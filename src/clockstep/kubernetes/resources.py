"""The kinds of objects that clockstep asks for, as lightkube wants them: each made once, since it registers them."""

from functools import cache
from typing import Any

from lightkube.core import resource
from lightkube.generic_resource import Generic, create_global_resource, create_namespaced_resource

POD = resource.ResourceDef("", "v1", "Pod")
REQUEST = resource.ResourceDef("certificates.k8s.io", "v1", "CertificateSigningRequest")


@cache
def namespaced(group: str, version: str, kind: str) -> Any:
    """Return a kind whose objects are in namespaces; its plural has an s."""
    return create_namespaced_resource(group, version, kind, f"{kind.lower()}s")


@cache
def everywhere(group: str, version: str, kind: str, ending: str = "s") -> Any:
    """Return a kind whose objects are in no namespace; its plural has this ending."""
    return create_global_resource(group, version, kind, f"{kind.lower()}{ending}")


class Eviction(resource.NamespacedSubResource, Generic):  # type: ignore[misc]  # as lightkube's own are
    """A pod's eviction."""

    _api_info = resource.ApiInfo(
        resource=resource.ResourceDef("policy", "v1", "Eviction"),
        parent=POD,
        plural="pods",
        verbs=["post"],
        action="eviction",
    )


class Approval(resource.GlobalSubResource, Generic):  # type: ignore[misc]
    """The approval of a request for a certificate."""

    _api_info = resource.ApiInfo(
        resource=REQUEST, parent=REQUEST, plural="certificatesigningrequests", verbs=["patch"], action="approval"
    )
