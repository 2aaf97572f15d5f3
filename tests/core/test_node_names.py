"""Machines that are named by the names and labels of their Nodes."""

import pytest

from clockstep.core.labels import parse_selector
from clockstep.core.node_names import NodeNames, look_up
from clockstep.core.selection import Cluster, Wanted, is_chosen, matched, refuse_contradiction, select, unknown
from clockstep.errors import UsageError
from clockstep.model import Guest, KubeNode, Selection

UUIDS = [f"{number}1111111-2222-4333-8444-555555555555" for number in range(1, 5)]
VM1, VM2, SAME = (Guest(name, uuid, "running") for name, uuid in zip(("vm-1", "vm-2", "worker-3"), UUIDS, strict=False))
EVERYONE = [VM1, VM2, SAME]
NODES = [
    KubeNode("control", "1", UUIDS[0], labels=(("tier", "db"),)),
    KubeNode("far", "4", UUIDS[3], labels=(("tier", "db"), ("place", "far"))),
    KubeNode("worker-2", "2", UUIDS[1], labels=(("tier", "web"),)),
    KubeNode("worker-3", "3", UUIDS[0][::-1]),
]


def known(wanted: Wanted) -> Wanted:
    names = look_up(unknown(EVERYONE, wanted), wanted.selector, EVERYONE, NODES)
    return Wanted(
        wanted.names, cluster=wanted.cluster, excluded=wanted.excluded, selector=wanted.selector, node_names=names
    )


def chosen(wanted: Wanted) -> dict[str, str]:
    return {one.guest.name: one.why for one in select(EVERYONE, known(wanted), changing=True).nodes}


def labelled(text: str) -> Wanted:
    return Wanted(selector=parse_selector(text))


def test_a_node_is_named_by_its_name_or_a_glob_of_it() -> None:
    assert chosen(Wanted(("control",))) == {"vm-1": "its Node is control"}
    assert chosen(Wanted(("contr*", "vm-2"))) == {"vm-1": "its Node is control", "vm-2": "named"}
    assert chosen(Wanted(cluster=Cluster("c", "f", ("worker-2",)))) == {"vm-2": "its Node is worker-2"}


def test_the_name_of_a_machine_counts_before_that_of_a_node() -> None:
    assert unknown(EVERYONE, Wanted(("worker-3", "worker-*", "control"), excluded=("w*", "x"))) == ("control", "x")
    assert chosen(Wanted(("worker-3",))) == {"worker-3": "named"}
    assert chosen(Wanted(("worker-*",))) == {"worker-3": "matches worker-*"}


def test_a_node_is_left_out_by_its_name_too() -> None:
    assert chosen(Wanted(("vm-*",), excluded=("control",))) == {"vm-2": "matches vm-*"}


def test_nodes_are_selected_by_their_labels_and_those_without_a_machine_are_said() -> None:
    wanted = known(labelled("tier=db"))
    assert [one.guest.name for one in select(EVERYONE, wanted, changing=True).nodes] == ["vm-1"]
    assert wanted.node_names.left_out(wanted.chosen) == ("far",)
    assert chosen(labelled("tier in (db,web)")).keys() == {"vm-1", "vm-2"}


@pytest.mark.parametrize(
    ("wanted", "text", "hint"),
    [
        (Wanted(("far",)), "no machine here is known to be the Node far", "clockstep nodes"),
        (Wanted(("worker-4",)), "there is no node 'worker-4'", "did you mean worker-3 or worker-2?"),
        (Wanted(("vm-1",), excluded=("far",)), "the Node far, which --exclude names", "clockstep nodes"),
        (labelled("tier=cache"), "no Node has the labels 'tier=cache'", "kubectl get nodes --show-labels"),
        (labelled("place"), "no machine here is known to be the Node far", "clockstep nodes"),
    ],
)
def test_what_means_no_machine_is_an_error_that_says_why(wanted: Wanted, text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        select(EVERYONE, known(wanted), changing=False)
    assert hint in caught.value.hint
    assert not known(wanted).node_names.left_out(wanted.chosen)


def test_a_machine_that_is_called_like_a_label_is_not_meant_by_it() -> None:
    tier = Guest("tier", UUIDS[3], "running")
    wanted = labelled("tier")
    assert unknown([tier], wanted) == ()
    found = look_up((), wanted.selector, [tier, VM1], NODES[:1])
    selected = select([tier, VM1], Wanted(selector=wanted.selector, node_names=found), changing=True)
    assert [one.guest for one in selected.nodes] == [VM1]


def test_the_watcher_knows_machines_by_their_nodes_too() -> None:
    wanted = known(Wanted(("control", "vm-2")))
    assert [guest for guest in EVERYONE if is_chosen(guest, wanted)] == [VM1, VM2]
    assert matched(EVERYONE, wanted) == {"control", "vm-2"}
    assert [guest for guest in EVERYONE if is_chosen(guest, known(labelled("tier=db")))] == [VM1]


def test_labels_name_nodes_alone() -> None:
    for names, everything in ((("vm-1",), False), ((), True)):
        with pytest.raises(UsageError, match="exclude each other"):
            refuse_contradiction(Wanted(names, everything, selector=parse_selector("a")))


def test_without_a_cluster_nothing_changes() -> None:
    found: Selection = select(EVERYONE, Wanted(("vm-1",)), changing=True)
    assert NodeNames().left_out(("vm-1",)) == ()
    assert [one.why for one in found.nodes] == ["named"]
