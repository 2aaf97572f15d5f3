"""The commands as people run them, on real guests, with the witness as the judge of what they claim.

A test that takes `nodes` runs over the guest agent and over ssh.
"""

import json
import shlex
import subprocess
import sys

import libvirt
import pytest

from conftest import Guests, pass_time, until
from flows.commands import SECOND_NS, all_proven, clockstep, command, put_behind, run

AWAY_S = 8


def test_status_lists_every_node_with_a_bound_and_what_its_daemon_claims(nodes: Guests) -> None:
    report = clockstep(nodes, "status")
    assert [episode["node"] for episode in report["episodes"]] == nodes.names
    all_proven(nodes, report["episodes"])
    assert all(episode["facts"]["claim"]["source"] == "^* 10.0.2.2" for episode in report["episodes"])
    assert all(not episode["actions"] for episode in report["episodes"])


def test_status_says_that_a_daemon_claims_to_be_in_sync_while_the_clock_is_wrong(nodes: Guests) -> None:
    name = nodes.names[1]
    put_behind(nodes, name, 3)
    (episode,) = clockstep(nodes, "status", name, code=1)["episodes"]
    assert episode["verdict"] == "bad"
    assert episode["facts"]["claim"]["synchronised"] is True
    assert any("claims to be synchronised, but the clock is off" in found["text"] for found in episode["findings"])
    table = run(nodes, "status", name)
    assert table.returncode == 1
    assert "±" in table.stdout


def test_step_brings_a_late_node_right_and_leaves_the_others_alone(nodes: Guests) -> None:
    name = nodes.names[2]
    put_behind(nodes, name, 5)
    (episode,) = clockstep(nodes, "step", name, "--deadline", "90s")["episodes"]
    assert -6 * SECOND_NS < episode["before"]["value_ns"] < -4 * SECOND_NS
    done = [action["type"] for action in episode["actions"]]
    assert done[0] == "step"
    assert "resync" in done
    assert episode["facts"]["claim"]["synchronised"] is True
    all_proven(nodes, [episode])
    assert clockstep(nodes, "step", name)["episodes"][0]["actions"] == []


def test_step_changes_nothing_when_it_is_only_to_say_what_it_would_do(guests: Guests) -> None:
    name = guests.names[0]
    put_behind(guests, name, 3)
    (episode,) = clockstep(guests, "step", "--dry-run", name, code=1)["episodes"]
    assert episode["planned"][0]["type"] == "step"
    assert guests.offset_ns(name) < -2 * SECOND_NS


def test_a_node_behind_by_more_than_is_allowed_is_bad_and_not_stepped(guests: Guests) -> None:
    name = guests.names[0]
    put_behind(guests, name, 4)
    (episode,) = clockstep(guests, "step", "--max-forward", "2s", name, code=1)["episodes"]
    assert (episode["verdict"], episode["decision"], episode["consent"]) == ("bad", "needs-consent", "--max-forward")
    assert episode["actions"] == []
    assert guests.offset_ns(name) < -3 * SECOND_NS


def test_a_node_that_is_ahead_is_stepped_back_only_with_consent(guests: Guests) -> None:
    name = guests.names[1]
    guests.ssh(name, "date -s @$(($(date +%s) + 100))")
    (refused,) = clockstep(guests, "step", name, code=1)["episodes"]
    assert refused["actions"] == []
    assert any("may break tokens, leases and databases" in found["text"] for found in refused["findings"])
    assert guests.offset_ns(name) > 90 * SECOND_NS
    (episode,) = clockstep(guests, "step", "--allow-backward", name)["episodes"]
    all_proven(guests, [episode])


