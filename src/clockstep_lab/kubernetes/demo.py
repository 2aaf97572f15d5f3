"""The demo on Kubernetes: nodes that say Ready with leases minutes old, and a webhook whose certificate has lapsed.

Then clockstep corrects the clocks, and heals what they broke.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click

from clockstep_lab.cli import run_command
from clockstep_lab.demo import (
    SNAPSHOT,
    Stage,
    await_sync,
    bare_revert,
    fetch,
    learn_tolerances,
    perform,
    seconds,
    verdicts,
)
from clockstep_lab.errors import LabError
from clockstep_lab.tls import Server

from . import gate
from .api import Api, ApiError
from .control_plane import ControlPlane
from .leases import SECOND_NS, is_ready, renewal
from .node import NAME
from .readiness import PODS
from .workloads import NAMESPACE, STAMPER

NODES = 2
RENEWED_S, FRESH_S, ROLLED_OUT_S = 60, 60, 120
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
LEASE_NS = 40 * SECOND_NS
"""How long a lease holds: a node whose lease is older is taken for lost (node-monitor-grace-period)."""


@dataclass(frozen=True)
class Said:
    """What the API server says of a node, and how old its lease is by this machine's clock, in ns."""

    name: str
    ready: bool
    lease_age_ns: int


def play(stage: Stage, away_s: float) -> dict[str, Any]:
    """Play all acts and return what `--json` prints."""
    plane = ControlPlane(stage.lab.folder, lambda _: None)
    stage.tell("-- Two real kubelets in guests, with pods; their control plane runs on this host. A snapshot is taken.")
    await_sync(stage)
    stage.tell(f"   A webhook in a pod gets a certificate that is valid for {away_s:g} seconds.")
    gate.has_certificate_of(plane.admin, NAMESPACE, int(away_s))
    _await(lambda: gate.is_rolled_out(plane.admin, NAMESPACE), ROLLED_OUT_S, "the webhook's pod does not start")
    stage.clockstep("snapshot", "create", SNAPSHOT, "--all")
    gate.later_ones_last(plane.admin, NAMESPACE, gate.TEN_YEARS_S)
    before = _started(plane.admin)
    stage.tell(f"\n-- {away_s:g} seconds pass; a web server gets a new certificate.")
    learn_tolerances(stage, away_s)
    with Server(stage.lab.folder) as server:
        bare_revert(stage)
        stage.tell("\n-- What the cluster says:")
        stale = _after_renewal(stage, plane)
        stage.tell("\n-- What breaks:")
        tls_before = fetch(stage, stage.names[0], server)
        refused = _create(stage, plane.admin)
        stage.tell("\n-- What clockstep does:")
        stage.before_a_revert()
        access = ["--kubeconfig", str(plane.kubeconfig)]
        report = stage.clockstep("revert", SNAPSHOT, "--yes", *access, "--aftermath", "--repair")
        admitted = _create(stage, plane.admin)  # before the new certificate, which lives as long as the old one, lapses
        fresh_within_ns = _await_fresh(stage, plane.admin)
        fresh = _show(stage, plane)
        restarted = _started(plane.admin) != before
        stage.tell(f"   restarted pods, but for the webhook's: {'some' if restarted else 'none'}")
        tls_after = fetch(stage, stage.names[0], server)
    return {
        "nodes": [asdict(node) for node in verdicts(stage, report)],
        "cluster": {"before": [asdict(said) for said in stale], "after": [asdict(said) for said in fresh]},
        "fresh_within_ns": fresh_within_ns,
        "pods_restarted": restarted,
        "tls": {"before": tls_before, "after": tls_after},
        "admission": {"before": refused, "after": admitted},
    }


def _after_renewal(stage: Stage, plane: ControlPlane) -> list[Said]:
    """What is said once every node has renewed its lease by its own clock, and says Ready."""
    seen = {name: renewal(plane.admin, name).version for name in stage.names}

    def said_again() -> bool:
        renewed = all(renewal(plane.admin, name).version != seen[name] for name in stage.names)
        return renewed and all(is_ready(plane.admin, name) for name in stage.names)

    _await(said_again, RENEWED_S, "the reverted kubelets did not renew their leases")
    return _show(stage, plane)


def _await_fresh(stage: Stage, api: Api) -> int:
    """Wait until all leases are fresh by this machine's clock; how long that took, in ns."""
    began_ns = time.monotonic_ns()

    def fresh() -> bool:
        return all(renewal(api, name).age_ns() < LEASE_NS // 2 for name in stage.names)

    _await(fresh, FRESH_S, "the leases did not become fresh")
    return time.monotonic_ns() - began_ns


def _show(stage: Stage, plane: ControlPlane) -> list[Said]:
    """Show what kubectl says of the nodes, and their leases' true age."""
    stage.tell("$ kubectl get nodes")
    stage.tell(plane.kubectl("get", "nodes").rstrip())
    said = [Said(name, is_ready(plane.admin, name), renewal(plane.admin, name).age_ns()) for name in stage.names]
    for node in said:
        stage.tell(f"   {node.name}: lease renewed {seconds(node.lease_age_ns)} ago, by this host's clock")
    return said


def _create(stage: Stage, api: Api) -> str:
    """What the API server says to a Deployment which its webhook has to admit."""
    stage.tell("$ kubectl create -f shop.yaml")
    try:
        api.create(DEPLOYMENTS, gate.gated("shop"))
        said = "deployment.apps/shop created"
    except ApiError as error:
        said = str(error)
    stage.tell(said)
    return said


def _started(api: Api) -> dict[str, str]:
    """The container of each pod that stamps: another one after a restart."""
    pods = api.get(f"{PODS}?labelSelector=app={STAMPER}")["items"]
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in pods}


def _await(condition: Callable[[], bool], limit_s: float, otherwise: str) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise LabError(otherwise)
        time.sleep(0.1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; the story goes to stderr.")
@click.option("--away", default=120.0, show_default=True, metavar="SECONDS", help="Age of the snapshot at its revert.")
def demo(as_json: bool, away: float) -> None:
    """Revert the nodes of a Kubernetes cluster, see what it says and what breaks, and see clockstep mend it."""
    perform(NAME, NODES, partial(play, away_s=away), as_json=as_json)


if __name__ == "__main__":
    run_command(demo, "script/demo --kubernetes")
