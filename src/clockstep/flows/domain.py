"""What a node's libvirt domain lacks for keeping time: shown, and with consent defined anew, which can be put back.

Only the definition is changed, never the machine that runs: it counts from the next cold start on.
"""

from collections.abc import Callable, Sequence

from clockstep.core.setup import FileChange, SetupNode, SetupOutcome, SetupPlan, SetupReport
from clockstep.errors import ClockstepError
from clockstep.hypervisors.hardware import improved
from clockstep.journal import FileDefinitions
from clockstep.model import Guest
from clockstep.ports import World
from clockstep.units import SECOND_NS

WAIT_NS = 10 * SECOND_NS
IN_FORCE = (
    "it counts from the next cold start on: shut it off and start it, a reboot from within is not enough. Snapshots "
    "that were taken before keep the old definition, and a revert brings it back"
)
VAGRANTFILE = (
    "libvirt.channel :type => 'unix', :target_name => 'org.qemu.guest_agent.0', :target_type => 'virtio'",
    "libvirt.clock_offset = 'utc'",
    "libvirt.clock_timer :name => 'rtc', :track => 'wall'",
)
OF_VAGRANT = (
    "Vagrant defines it, so its Vagrantfile is the place, in config.vm.provider :libvirt do |libvirt|; then vagrant "
    "halt, vagrant up. What a Vagrantfile has no word for, which is <genid/>, is left to --yes after that"
)
GENID_OF_VAGRANT = (
    "a Vagrantfile has no word for <genid/>; once defined it stays through vagrant halt and up, until vagrant destroy"
)


def look(world: World, guests: Sequence[Guest], vagrants: frozenset[str]) -> SetupReport:
    """Return what each definition lacks; `vagrants` are the UUIDs of domains that Vagrant writes."""
    return _each(world, guests, lambda guest: _looked(world, guest, vagrants))


def define(world: World, guests: Sequence[Guest], vagrants: frozenset[str], kept: FileDefinitions) -> SetupReport:
    """Define anew what lacks something, after its old definition was kept."""

    def one(guest: Guest) -> SetupNode:
        with world.locks.hold([guest], WAIT_NS):
            found = _looked(world, guest, vagrants)
            if found.outcome is not SetupOutcome.WOULD_CHANGE:
                return found
            before = world.hypervisor.definition(guest, secret=True)
            if before != kept.kept(guest.uuid, "after"):  # else it is ours, and what to go back to is older
                kept.keep(guest.uuid, "before", before)
            world.hypervisor.define(guest, improved(before)[1])
            kept.keep(guest.uuid, "after", world.hypervisor.definition(guest, secret=True))
            return SetupNode(guest.name, SetupOutcome.DEFINED, IN_FORCE, found.plan)

    return _each(world, guests, one)


def undo(world: World, guests: Sequence[Guest], kept: FileDefinitions) -> SetupReport:
    """Put back the definition that was kept."""

    def one(guest: Guest) -> SetupNode:
        with world.locks.hold([guest], WAIT_NS):
            before, after = kept.kept(guest.uuid, "before"), kept.kept(guest.uuid, "after")
            if before is None or after is None:
                return SetupNode(guest.name, SetupOutcome.UNCHANGED, "clockstep has not defined it anew")
            current = world.hypervisor.definition(guest, secret=True)
            if current == before:
                kept.forget(guest.uuid)
                return SetupNode(guest.name, SetupOutcome.UNCHANGED, "a revert has put its old definition back already")
            if current != after:
                return SetupNode(guest.name, SetupOutcome.NOT_PUT_BACK, "somebody has changed its definition since")
            world.hypervisor.define(guest, before)
            kept.forget(guest.uuid)
            return SetupNode(guest.name, SetupOutcome.PUT_BACK, IN_FORCE)

    return _each(world, guests, one)


def _looked(world: World, guest: Guest, vagrants: frozenset[str]) -> SetupNode:
    definition = world.hypervisor.definition(guest)
    before, after = improved(definition)
    if before == after:
        return SetupNode(guest.name, SetupOutcome.UNCHANGED)
    if guest.uuid in vagrants and improved(definition, genid=False)[1] != before:
        lines = SetupPlan("domain", "vagrant", acts=VAGRANTFILE)
        return SetupNode(guest.name, SetupOutcome.LEFT_ALONE, OF_VAGRANT, lines)
    file = FileChange(f"domain {guest.name}", f"{before}\n", f"{after}\n")
    text = GENID_OF_VAGRANT if guest.uuid in vagrants else ""
    return SetupNode(guest.name, SetupOutcome.WOULD_CHANGE, text, SetupPlan("domain", "libvirt", files=(file,)))


def _each(world: World, guests: Sequence[Guest], one: Callable[[Guest], SetupNode]) -> SetupReport:
    found = []
    for guest in guests:
        try:
            found.append(one(guest))
        except ClockstepError as error:
            found.append(SetupNode(guest.name, SetupOutcome.UNREACHED, error.message))
    return SetupReport(world.host, tuple(found))
