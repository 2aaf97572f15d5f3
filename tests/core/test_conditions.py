"""Conditions and cordons that are to go, Node by Node: one that cannot be changed costs no other."""

import pytest

from clockstep.errors import KubernetesError
from clockstep.flows.conditions import each, remove_all_own
from clockstep.model import KubeCondition, KubeNode
from core.kubernetes_simulation import SimulatedKubernetes

OURS = KubeCondition("False", "ClockInBounds", "offset within ± 10 ms (clockstep watch@kvm1)")


class Partial(SimulatedKubernetes):
    """A cluster that fails for one of its Nodes."""

    error = KubernetesError("forbidden to patch nodes/status node-1", lasting=True, status=403)

    def remove_condition(self, node: str) -> None:
        if node == "node-1":
            raise self.error
        super().remove_condition(node)


@pytest.fixture
def cluster() -> Partial:
    return Partial(KubeNode(name, name, "", problem=OURS) for name in ("node-1", "node-2", "node-3"))


def test_one_that_is_refused_is_an_error_and_the_others_go(cluster: Partial) -> None:
    told = list[str]()
    with pytest.raises(KubernetesError, match="node-1"):
        remove_all_own(cluster, "watch@kvm1", told.append)
    assert [name for name, node in cluster.by_name.items() if node.problem] == ["node-1"]
    assert told == ["removed the condition of node-2", "removed the condition of node-3"]


def test_one_whose_node_is_gone_meanwhile_is_no_error(cluster: Partial) -> None:
    cluster.error = KubernetesError('nodes "node-1" not found', lasting=True, status=404)
    remove_all_own(cluster, "watch@kvm1", lambda _text: None)
    assert [name for name, node in cluster.by_name.items() if node.problem] == ["node-1"]


def test_where_nobody_answers_the_others_are_not_tried() -> None:
    tried = list[int]()

    def job(number: int) -> None:
        tried.append(number)
        raise KubernetesError("the API server refused the connection")

    with pytest.raises(KubernetesError):
        each([1, 2, 3], job)
    assert tried == [1]
