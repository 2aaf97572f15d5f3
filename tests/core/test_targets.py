"""Which machines a revert or a deletion is about."""

import pytest

from clockstep.core.names import cannot_be_loaded, refuse_bad_name
from clockstep.core.targets import Scope, targets
from clockstep.errors import UsageError
from clockstep.model import Guest, Snapshot

GUESTS = {name: Guest(name, f"uuid-{name}", "running") for name in ("prod-1", "prod-2", "stage-1", "lone")}
PROD = Snapshot("before", 100, "set-prod", ("prod-1", "prod-2"))
STAGE = Snapshot("after", 200, "set-stage", ("stage-1",))
THEIRS = Snapshot("theirs", 50)
OF_PROD = Scope(of=(GUESTS["prod-1"], GUESTS["prod-2"]))


def found(**snapshots: list[Snapshot]) -> dict[Guest, list[Snapshot]]:
    return {guest: snapshots.get(name.replace("-", "_"), []) for name, guest in GUESTS.items()}


ALL = found(prod_1=[THEIRS, PROD], prod_2=[THEIRS, PROD], stage_1=[STAGE], lone=[THEIRS])


def names(chosen: dict[Guest, Snapshot]) -> list[str]:
    return [guest.name for guest in chosen]


def test_a_set_says_itself_of_which_machines_it_is() -> None:
    assert names(targets(ALL, "before", Scope())) == ["prod-1", "prod-2"]
    assert names(targets(ALL, "before", Scope(everything=True))) == ["prod-1", "prod-2"]


def test_the_newest_set_is_that_of_the_cluster_where_one_is_meant() -> None:
    assert names(targets(ALL, None, Scope())) == ["stage-1"]
    assert names(targets(ALL, None, OF_PROD)) == ["prod-1", "prod-2"]


def test_a_set_that_reaches_beyond_the_cluster_is_refused() -> None:
    with pytest.raises(UsageError, match="is of prod-2 too, which the cluster"):
        targets(ALL, "before", Scope(of=(GUESTS["prod-1"], GUESTS["stage-1"])))


def test_named_machines_are_those_alone() -> None:
    assert names(targets(ALL, "before", Scope(named=(GUESTS["prod-2"],)))) == ["prod-2"]
    with pytest.raises(UsageError, match="no snapshot 'before': stage-1"):
        targets(ALL, "before", Scope(named=(GUESTS["prod-2"], GUESTS["stage-1"])))


def test_a_snapshot_of_another_tool_needs_its_machines_named() -> None:
    with pytest.raises(UsageError, match="taken by another tool"):
        targets(ALL, "theirs", Scope())
    assert names(targets(ALL, "theirs", Scope(everything=True))) == ["prod-1", "prod-2", "lone"]
    assert names(targets(ALL, "theirs", OF_PROD)) == ["prod-1", "prod-2"]


def test_two_sets_of_one_name_are_not_taken_for_one() -> None:
    other = Snapshot("before", 300, "set-2", ("stage-1",))
    both = found(prod_1=[PROD], prod_2=[PROD], stage_1=[other], lone=[Snapshot("before", 5)])
    for whole in (True, False):
        with pytest.raises(UsageError, match="not taken together"):
            targets(both, "before", Scope(), whole=whole)
    assert names(targets(both, "before", OF_PROD)) == ["prod-1", "prod-2"]


def test_what_is_deleted_need_not_be_whole() -> None:
    torn = found(prod_1=[PROD])
    assert names(targets(torn, "before", Scope(), whole=False)) == ["prod-1"]
    with pytest.raises(UsageError, match="no snapshot 'before': prod-2"):
        targets(torn, "before", Scope())


def test_a_member_that_is_gone_is_named() -> None:
    gone = {GUESTS["prod-1"]: [PROD]}
    with pytest.raises(UsageError, match="prod-2 too, and there is no such node"):
        targets(gone, "before", Scope())
    assert names(targets(gone, "before", Scope(), whole=False)) == ["prod-1"]


@pytest.mark.parametrize(("name", "bad"), [("1", True), ("123456", True), ("1795612345", False), ("v1", False)])
def test_a_short_number_would_be_taken_for_an_id(name: str, bad: bool) -> None:
    assert cannot_be_loaded(name) is bad
    if bad:
        with pytest.raises(UsageError):
            refuse_bad_name(name)


def test_excluded_machines_are_left_out_of_a_set_and_of_what_is_named() -> None:
    assert names(targets(ALL, "before", Scope(without=(GUESTS["prod-1"],)))) == ["prod-2"]
    assert names(targets(ALL, "theirs", Scope(everything=True, without=(GUESTS["lone"],)))) == ["prod-1", "prod-2"]
    assert names(targets(ALL, None, Scope(of=OF_PROD.of, without=(GUESTS["prod-2"],)))) == ["prod-1"]
    with pytest.raises(UsageError, match="--exclude leaves no node"):
        targets(ALL, "after", Scope(without=(GUESTS["stage-1"],)))
