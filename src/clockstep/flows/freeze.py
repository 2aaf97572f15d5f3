"""Workloads that stand still from before a snapshot until the clock is proven: none ever runs with a wrong one.

A step alone never thaws: that is done when the loop has proven a clock, or by the node's own guard when its lease is
over, or because somebody says so.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

from clockstep.core.freezing import choose, left_out
from clockstep.core.summary import summarise
from clockstep.errors import ClockstepError, ReachError, UsageError
from clockstep.flows.step import ASKED, Pass, nodes
from clockstep.loop.episodes import troubled
from clockstep.loop.fleet import failures, side_by_side
from clockstep.loop.prove import prove
from clockstep.loop.run import Run
from clockstep.loop.settle import settle
from clockstep.model import Episode, Freeze, Guest, Member, Outcome, Policy, SetReport, Snapshot, Thaw, Trouble
from clockstep.ports import Node, Reach, World
from clockstep.units import SECOND_NS
from clockstep.workloads.freezer import HELD_S, LEASE_S, TAKES_NS, freeze, prepare, renew, thaw
from clockstep.workloads.survey import survey

RENEW_EVERY_S, RENEW_AGAIN_S = LEASE_S // 3, 3
"""How often leases are renewed, and how soon again where one could not be."""
RENEWING_NS, AGAIN_NS = 10 * SECOND_NS, SECOND_NS // 5
UNPROVEN = Trouble(
    f"its workloads stay frozen until the lease of {LEASE_S} s expires, because its clock is not verified",
    "clockstep thaw NODE verifies the clock and thaws; add --unproven to thaw without verifying",
)
HELD = Trouble(
    "its workloads stay frozen until its clock is verified", "clockstep thaw NODE, or clockstep thaw NODE --unproven"
)
RAN = Trouble("its workloads were no longer frozen: they ran before the clock was verified", "take a new snapshot")
GONE = Trouble("nothing was frozen there: its workloads ran too early, or something else thawed them")
LATE_NS = 10 * SECOND_NS
"""When the slowest node has taken that long to freeze, the leases of the others are renewed before the pause."""


class Freezer:
    """The workloads of one run that stand still: frozen by it, or in the snapshots that it works with."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._run = uuid4().hex
        self._since_ns: dict[Guest, int] = {}
        self._freezes: dict[Guest, Freeze] = {}

    def freeze_all(self, guests: Sequence[Guest], wanted: Sequence[str]) -> None:
        """Freeze the workloads of all, side by side. Raises UsageError, all thawed again, where one cannot be."""
        self._world.tell("", "freezing the workloads")
        began_ns = self._world.clock.monotonic_ns()
        try:
            failed = self._try(guests, wanted)
        except BaseException:
            self.let_go()
            raise
        if failed:
            self.let_go()
            reasons = "; ".join(f"{guest.name}: {error.message}" for guest, error in failed.items())
            hint = next((error.hint for error in failed.values() if error.hint), "")
            still = ", ".join(guest.name for guest in self._waiting())
            run_on = f"{still} may stay frozen for {LEASE_S} s" if still else "everything frozen for it is thawed"
            raise UsageError(reasons, f"no snapshot was taken, and {run_on}; {hint}")
        self._freezes = {guest: self._freezes[guest] for guest in guests}  # not in the order in which they froze
        if self._world.clock.monotonic_ns() - began_ns > LATE_NS:
            renewed(self._world, self._waiting(), LEASE_S)

    def adopt(self, snapshots: Mapping[Guest, Snapshot]) -> None:
        """Take over the workloads that stand still in snapshots, from now on."""
        for guest, snapshot in snapshots.items():
            if snapshot.frozen and guest not in self._freezes:
                self._since_ns[guest] = self._world.clock.monotonic_ns()
                self._freezes[guest] = Freeze(guest.name, snapshot.frozen)

    def frozen(self, guest: Guest) -> tuple[str, ...]:
        """Return the cgroups of a guest that stand still."""
        return self._freezes[guest].cgroups if guest in self._freezes else ()

    def thaw(self, guest: Guest, run: Run) -> None:
        """Thaw a guest's workloads, if any are frozen, since its clock is proven."""
        if self.frozen(guest):
            retried(run, lambda: self._thaw(guest, run.node))

    def let_go(self) -> None:
        """Thaw all that this run has frozen, while no clock was touched; the guards do what cannot be done here."""
        guests = [guest for guest in list(self._freezes) if self.frozen(guest)]  # others may be freezing yet
        with nodes(self._world, guests) as node:
            side_by_side(guests, lambda guest: self._thaw(guest, node(guest)), TAKES_NS)

    @contextmanager
    def kept(self, *, hold: bool = False) -> Iterator[None]:
        """Renew the leases of those that are not yet proven while this lasts; with `hold`, for a day afterwards."""
        if not self._waiting():
            yield
            return
        try:
            with renewing(self._world, self._waiting, RENEW_EVERY_S):
                yield
        finally:
            for guest in renewed(self._world, self._waiting(), HELD_S) if hold else ():
                self._freezes[guest] = replace(self._freezes[guest], trouble=HELD)

    def report(self) -> tuple[Freeze, ...]:
        """Return what became of all."""
        waiting = self._waiting()
        return tuple(
            replace(one, trouble=one.trouble or UNPROVEN) if guest in waiting else one
            for guest, one in self._freezes.items()
        )

    def _try(self, guests: Sequence[Guest], wanted: Sequence[str]) -> Mapping[Guest, ClockstepError]:
        """Prepare all, then freeze all, over the same ways to them; return what went wrong with each."""
        with nodes(self._world, guests) as node:

            def prepared(guest: Guest) -> None:
                self._prepare(guest, node(guest).reach, wanted)

            def frozen(guest: Guest) -> None:
                self._freeze(guest, node(guest).reach)

            failed = failures(side_by_side(guests, prepared, 2 * TAKES_NS))
            return failed or failures(side_by_side(self._waiting(), frozen, TAKES_NS))

    def _prepare(self, guest: Guest, reach: Reach, wanted: Sequence[str]) -> None:
        clock = self._world.clock
        found = survey(reach, wanted, clock.monotonic_ns() + TAKES_NS)
        try:
            cgroups = choose(found, wanted)
        except UsageError:
            raise
        except ClockstepError as error:
            self._freezes[guest] = Freeze(guest.name, (), thaw=Thaw.RUNNING, trouble=troubled(error))
            return
        if not cgroups:
            self._freezes[guest] = Freeze(guest.name, (), thaw=Thaw.RUNNING)
            return
        self._since_ns[guest] = clock.monotonic_ns()
        self._freezes[guest] = Freeze(guest.name, cgroups, left_out(found, cgroups))
        with self._unless_nothing_is_frozen(guest):
            prepare(reach, cgroups, clock.monotonic_ns() + TAKES_NS)

    def _freeze(self, guest: Guest, reach: Reach) -> None:
        self._since_ns[guest] = self._world.clock.monotonic_ns()
        with self._unless_nothing_is_frozen(guest):
            freeze(reach, self._since_ns[guest] + TAKES_NS)

    @contextmanager
    def _unless_nothing_is_frozen(self, guest: Guest) -> Iterator[None]:
        """Forget a guest that says itself that nothing is frozen there."""
        try:
            yield
        except ReachError as error:
            if error.lasting:
                del self._freezes[guest]
            raise

    def _thaw(self, guest: Guest, node: Node) -> Trouble | None:
        """Thaw a guest's workloads, and return what kept it from that."""
        one, clock = self._freezes[guest], self._world.clock
        if one.thaw is not Thaw.FROZEN:
            return None
        try:
            stood = thaw(node.reach, clock.monotonic_ns() + TAKES_NS, self._run)
        except ReachError as error:
            self._freezes[guest] = replace(one, trouble=troubled(error))
            return troubled(error)
        if stood:
            still_ns = clock.monotonic_ns() - self._since_ns[guest]
            self._freezes[guest] = replace(one, still_ns=still_ns, thaw=Thaw.PROVEN, trouble=None)
        else:
            trouble = GONE if stood is None else RAN
            self._freezes[guest] = replace(one, thaw=Thaw.RUNNING, trouble=trouble)
        return None

    def _waiting(self) -> list[Guest]:
        each = list(self._freezes.items())
        return [guest for guest, one in each if one.cgroups and one.thaw is Thaw.FROZEN]


