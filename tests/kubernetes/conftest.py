"""Real API servers of Kubernetes for tests; each is started once for a test run, in 2 and 7 s, when first asked for.

Fixtures:

- `kubelite` (session): the API machinery of 1.36, as clients of today meet it. It has no kubelets, no controllers, no
  scheduler, no NodeRestriction.
- `control_plane` (session): Kubernetes 1.20.2 whole, for what kubelite lacks: signed tokens, the node authorizer,
  NodeRestriction, controllers, scheduler.
- `cluster`: runs a test on both, each time emptied of Nodes, leases and Events.

All are a `clockstep_lab.kubernetes.cluster.Cluster`:

- `admin`, `api_as(user, *groups)`, `api_with(token)`: clients that share no code with clockstep
  (`clockstep_lab.kubernetes.api.Api`: get, create, replace, patch, delete; an ApiError is a refusal);
- `kubeconfig`: the file of the administrator; `kubeconfig_of(name, by_token(...))` writes one for somebody else;
- `token(namespace, account)`; on 1.20 also `token_for(namespace, account, validity)`, lapsed or not valid yet;
- `kubectl(*words)`: what it printed;
- `with cluster.away():` the API server is away; `with cluster.showing(validity):` its certificate is of that validity.

`kubernetes.objects` has what tests put into a cluster: `add_node`, `renew_lease`, `apply` for manifests, `empty`.
A test takes the two of the session as others have left them, so it names its objects itself or begins with `empty`.

Whatever asks for one of the fixtures has the marker `kubernetes`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from clockstep_lab import lab as labs
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.places import lab_dir
from conftest import quiet

from .objects import empty

Kind = TypeVar("Kind", bound=Cluster)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real API server."""
    for item in items:
        if {"kubelite", "control_plane", "cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kubernetes)


@contextmanager
def started(kind: type[Kind], name: str) -> Iterator[Kind]:
    """A cluster in a folder of its own among the labs', ended with all that is in it."""
    name = f"{name}-{os.getpid()}"
    try:
        with kind(lab_dir(name), quiet) as cluster:
            yield cluster
    finally:
        labs.down(name, quiet)


@pytest.fixture(scope="session")
def kubelite() -> Iterator[Kubelite]:
    """The API of Kubernetes 1.36."""
    with started(Kubelite, "kubelite") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of Kubernetes 1.20."""
    with started(ControlPlane, "kube") as cluster:
        yield cluster


@pytest.fixture(params=["kubelite", "control_plane"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each of both, emptied."""
    found: Cluster = request.getfixturevalue(request.param)
    empty(found)
    return found
