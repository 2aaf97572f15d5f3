"""The requests that clockstep makes of an API server, over lightkube: objects are plain mappings, as JSON has them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from lightkube import Client
from lightkube.core.resource import GlobalResource
from lightkube.types import PatchType

from clockstep.kubernetes.resources import everywhere, namespaced

Object = Mapping[str, Any]

NODE = everywhere("", "v1", "Node")
LEASE = namespaced("coordination.k8s.io", "v1", "Lease")
EVENT = namespaced("", "v1", "Event")
LEASES = "kube-node-lease"
EVENTS = "default"
PAGE = 250
"""Each Node is some 20 KB, and ten times that as Python's objects."""
MOST = 20_000
"""Four times as many Nodes as Kubernetes is made for."""


class Requests:
    """What one account asks; raises what lightkube does. `page` is how many objects are asked for at once."""

    def __init__(self, client: Client, page: int = PAGE) -> None:
        self.client = client
        self._page = page

    def nodes(self) -> Iterator[Object]:
        """Give all Nodes, page by page."""
        return islice(self.client.list(NODE, chunk_size=self._page), MOST)

    def leases(self) -> Iterator[Object]:
        """Give the Leases of all Nodes, page by page."""
        return islice(self.client.list(LEASE, namespace=LEASES, chunk_size=self._page), MOST)

    def all(self, resource: Any, fields: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Give all objects of a kind, of all namespaces if it has such, page by page."""
        where: dict[str, Any] = {} if issubclass(resource, GlobalResource) else {"namespace": "*"}
        yield from self.client.list(resource, chunk_size=self._page, fields=dict(fields or {}), **where)

    def get(self, resource: Any, name: str, namespace: str = "") -> Object:
        """Return an object; without a namespace if its kind has none."""
        found: Object = self.client.get(resource, name, **_where(namespace))
        return found

    def change(
        self, resource: Any, name: str, namespace: str, change: Object, kind: PatchType = PatchType.MERGE
    ) -> None:
        """Patch an object; one with a uid or resourceVersion is refused if that is another's, or has changed."""
        self.client.patch(resource, name, dict(change), patch_type=kind, **_where(namespace))

    def create_below(self, made: Any, name: str, namespace: str) -> None:
        """Create what belongs to an object, as its eviction."""
        self.client.create(made, name, namespace=namespace)

    def create_event_in(self, event: Object, namespace: str) -> None:
        """Create an Event."""
        self.client.create(EVENT(**event), namespace=namespace)

    def create_nothing(self, made: Any, namespace: str) -> None:
        """Have the API server decide on the creation of an object, without creating it."""
        self.client.create(made, namespace=namespace, dry_run=True)

    def node(self, name: str) -> Object:
        """Return a Node."""
        found: Object = self.client.get(NODE, name)
        return found

    def change_node(self, name: str, change: Object) -> None:
        """Merge a change into a Node (RFC 7396); one with a resourceVersion is refused if it has changed since."""
        self.client.patch(NODE, name, dict(change), patch_type=PatchType.MERGE)

    def change_conditions(self, name: str, condition: Object) -> None:
        """Change one of a Node's conditions; they are merged by their type."""
        change = {"status": {"conditions": [condition]}}
        self.client.patch(NODE.Status, name, change, patch_type=PatchType.STRATEGIC)

    def create_event(self, event: Object) -> None:
        """Create an Event."""
        self.client.create(EVENT(**event), namespace=EVENTS)

    def change_event(self, name: str, change: Object) -> None:
        """Merge a change into an Event."""
        self.client.patch(EVENT, name, dict(change), namespace=EVENTS, patch_type=PatchType.MERGE)


def _where(namespace: str) -> dict[str, Any]:
    return {"namespace": namespace} if namespace else {}
