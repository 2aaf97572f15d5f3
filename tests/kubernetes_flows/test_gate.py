"""What the wrong time broke for good in a real cluster, and how it is healed: a webhook's certificate has lapsed."""

import time
from typing import Any

import pytest

from clockstep_lab.kubernetes import gate
from clockstep_lab.kubernetes.api import ApiError
from clockstep_lab.kubernetes.workloads import NAMESPACE
from conftest import Guests, pass_time, until
from flows.commands import all_proven, clockstep

pytestmark = [pytest.mark.full, pytest.mark.kubernetes]

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
LIFE_S = 60
"""Of a certificate; a snapshot of both nodes is taken meanwhile."""
PATIENCE_S = 90


def trouble(guests: Guests) -> str:
    """What keeps the API server from the gate."""
    return gate.trouble(guests.plane.admin, NAMESPACE)


def test_a_webhook_whose_certificate_lapsed_while_its_node_stood_still_is_found_and_healed(kubelets: Guests) -> None:
    api = kubelets.plane.admin
    assert trouble(kubelets) == ""
    gate.has_certificate_of(api, NAMESPACE, LIFE_S)
    until(lambda: gate.is_rolled_out(api, NAMESPACE) and trouble(kubelets) == "", PATIENCE_S)
    began = time.monotonic()
    all_proven(kubelets, clockstep(kubelets, "snapshot", "create", "before", *kubelets.names)["episodes"])
    pass_time(max(0, LIFE_S - (time.monotonic() - began)))

    revert = clockstep(kubelets, "revert", "before", "--yes")
    all_proven(kubelets, revert["episodes"])
    assert "certificate has expired" in trouble(kubelets)
    with pytest.raises(ApiError, match="certificate has expired"):
        api.create(DEPLOYMENTS, gate.gated("shop"))

    report = aftermath(kubelets, code=1)
    (serving,) = (check for check in report["checks"] if check["code"] == "CS-SERVING")
    assert [(broken["on"]["kind"], broken["on"]["name"]) for broken in serving["broken"]] == [("Service", gate.NAME)]
    healed = aftermath(kubelets, "--repair", "--yes", code=0)
    assert {repair["outcome"] for repair in healed["repairs"]} == {"healed"}
    assert [repair["act"]["on"]["name"] for repair in healed["repairs"]] == [gate.NAME]
    assert api.create(DEPLOYMENTS, gate.gated("shop"))["metadata"]["name"] == "shop"


def aftermath(guests: Guests, *words: str, code: int) -> Any:
    """Look for what is broken, in the checks that this server has what it takes for."""
    access = ["--kubeconfig", str(guests.plane.kubeconfig)]
    return clockstep(guests, "aftermath", *access, "--only", "CS-SERVING", *words, code=code)
