"""Which machine is which Node: each pair once, whatever byte order a firmware shows, and none where it is open."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.matching import identity, match
from clockstep.model import Guest, KubeNode

FEW = [UUID(int=number << 64 | 5) for number in range(1, 4)]
"""So few that some come twice."""
SPELLED = st.sampled_from(FEW).flatmap(lambda uuid: st.sampled_from([str(uuid), swapped(uuid), str(uuid).upper()]))
ODD = SPELLED | st.sampled_from(["", "not-a-uuid", str(UUID(int=0)), str(UUID(int=2**128 - 1)), "Not Settable"])


def swapped(uuid: UUID) -> str:
    return str(UUID(bytes=uuid.bytes_le))


def guests(uuids: list[tuple[str, str]]) -> list[Guest]:
    return [Guest(f"vm-{n}", uuid, "running", connection) for n, (connection, uuid) in enumerate(uuids)]


def nodes(uuids: list[str]) -> list[KubeNode]:
    return [KubeNode(f"worker-{n}", f"uid-{n}", uuid) for n, uuid in enumerate(uuids)]


@given(st.uuids())
def test_a_uuid_and_itself_in_the_other_byte_order_are_one(uuid: UUID) -> None:
    assert identity(str(uuid)) == identity(swapped(uuid)) == identity(str(uuid).upper())


def test_a_uuid_that_firmware_makes_up_identifies_nothing() -> None:
    assert {identity(text) for text in ("", "Not Settable", str(UUID(int=0)), str(UUID(int=2**128 - 1)))} == {""}


@given(st.lists(st.tuples(st.sampled_from(["", "other"]), ODD), max_size=5), st.lists(ODD, max_size=5))
def test_a_pair_is_each_others_only_choice_and_every_node_is_accounted_for_once(
    machines: list[tuple[str, str]], uuids: list[str]
) -> None:
    everyone, cluster = guests(machines), nodes(uuids)
    found = match(everyone, cluster)
    for guest in everyone:
        if node := found.node_of(guest):
            one = identity(guest.uuid)
            assert one == identity(node.system_uuid) != ""
            assert [other for other in cluster if identity(other.system_uuid) == one] == [node]
            assert len({other.uuid.lower() for other in everyone if identity(other.uuid) == one}) == 1
    matched = {node.name for node in found.by_key.values()}
    left = [node.name for node in (*found.machineless, *found.doubtful)]
    assert sorted([*matched, *left]) == sorted(node.name for node in cluster)


@given(st.lists(st.uuids(), unique=True, max_size=6), st.data())
def test_machines_of_distinct_uuids_are_all_matched(uuids: list[UUID], data: st.DataObject) -> None:
    if len({identity(str(uuid)) for uuid in uuids} - {""}) < len(uuids):
        return
    shown = [data.draw(st.sampled_from([str(uuid), swapped(uuid)])) for uuid in uuids]
    found = match(guests([("", str(uuid)) for uuid in uuids]), nodes(shown))
    assert len(found.by_key) == len(uuids)
    assert not (found.machineless or found.doubtful)


def test_two_nodes_of_one_uuid_are_matched_to_none_as_after_a_node_was_renamed() -> None:
    everyone, cluster = (
        guests([("", str(FEW[0])), ("", str(FEW[1]))]),
        nodes([str(FEW[0]), swapped(FEW[0]), str(FEW[1])]),
    )
    found = match(everyone, cluster)
    assert [node.name for node in found.doubtful] == ["worker-0", "worker-1"]
    assert [found.node_of(guest) for guest in everyone] == [None, cluster[2]]


def test_two_machines_whose_uuids_are_each_others_are_matched_to_none() -> None:
    everyone = guests([("", str(FEW[0])), ("", swapped(FEW[0]))])
    found = match(everyone, nodes([str(FEW[0])]))
    assert not found.by_key
    assert [node.name for node in found.doubtful] == ["worker-0"]


def test_a_machine_by_two_connections_is_the_same_node_by_each() -> None:
    everyone = guests([("qemu:///system", str(FEW[0])), ("qemu+ssh://a/system", str(FEW[0]).upper())])
    found = match(everyone, nodes([swapped(FEW[0])]))
    assert [node and node.name for node in map(found.node_of, everyone)] == ["worker-0", "worker-0"]


def test_a_node_without_a_uuid_is_one_without_a_machine() -> None:
    (node,) = match(guests([("", "")]), nodes([""])).machineless
    assert node.name == "worker-0"