def retried(run: Run, thaw: Callable[[], Trouble | None]) -> None:
    """Thaw, and again after trouble that may pass: each time only if the clock is proven once more."""
    while (trouble := thaw()) and not trouble.lasting and not run.is_late:
        run.clock.sleep_ns(AGAIN_NS)
        if not prove(run):
            return


def renewed(world: World, guests: Sequence[Guest], lease_s: int) -> list[Guest]:
    """Renew the leases of these guests' workloads; return of which that is sure."""
    until_ns = world.clock.monotonic_ns() + RENEWING_NS
    with nodes(world, guests) as node:

        def job(guest: Guest) -> bool:
            while True:
                try:
                    return renew(node(guest).reach, lease_s, until_ns)
                except ReachError as error:  # an agent that is not there yet, right after a revert
                    if error.lasting or world.clock.monotonic_ns() >= until_ns:
                        raise
                world.clock.sleep_ns(AGAIN_NS)

        results = side_by_side(guests, job, RENEWING_NS + SECOND_NS)
    return [guest for guest in guests if results[guest] is True]


@contextmanager
def renewing(world: World, waiting: Callable[[], Sequence[Guest]], first_s: int) -> Iterator[None]:
    """Renew the leases of those that wait while this lasts, for the first time after `first_s` seconds."""
    over = threading.Event()

    def work() -> None:
        next_s = first_s
        while not over.wait(next_s):
            guests = waiting()
            next_s = RENEW_EVERY_S if len(renewed(world, guests, LEASE_S)) == len(guests) else RENEW_AGAIN_S

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def thaw_all(world: World, guests: Sequence[Guest], policy: Policy, *, unproven: bool) -> SetReport:
    """Thaw the workloads of nodes: each when its clock has been brought right and proven, or at once if `unproven`."""
    came: dict[Guest, Member] = {}
    run = uuid4().hex

    def let_go(guest: Guest, node: Node) -> Trouble | None:
        try:
            stood = thaw(node.reach, world.clock.monotonic_ns() + TAKES_NS, run)
        except ReachError as error:
            came[guest] = Member(guest.name, Outcome.NOT_THAWED, troubled(error))
            return troubled(error)
        came[guest] = Member(guest.name, Outcome.NOTHING_FROZEN if stood is None else Outcome.THAWED)
        return None

    def correct(guest: Guest, work: Pass) -> Episode:
        run = work.begin(guest)
        if prove(run):
            retried(run, lambda: let_go(guest, run.node))
        return settle(run)

    def waiting() -> list[Guest]:
        return [one for one in guests if one not in came or came[one].outcome is Outcome.NOT_THAWED]

    with world.locks.hold(guests, policy.deadline_ns), nodes(world, guests) as node:
        episodes: tuple[Episode, ...] = ()
        failed: Mapping[Guest, ClockstepError] = {}
        if unproven:
            failed = failures(side_by_side(guests, lambda guest: let_go(guest, node(guest)), policy.deadline_ns))
        else:
            with renewing(world, waiting, 0):
                episodes = Pass(world, dict.fromkeys(guests, ASKED), policy, node).each(correct)
    for guest in guests:
        trouble = troubled(failed[guest]) if guest in failed else None
        came.setdefault(guest, Member(guest.name, Outcome.NOT_THAWED, trouble))
    members = tuple(came[guest] for guest in guests)
    complete = all(one.outcome is not Outcome.NOT_THAWED for one in members)
    return SetReport(world.host, None, complete, members, episodes, summary=summarise(episodes))
