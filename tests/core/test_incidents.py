"""What belongs to one incident, what was healed, and what is left."""

from dataclasses import replace

from cli.stories import AFTERMATH, BARE, HEALED, NOW, REVERT, SERVED, SKIPPED, TOKEN, away, corrected, refused
from clockstep.core.incidents import APART_NS, begin_ns, by_node, damages, incidents, left, unverified
from clockstep.model import AftermathReport, Entry, Freeze, Healed, Looked, Offset, Repair, State, Thaw, Verdict
from clockstep.units import SECOND_NS

BEHIND = Offset(-SECOND_NS, 1)


def at(at_ns: int, took_ns: int = SECOND_NS, node: str = "a") -> Entry:
    return Entry("watch", replace(corrected(node, BEHIND, at_ns), took_ns=took_ns, proven_ns=None))


def test_work_that_is_less_than_a_minute_apart_is_one_incident() -> None:
    near = at(NOW + SECOND_NS + APART_NS - 1)
    far = at(NOW + SECOND_NS + APART_NS)
    assert incidents([at(NOW), near]) == [(at(NOW), near)]
    assert incidents([far, at(NOW)]) == [(at(NOW),), (far,)]
    assert incidents([]) == []


def test_work_that_overlaps_long_work_belongs_to_it() -> None:
    long, within, after = at(NOW, 3 * APART_NS), at(NOW + SECOND_NS), at(NOW + 3 * APART_NS)
    assert incidents([long, within, after]) == [(long, within, after)]


def test_a_clock_was_wrong_before_the_work_began_if_the_proof_came_later_than_the_work_took() -> None:
    episode = corrected("a", BEHIND)
    assert begin_ns(replace(episode, took_ns=5, proven_ns=12)) == NOW - 7
    assert begin_ns(replace(episode, took_ns=12, proven_ns=5)) == NOW
    assert begin_ns(replace(episode, proven_ns=None)) == NOW


def test_nodes_are_in_the_order_of_their_numbers() -> None:
    names = ["node-10", "node-2", "a", "node-" + "9" * 5000]
    assert list(by_node([at(NOW, node=name) for name in names])) == ["a", "node-2", "node-10", names[3]]


def test_a_node_is_unverified_by_its_last_episode_alone() -> None:
    bad, good = Entry("step", refused("a", BEHIND)), Entry("step", corrected("a", BEHIND, NOW + 1))
    assert unverified([bad, good]) == []
    assert unverified([good, bad]) == [bad.episode]


def test_what_the_last_look_finds_is_left_and_what_it_finds_no_more_is_not() -> None:
    found = damages((), AFTERMATH)
    assert [(one.broken, one.is_left) for one in found] == [(TOKEN, True), (BARE, True), (SERVED, False)]
    tried = Repair(SERVED, Healed.NOT_HEALED, HEALED.act, at_ns=NOW)
    clean = AftermathReport(NOW, (Looked("CS-SERVING", "What is served", State.CLEAN),))
    assert [one.is_left for one in damages([tried], clean)] == [False]
    unseen = AftermathReport(NOW, (Looked("CS-SERVING", "What is served", State.NOT_LOOKED, "no answer"),))
    assert [one.is_left for one in damages([tried], unseen)] == [True]
    assert [one.is_left for one in damages([tried], None)] == [True]


def test_a_repair_is_one_however_often_it_was_written_down_and_an_earlier_attempt_is_not_left() -> None:
    begun = Repair(SERVED, Healed.NOT_HEALED, HEALED.act, "it was begun", HEALED.at_ns)
    assert [one.repair for one in damages([begun, HEALED], AFTERMATH) if one.broken == SERVED] == [HEALED]
    failed = replace(begun, at_ns=NOW)
    assert [one.is_left for one in damages([failed, begun, HEALED], None)] == [False, False]
    assert [one.is_left for one in damages([HEALED, replace(begun, at_ns=NOW + 99 * SECOND_NS)], None)] == [True, False]


def test_what_broke_again_after_it_was_healed_is_left() -> None:
    again = AftermathReport(NOW, (Looked("CS-SERVING", "What is served", State.BROKEN, broken=(SERVED,)),))
    assert [(one.repair, one.is_left) for one in damages([HEALED], again)] == [(None, True), (HEALED, False)]


def test_what_is_left_names_clocks_frozen_workloads_damage_and_what_was_not_looked_at() -> None:
    freeze = Freeze("b; rm", ("pods.slice",), thaw=Thaw.FROZEN)
    entries = [Entry("revert", away("a")), Entry("revert", corrected("b; rm", BEHIND), freeze)]
    found = left(entries, damages((), AFTERMATH), AFTERMATH.checks)
    assert [one.on for one in found] == [
        "a",
        "b; rm",
        f"CS-CNI {TOKEN.on}",
        f"CS-STUCK {BARE.on}",
        "CS-KUBELET",
    ]
    assert found[1].command == "clockstep thaw 'b; rm'"
    assert SKIPPED.why in found[2].text
    assert left(REVERT.entries, [], ()) == []


def test_workloads_that_were_thawed_later_are_not_left() -> None:
    frozen, thawed = Freeze("a", ("x",)), Freeze("a", ("x",), thaw=Thaw.PROVEN)
    early, late = corrected("a", BEHIND), corrected("a", BEHIND, NOW + 1)
    assert left([Entry("revert", early, frozen), Entry("revert", late, thawed)], [], ()) == []
    assert left([Entry("revert", early, frozen), Entry("thaw", late)], [], ()) == []
    assert [one.on for one in left([Entry("revert", early, frozen), Entry("step", late)], [], ())] == ["a"]
    for node in ("a", "b"):
        bad = Entry("thaw", replace(late, node=node, verdict=Verdict.UNSURE))
        assert "clockstep thaw a" in [one.command for one in left([Entry("revert", early, frozen), bad], [], ())]
