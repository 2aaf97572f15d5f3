"""What a node's libvirt domain lacks for keeping time: shown, and with consent defined anew, which can be put back.

Only the definition is changed, never the machine that runs: it counts from the next cold start on.
"""

from collections.abc import Callable, Sequence

from clockstep.core.setup import FileChange, SetupNode, SetupOutcome, SetupPlan, SetupReport, failed, report
from clockstep.errors import ClockstepError
from clockstep.machines.libvirt.hardware import clock_lacks, improved
from clockstep.model import Guest
from clockstep.ports import World
from clockstep.state.journal import FileDefinitions
from clockstep.units import SECOND_NS

WAIT_NS = 10 * SECOND_NS
IN_FORCE = (
    "it counts from the next cold start on: shut it off and start it, a reboot from within is not enough. Snapshots "
    "that were taken before keep the old definition, and a revert brings it back"
)
VAGRANTFILE = {
    "offset": "libvirt.clock_offset = 'utc'",
    "rtc": "libvirt.clock_timer :name => 'rtc', :track => 'wall'",
    "kvmclock": "libvirt.clock_timer :name => 'kvmclock', :present => 'yes'",
}
"""What vagrant-libvirt takes over at each `vagrant up` (its start_domain.rb), by what is wrong."""
CLOCK_OF_VAGRANT = (
    "Vagrant defines its clock at each start, so this belongs into the Vagrantfile, in config.vm.provider :libvirt do "
    "|libvirt|; then vagrant halt, vagrant up"
)
OF_VAGRANT = "once defined it stays through vagrant halt and up, until vagrant destroy"


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
            world.hypervisor.define(guest, improved(before, clock=guest.uuid not in vagrants)[1])
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
    """Return what a definition lacks; of what Vagrant writes itself, which is the clock, the lines for its file."""
    definition = world.hypervisor.definition(guest)
    of_vagrant = guest.uuid in vagrants
    before, after = improved(definition, clock=not of_vagrant)
    lines = tuple(VAGRANTFILE[one] for one in clock_lacks(definition)) if of_vagrant else ()
    if before == after and not lines:
        return SetupNode(guest.name, SetupOutcome.UNCHANGED)
    if before == after:
        plan = SetupPlan("domain", "vagrant", acts=lines)
        return SetupNode(guest.name, SetupOutcome.LEFT_ALONE, CLOCK_OF_VAGRANT, plan)
    file = FileChange(f"domain {guest.recorded}", f"{before}\n", f"{after}\n")
    said = (OF_VAGRANT, f"{CLOCK_OF_VAGRANT}: {', '.join(lines)}")[: 2 if lines else 1]
    text = "; ".join(said) if of_vagrant else ""
    return SetupNode(guest.name, SetupOutcome.WOULD_CHANGE, text, SetupPlan("domain", "libvirt", files=(file,)))


def _each(world: World, guests: Sequence[Guest], one: Callable[[Guest], SetupNode]) -> SetupReport:
    found = []
    for guest in guests:
        try:
            found.append(one(guest))
        except ClockstepError as error:
            found.append(failed(guest.name, error))
    return report(world.host, found)