def test_a_snapshot_of_all_ends_with_every_clock_right_and_is_listed(nodes: Guests) -> None:
    report = clockstep(nodes, "snapshot", "create", "fresh", "--all")
    assert report["complete"] is True
    all_proven(nodes, report["episodes"])
    assert 0 <= report["pause_spread_ns"] < SECOND_NS
    (listed,) = clockstep(nodes, "snapshot", "list")["snapshots"]
    assert (listed["name"], listed["members"], listed["complete"]) == ("fresh", nodes.names, True)
    refused = clockstep(nodes, "snapshot", "create", "fresh", "--all", code=2)
    assert refused.count("has a snapshot 'fresh' already") == 3


@pytest.mark.usefixtures("stamps")
def test_a_reverted_cluster_ends_with_every_clock_proven_and_every_daemon_in_sync(nodes: Guests) -> None:
    clockstep(nodes, "snapshot", "create", "golden", "--all")
    for name in nodes.names:
        nodes.ssh(name, "echo since > /root/since")
    pass_time(AWAY_S)
    connections = {name: nodes.witness.heard[name].connections for name in nodes.names}
    report = clockstep(nodes, "revert", "golden", "--yes", "--deadline", "90s")
    assert report["complete"] is True
    all_proven(nodes, report["episodes"])
    for episode in report["episodes"]:
        assert episode["before"]["value_ns"] < -AWAY_S * SECOND_NS
        assert episode["facts"]["claim"]["source"] == "^* 10.0.2.2"
        first = nodes.witness.heard[episode["node"]].returned(connections[episode["node"]]).stamps[0]
        assert first.lag_ns > AWAY_S * SECOND_NS
        assert nodes.ssh(episode["node"], "ls /root/since 2>&1 || true").startswith("ls:")


def test_a_line_of_ones_own_reverts_by_virsh_to_our_snapshot_and_ends_with_a_step(guests: Guests) -> None:
    name = guests.names[0]
    clockstep(guests, "snapshot", "create", "theirs", name)
    pass_time(2)
    step = shlex.join(command(guests, "-o", "json", "step", name))
    line = f"virsh --quiet --connect '{guests.lab.uri}' snapshot-revert {name} theirs && {step}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=120)
    assert guests.domain(name).state()[0] == libvirt.VIR_DOMAIN_RUNNING
    (episode,) = json.loads(done.stdout)["episodes"]
    all_proven(guests, [episode])
    assert episode["before"]["value_ns"] < -2 * SECOND_NS


def test_a_revert_of_a_set_that_a_node_lacks_touches_nothing(guests: Guests) -> None:
    clockstep(guests, "snapshot", "create", "partial", *guests.names[:2])
    connections = {name: guests.witness.heard[name].connections for name in guests.names}
    said = clockstep(guests, "revert", "partial", *guests.names, code=2)
    assert f"no snapshot 'partial': {guests.names[2]}" in said
    assert connections == {name: guests.witness.heard[name].connections for name in guests.names}


def test_a_stopped_agent_costs_the_other_nodes_nothing(guests: Guests) -> None:
    name = guests.names[0]
    guests.ssh(name, "pkill -STOP qemu-ga")
    try:
        report = clockstep(guests, "status", code=3)
        verdicts = {episode["node"]: episode["verdict"] for episode in report["episodes"]}
        assert verdicts == {name: "unreachable", guests.names[1]: "good", guests.names[2]: "good"}
    finally:
        guests.ssh(name, "pkill -CONT qemu-ga")
    until(lambda: run(guests, "status", name).returncode == 0, 60)


def test_the_table_without_json_names_every_node(guests: Guests) -> None:
    shown = run(guests, "status")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in guests.names)


@pytest.mark.parametrize("words", [("step",), ("snapshot", "create", "x"), ("pause",), ("resume",)])
def test_what_changes_machines_wants_them_named(guests: Guests, words: tuple[str, ...]) -> None:
    assert "no nodes specified" in clockstep(guests, *words, code=2)


def test_an_unknown_node_and_a_lab_that_is_not_up_are_named(guests: Guests) -> None:
    assert "node-9" in clockstep(guests, "status", "node-9", code=2)
    asked = [sys.executable, "-m", "clockstep", "--connect", "lab:none", "status"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "lab none is not up" in done.stderr
