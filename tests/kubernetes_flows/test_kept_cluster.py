"""A kept cluster: control plane and nodes as one, however long ago it was kept."""

import time
from pathlib import Path

import pytest

from clockstep_lab import lab as labs
from clockstep_lab.errors import LabError
from clockstep_lab.kubernetes.leases import is_ready, renewal
from clockstep_lab.kubernetes.node import NAME
from clockstep_lab.kubernetes.readiness import Working
from clockstep_lab.moments import State
from conftest import quiet
from lab.running import lab

pytestmark = [pytest.mark.full, pytest.mark.kubernetes]

DAY_S = 24 * 3600
AGED = State("aged", older_s=61 * DAY_S)
"""As if it had been kept two months ago: tokens live for ten minutes, leases for forty seconds."""


def test_a_cluster_that_was_kept_two_months_ago_is_up_when_its_tokens_are_valid_again(lab_name: str) -> None:
    began_ns = time.time_ns()
    found = labs.up(lab_name, 1, NAME, quiet, state=AGED)
    assert [machine.warm for machine in found.machines] == [True]
    plane = labs.control_plane(lab_name, quiet)
    assert any(Path(folder).name.startswith("moment-kubernetes-aged-1-") for folder in found.uses)  # prune leaves it
    assert renewal(plane.admin, "node-1").renewed_ns > began_ns
    assert Working(plane.admin, found.folder, found.machines, began_ns).missing() == ""

    assert labs.up(lab_name, 1, None, quiet) == found
    with pytest.raises(LabError, match="gets no more nodes"):
        labs.up(lab_name, 2, None, quiet)
    assert lab("kubectl", "--name", lab_name, "--", "get", "nodes", "--output", "name").stdout == "node/node-1\n"
    assert lab("kubeconfig", "--name", lab_name).stdout == f"{plane.kubeconfig}\n"
    assert f"{lab_name}\t{NAME}\tnode-1\trestored\n" in lab("list").stdout
    plane.stop()
    labs.up(lab_name, 1, None, quiet)
    assert is_ready(plane.admin, "node-1")


def test_a_lab_without_kubernetes_says_so(lab_name: str) -> None:
    labs.up(lab_name, 1, None, quiet)
    refused = lab("kubectl", "--name", lab_name, "--", "get", "nodes")
    assert refused.returncode == 1
    assert f"lab {lab_name} has no Kubernetes" in refused.stderr
