"""Which machines a command is about, and in whose word."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.selection import Cluster, Project, Wanted, addresses, is_chosen, refuse_contradiction, select
from clockstep.errors import UsageError
from clockstep.machines.several import named
from clockstep.model import Choice, Guest, Selection

HERE, THERE = "qemu:///system", "qemu+ssh://b/system"
NODE1, NODE2 = Guest("node-1", "u1", "running"), Guest("node-2", "u2", "shut off")
WEB = Guest("web", "u3", "running")
ALL = [NODE1, NODE2, WEB]
CLUSTER = Cluster("prod", "clockstep.toml", ("node-*",), (THERE,))
PROJECT = Project("/home/p", (("web", "U3"),), (HERE,))
GUESTS = st.lists(
    st.builds(
        Guest, st.text("ab1-", min_size=1, max_size=4), st.uuids().map(str), st.sampled_from(["running", "paused"])
    ),
    unique_by=lambda guest: guest.name,
    max_size=6,
)
WANTED = st.builds(
    Wanted,
    st.lists(st.text("ab1-*", min_size=1, max_size=4), max_size=2).map(tuple),
    st.booleans(),
    cluster=st.none() | st.just(Cluster("c", "f", ("a*",))),
)


def names(selection: Selection) -> list[str]:
    return [one.guest.name for one in selection.nodes]


@given(GUESTS, WANTED, st.booleans())
def test_whatever_is_chosen_is_there_each_once_and_meant(guests: list[Guest], wanted: Wanted, changing: bool) -> None:
    try:
        selection = select(guests, wanted, changing=changing)
    except UsageError as error:
        assert error.message
        return
    chosen = [one.guest for one in selection.nodes]
    assert chosen == [guest for guest in guests if guest in chosen]
    assert chosen
    assert all(one.why for one in selection.nodes)
    patterns = wanted.names or ((() if wanted.everything else wanted.cluster and wanted.cluster.nodes) or ())
    meant = [g for g in guests if any(fnmatchcase(g.name, p) for p in patterns)] if patterns else None
    assert chosen == (meant if meant is not None else [guest for guest in guests if guest.state == "running"])


@given(GUESTS)
def test_nothing_is_changed_by_leaving_something_out(guests: list[Guest]) -> None:
    with pytest.raises(UsageError, match="no nodes specified"):
        select(guests, Wanted(), changing=True)


@given(GUESTS, WANTED)
def test_what_may_be_changed_is_what_is_shown(guests: list[Guest], wanted: Wanted) -> None:
    try:
        changed = select(guests, wanted, changing=True)
    except UsageError:
        return
    assert changed == select(guests, wanted, changing=False)


@pytest.mark.parametrize(
    ("wanted", "choice", "chosen"),
    [
        (Wanted(("web",), cluster=CLUSTER, project=PROJECT), Choice.ARGUMENTS, ["web"]),
        (Wanted(everything=True, cluster=CLUSTER, project=PROJECT), Choice.ARGUMENTS, ["node-1", "web"]),
        (Wanted(cluster=CLUSTER, project=PROJECT), Choice.CONFIGURATION, ["node-1", "node-2"]),
        (Wanted(cluster=Cluster("p", "f", ("web",), asked=True)), Choice.CLUSTER, ["web"]),
        (Wanted(project=PROJECT), Choice.VAGRANT, ["web"]),
        (Wanted(), Choice.RUNNING, ["node-1", "web"]),
    ],
)
def test_the_arguments_go_before_a_cluster_before_vagrant_before_what_runs(
    wanted: Wanted, choice: Choice, chosen: list[str]
) -> None:
    selection = select(ALL, wanted, changing=False)
    assert (selection.choice, names(selection)) == (choice, chosen)


def test_every_node_comes_with_the_reason_why_it_is_in() -> None:
    selection = select(ALL, Wanted(("web", "node-*")), changing=True)
    assert [one.why for one in selection.nodes] == ["matches node-*", "matches node-*", "named"]
    (web,) = select(ALL, Wanted(project=PROJECT), changing=True).nodes
    assert web.why == "Vagrant's machine web"


def test_a_name_with_a_globs_characters_means_itself() -> None:
    odd = Guest("web@test+tcp://[::1]/x", "u9", "running")
    assert names(select([odd, WEB], Wanted((odd.name,)), changing=True)) == [odd.name]


def test_an_unknown_name_comes_with_those_that_are_close() -> None:
    with pytest.raises(UsageError, match=r"there is no node 'nod-1'$") as caught:
        select(ALL, Wanted(("node-2", "nod-1")), changing=False)
    assert caught.value.hint == "did you mean node-1 or node-2?"


def test_an_unknown_name_that_is_close_to_none_comes_with_some_of_those_there_are() -> None:
    many = [Guest(f"node-{number}", str(number), "running") for number in range(12)]
    with pytest.raises(UsageError) as caught:
        select(many, Wanted(("zzz",)), changing=False)
    assert caught.value.hint.startswith("there are: node-0, ")
    assert caught.value.hint.endswith("node-9 and 2 more")
    with pytest.raises(UsageError) as caught:
        select([], Wanted(("zzz",)), changing=False)
    assert caught.value.hint == "there are: none at all"


def test_a_clusters_glob_that_means_nothing_is_named_with_its_file() -> None:
    with pytest.raises(UsageError, match=r"'db\*', which \[cluster.prod\] of clockstep.toml names"):
        select(ALL, Wanted(cluster=Cluster("prod", "clockstep.toml", ("web", "db*"))), changing=False)


def test_a_vagrant_machine_whose_domain_is_gone_is_named() -> None:
    project = Project("/home/p", (("web", "u3"), ("db", "u7")))
    with pytest.raises(UsageError, match=r"Vagrant's machine db is not here \(project /home/p\)") as caught:
        select(ALL, Wanted(project=project), changing=False)
    assert "--connect" in caught.value.hint


def test_a_name_that_two_connections_have_is_not_guessed() -> None:
    guests = [Guest(f"web@{at}", uuid, "running", at) for at, uuid in ((HERE, "u1"), (THERE, "u2"))]
    with pytest.raises(UsageError, match="more than one connection has a node 'web'") as caught:
        select(guests, Wanted(("web",)), changing=False)
    assert caught.value.hint == f"use web@{HERE} or web@{THERE}"
    assert names(select(guests, Wanted((f"web@{THERE}",)), changing=True)) == [f"web@{THERE}"]


def test_one_machine_by_two_connections_is_looked_at_and_not_changed() -> None:
    guests = [Guest(f"web@{at}", "u1", "running", at) for at in (HERE, THERE)]
    assert len(select(guests, Wanted(("web@*",)), changing=False).nodes) == 2
    with pytest.raises(UsageError, match="are the same machine"):
        select(guests, Wanted(("web@*",)), changing=True)


def test_where_nothing_runs_that_is_said() -> None:
    with pytest.raises(UsageError, match="no node is running"):
        select([NODE2], Wanted(), changing=False)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(("web",), True), "exclude each other"),
        (Wanted(everything=True, cluster=Cluster("prod", "f", ("*",), asked=True)), "more than the cluster 'prod'"),
    ],
)
def test_all_and_something_less_contradict_each_other(wanted: Wanted, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        refuse_contradiction(wanted)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (Wanted(connect=(HERE, THERE, HERE), cluster=CLUSTER), (HERE, THERE)),
        (Wanted(("web",), cluster=CLUSTER, project=PROJECT), (THERE,)),
        (Wanted(cluster=Cluster("c", "f", ("*",))), ("",)),
        (Wanted(("web",), project=PROJECT), (HERE,)),
        (Wanted(), ("",)),
    ],
)
def test_connect_goes_before_the_clusters_address_before_vagrants(wanted: Wanted, there: tuple[str, ...]) -> None:
    assert addresses(wanted) == there


def test_a_machine_that_another_connection_has_too_is_still_meant_by_its_name() -> None:
    there = [Guest("web-1", "uuid-1", "running", "qemu+ssh://a/system")]
    (renamed,) = named(there, [*there, Guest("web-1", "uuid-1", "running", "qemu+ssh://b/system")], {})
    assert is_chosen(renamed, Wanted(("web-1",)))


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (Wanted(("node-*", "web"), excluded=("node-1",)), ["node-2", "web"]),
        (Wanted(everything=True, excluded=("n*",)), ["web"]),
        (Wanted(cluster=CLUSTER, excluded=("*-2", "web")), ["node-1"]),
        (Wanted(excluded=("web",)), ["node-1"]),
    ],
)
def test_what_is_excluded_is_not_meant_whatever_else_names_it(wanted: Wanted, left: list[str]) -> None:
    assert names(select(ALL, wanted, changing=False)) == left
    meant = [guest.name for guest in ALL if is_chosen(guest, wanted)]
    assert not {*meant} & ({guest.name for guest in ALL} - {*left, "node-2"})


def test_a_pattern_that_excludes_nothing_is_an_error_since_it_may_be_a_typing_error() -> None:
    with pytest.raises(UsageError, match="there is no node 'wbe', which --exclude names") as caught:
        select(ALL, Wanted(everything=True, excluded=("wbe",)), changing=True)
    assert caught.value.hint == "did you mean web?"
    with pytest.raises(UsageError, match="--exclude leaves no node"):
        select(ALL, Wanted(("web",), excluded=("w*",)), changing=True)


def test_hosts_by_ssh_alone_need_no_hypervisor_and_are_all_that_is_meant() -> None:
    wanted = Wanted(hosts=("db", "web-1"))
    guests = [Guest(host, host, "running", "ssh") for host in wanted.hosts]
    assert addresses(wanted) == ()
    assert [one.guest for one in select(guests, wanted, changing=True).nodes] == guests


def test_hosts_are_added_to_what_else_is_named_whatever_names_they_share() -> None:
    here, web = Guest("db", "1", "running"), Guest("web-1@", "2", "running", domain="web-1@")
    host = Guest("web-1@ssh", "web-1", "running", "ssh")
    for wanted in (Wanted(("web-1", "db"), hosts=("web-1",)), Wanted((), everything=True, hosts=("web-1",))):
        assert addresses(wanted) == ("",)
        assert [one.guest for one in select([here, web, host], wanted, changing=True).nodes] == [here, web, host]


def test_a_connection_without_names_of_nodes_is_no_reason_to_change_all_that_runs_there() -> None:
    with pytest.raises(UsageError):
        select([Guest("db", "1", "running")], Wanted(connect=("qemu:///system",), hosts=("web-1",)), changing=True)
