"""What the wrong time broke for good in a real cluster, and how it is healed: a webhook's certificate has lapsed."""

import time

import pytest

from clockstep_lab.kubernetes import gate
from clockstep_lab.kubernetes.api import ApiError
from clockstep_lab.kubernetes.workloads import NAMESPACE
from conftest import Guests, pass_time, until
from flows.commands import all_proven, clockstep

pytestmark = [pytest.mark.full, pytest.mark.kubernetes]

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
LIFE_S = 30
"""Of a certificate; a snapshot of both nodes is taken meanwhile."""
PATIENCE_S = 90


def trouble(guests: Guests) -> str:
    """What keeps the API server from the gate."""
    return gate.trouble(guests.plane.admin, NAMESPACE)


def test_a_webhook_whose_certificate_lapsed_while_its_node_stood_still_is_found_and_healed(kubelets: Guests) -> None:
    api = kubelets.plane.admin
    assert trouble(kubelets) == ""
    gate.has_certificate_of(api, NAMESPACE, LIFE_S)
    until(lambda: gate.is_rolled_out(api, NAMESPACE) and gate.refused(api, NAMESPACE) == "", PATIENCE_S)
    began = time.monotonic()
    all_proven(kubelets, clockstep(kubelets, "snapshot", "create", "before", *kubelets.names)["episodes"])
    gate.later_ones_last(api, NAMESPACE, gate.TEN_YEARS_S)
    pass_time(max(0, LIFE_S - (time.monotonic() - began)))

    revert = clockstep(kubelets, "revert", "before", "--yes")
    all_proven(kubelets, revert["episodes"])
    assert "certificate has expired" in gate.refused(api, NAMESPACE)
    with pytest.raises(ApiError, match="certificate has expired"):
        api.create(DEPLOYMENTS, gate.gated("shop"))

    healing = ["--kubeconfig", str(kubelets.plane.kubeconfig), "--aftermath", "--repair"]
    report = clockstep(kubelets, "revert", "before", "--yes", *healing, code=None)
    all_proven(kubelets, report["episodes"])
    states = {check["code"]: check["state"] for check in report["aftermath"]["checks"]}
    assert (states["CS-SERVING"], states["CS-APISERVICE"]) == ("clean", "clean")
    (repair,) = report["aftermath"]["repairs"]
    assert (repair["outcome"], repair["act"]["deed"]) == ("healed", "restart")
    assert (repair["act"]["on"]["kind"], repair["act"]["on"]["name"]) == ("Deployment", gate.NAME)
    assert "certificate has expired" in repair["broken"]["evidence"]
    assert trouble(kubelets) == ""
    assert api.create(DEPLOYMENTS, gate.gated("shop"))["metadata"]["name"] == "shop"
