"""The watcher: one thread that takes in what comes, and goes by the table."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from clockstep.core.events import FOUND, Done, Key, State, Turn, View, ended, happened, listed, migrated, swept
from clockstep.core.trail import Trail
from clockstep.errors import ClockstepError, InternalError
from clockstep.flows.watch.host import Host
from clockstep.flows.watch.watched import Control, Loaded, Manager, NoManager, Orders, Watched, drop
from clockstep.flows.watch.work import Worker
from clockstep.model import Cause, Guest, Happening, Verdict, What
from clockstep.ports import Listed, Sightings, Sink, World
from clockstep.units import MINUTE_NS, SECOND_NS, show_duration

TICK_NS = SECOND_NS // 2
SURVEY_NS = SECOND_NS // 2
"""How long a sweep waits for a hypervisor; what comes later is taken in by the next one."""
LATE_NS = MINUTE_NS
"""How long an event counts of a machine that no listing has yet."""
KEEP_EVERY_NS = MINUTE_NS
"""How often it is written down when clocks were seen within tolerance; a restart of the host takes longer."""
RELOAD_NS = 10 * SECOND_NS
"""How soon orders that are not complete are read again."""

Load = Callable[[Sequence[Guest]], Orders]
"""Returns what the configuration says now, for these machines; raises a ClockstepError where it is broken."""


class Watcher:
    """Watches all guests of a world by its `orders`, and gives what it sees to the sinks."""

    def __init__(
        self,
        world: World,
        orders: Orders,
        sinks: Sequence[Sink],
        sightings: Sightings,
        load: Load | None = None,
        manager: Manager | None = None,
    ) -> None:
        self.orders = orders
        self._world = world
        self._clock = world.clock
        self._sinks = sinks
        self._failed: set[int] = set()
        self._sightings = sightings
        self._within = sightings.kept()
        self._kept_ns: int | None = None
        self._unkept = False
        self._load = load
        self._loading = False
        self._reload_ns = 0
        self._said = ""
        self._manager = manager or NoManager()
        self._silent: dict[str, str] = {}
        self._matched: frozenset[str] = frozenset()
        self._inbox: queue.SimpleQueue[Happening | Done | Loaded] = queue.SimpleQueue()
        self._watched: dict[Key, Watched] = {}
        self._unplaced: list[tuple[Happening, Sequence[State]]] = []
        self._host = Host(world.clock, world.reference, world.tell)
        self._worker = Worker(world, lambda: self.orders)

    def run(self, every_ns: int, control: Control) -> None:
        """Watch until it is over; sweep that often. Raises HypervisorError where there are no events to be had."""
        self._world.hypervisor.subscribe(self._inbox.put)
        self.sweep(FOUND)
        self._world.tell("", f"watching; measuring all clocks every {show_duration(every_ns)}")
        next_ns = self._clock.monotonic_ns() + every_ns
        while not control.is_over():
            self._manager.alive()
            self._reload_if_due(control)
            self.take_in(min(TICK_NS, max(0, next_ns - self._clock.monotonic_ns())))
            found = self.host_changed()
            if found or self._clock.monotonic_ns() >= next_ns:
                self.sweep(found or FOUND)
                next_ns = self._clock.monotonic_ns() + every_ns
        self._keep(now=True)
        for watched in self._watched.values():
            drop(watched)
        self._each_sink(lambda sink: sink.ended())

    def reload(self, *, asked: bool = True) -> None:
        """Begin to read the configuration again; it may ask a Kubernetes cluster, which holds up no clock."""
        if self._load is None:
            return
        load, guests = self._load, [watched.guest for watched in self._watched.values()]

        def work() -> None:
            found: Orders | ClockstepError
            try:
                found = load(guests)
            except ClockstepError as error:
                found = error
            except Exception as bug:  # noqa: BLE001 - whatever it is, the watch goes on
                found = InternalError(bug)
            self._inbox.put(Loaded(found, asked))

        self._loading = True
        if asked:
            self._manager.reloading()
        threading.Thread(target=work, name="reload", daemon=True).start()

    def _reload_if_due(self, control: Control) -> None:
        if self._loading:
            return
        if control.wants_reload():
            self.reload()
        elif not self.orders.complete and self._clock.monotonic_ns() >= self._reload_ns:
            self.reload(asked=False)

    def _loaded(self, loaded: Loaded) -> None:
        """Go by a configuration that was read; where it is broken, the orders stay as they are. That is told, once."""
        self._loading, self._reload_ns = False, self._clock.monotonic_ns() + RELOAD_NS
        if isinstance(loaded.found, ClockstepError):
            said = f"configuration not reloaded: {loaded.found.message}; {loaded.found.hint}"
        else:
            self.orders = loaded.found
            self._matched = frozenset()  # of other names
            said = "configuration reloaded"
        if loaded.asked or said != self._said:
            self._world.tell("", said)
        self._said = said
        if loaded.asked:
            self._manager.reloaded(said)

    def take_in(self, within_ns: int) -> None:
        """Take in what comes within that time, and what has come already."""
        try:
            item = self._inbox.get(timeout=within_ns / SECOND_NS)
            while True:
                self._take(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            self._keep(now=False)

    def _take(self, item: Happening | Done | Loaded) -> None:
        match item:
            case Happening():
                self._happened(item)
            case Done():
                self._ended(item)
            case Loaded():
                self._loaded(item)

    def sweep(self, found: Cause) -> None:
        """Look at all that runs and is observed; a hypervisor that does not answer is asked again at the next sweep."""
        surveyed = self._list()
        self._place()
        self._tell_lost(surveyed)
        for guest in [guest for one in surveyed for guest in one.guests]:
            watched = self._watched[guest.key]
            self._turn(watched, swept(watched.state, guest, found, self._view(guest)))

    def _tell_lost(self, surveyed: Sequence[Listed]) -> None:
        """Tell, once, that a name means no machine any more: a typing error is not the only way to lose one."""
        if any(one.error for one in surveyed):
            return
        now = self.orders.matched([guest for one in surveyed for guest in one.guests])
        for name in sorted(self._matched - now):
            self._world.tell("", f"no node matches {name!r} any more")
        self._matched = now

    def host_changed(self) -> Cause | None:
        """Return why all guests are looked at now: the host has slept, or its clock was set."""
        found, moved_ns = self._host.host_changed()
        if moved_ns:  # when clocks were seen within tolerance is of the same clock
            self._within = {uuid: at_ns + moved_ns for uuid, at_ns in self._within.items()}
            self._unkept = True
        return found

    def _list(self) -> Sequence[Listed]:
        """Know the machines that are there, and forget those that are gone."""
        surveyed = self._world.hypervisor.survey(SURVEY_NS)
        self._each_sink(lambda sink: sink.surveyed(surveyed))
        for one in surveyed:
            self._heard_from(one)
            if one.error is None:
                states = {key: watched.state for key, watched in self._watched.items()}
                self._know(listed(states, one.connection, one.guests))
            else:
                self._know_late(one)
        return surveyed

    def _know(self, states: dict[Key, State]) -> None:
        for key in self._watched.keys() - states.keys():
            drop(self._watched.pop(key))
        for key, state in states.items():
            self._watched.setdefault(key, Watched(state)).state = state

    def _know_late(self, one: Listed) -> None:
        """Know what a connection that does not answer is said to have; nothing of it is forgotten."""
        for guest in one.guests:
            self._watched.setdefault(guest.key, Watched(State(guest, Trail(stopped=not guest.active))))

    def _heard_from(self, one: Listed) -> None:
        """Tell that a hypervisor does not answer, once, and that it does again."""
        said = one.error.message if one.error else ""
        if said != self._silent.get(one.connection, ""):
            self._silent[one.connection] = said
            for watched in self._watched.values():  # what happened meanwhile was not heard
                watched.state = replace(watched.state, right_ns=None)
            again = f"libvirt at {one.connection or 'its default address'} answers again"
            self._world.tell("", f"{said}; trying again" if said else again)

    def _happened(self, happening: Happening) -> None:
        key = (happening.connection, happening.uuid)
        elsewhere = [one.state for at, one in self._watched.items() if at[1] == key[1] and at != key]
        self._unplaced.append((happening, elsewhere))
        if key not in self._watched and happening.what is not What.STOPPED:
            self._list()  # by which a machine is forgotten where it was
        self._place()

    def _place(self) -> None:
        """Take in what has happened to machines that are known; the others may be in a listing that is late."""
        waiting, self._unplaced = self._unplaced, []
        for happening, elsewhere in waiting:
            watched = self._watched.get((happening.connection, happening.uuid))
            if watched:
                self._placed(watched, happening, elsewhere)
            elif self._clock.monotonic_ns() - happening.at_ns < LATE_NS:
                self._unplaced.append((happening, elsewhere))

    def _placed(self, watched: Watched, happening: Happening, elsewhere: Sequence[State]) -> None:
        if happening.what is What.MIGRATED:
            watched.state = migrated(watched.state, elsewhere)
        self._turn(watched, happened(watched.state, happening, self._view(watched.guest)))

    def _ended(self, done: Done) -> None:
        watched = self._watched.get(done.key)
        if watched is None:
            return
        if done.episode and done.episode.verdict is Verdict.GOOD:
            self._within[watched.guest.uuid] = self._world.reference.now().at_ns
            self._unkept = True
        self._turn(watched, ended(watched.state, done, self._view(watched.guest)))

    def _turn(self, watched: Watched, turn: Turn) -> None:
        """Do what the table says."""
        watched.state = turn.state
        if turn.drop:  # what waits there for an answer would wait for one from before
            drop(watched)
        if turn.work:
            work = (watched, turn.work, self._inbox.put)
            threading.Thread(target=self._worker.work, args=work, daemon=True).start()
        if told := turn.told:
            self._each_sink(lambda sink: sink.seen(told.episode, new=told.new))

    def _view(self, guest: Guest) -> View:
        within_ns, orders = self._within.get(guest.uuid), self.orders
        away_ns = None
        if within_ns is not None and orders.synchronised():
            away_ns = max(0, self._world.reference.now().at_ns - within_ns)
        return View(self._clock.monotonic_ns(), orders.chosen(guest), orders.observed(guest), orders.trusts(), away_ns)

    def _keep(self, *, now: bool) -> None:
        """Write down when clocks were seen within tolerance: once a minute, and at first once all were looked at."""
        now_ns = self._clock.monotonic_ns()
        if self._kept_ns is None:
            due = not any(watched.busy for watched in self._watched.values())
        else:
            due = now_ns - self._kept_ns >= KEEP_EVERY_NS
        if self._unkept and (now or due):
            self._kept_ns, self._unkept = now_ns, False
            self._within = self._sightings.keep(self._within)

    def _each_sink(self, give: Callable[[Sink], None]) -> None:
        """Give something to every sink; one that fails harms no other, and is named once."""
        for sink in self._sinks:
            try:
                give(sink)
            except Exception as error:  # noqa: BLE001 - whatever it is, the watch goes on
                if id(sink) not in self._failed:
                    self._failed.add(id(sink))
                    self._world.tell("", f"{type(sink).__name__} failed: {type(error).__name__}: {error}")
