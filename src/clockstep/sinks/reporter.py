"""What is seen of clocks, kept in the conditions of their Nodes and recorded as Events, on a thread of its own.

It needs the standard library alone, and knows neither libvirt nor a client of Kubernetes.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import replace

from clockstep.core.condition import clock_state, condition, writer_of
from clockstep.core.condition_schedule import Due, beat, failed, is_fresh, looked, patience, put_off, wrote
from clockstep.core.kube_events import PROPOSED, Waiting, events_of
from clockstep.errors import InternalError, KubernetesError
from clockstep.flows.conditions import remove_own
from clockstep.model import Episode, KubeCondition, KubeEvent
from clockstep.ports import Clock, KubeReports, Reference, Tell
from clockstep.render.words import cause_text
from clockstep.units import SECOND_NS

REFUSALS = 3
"""Of how many Nodes anything may be refused in a row before all writing rests for a while."""
OF_ALL = {0, 401}
"""With these HTTP statuses not one Node was refused but everything: nothing was answered, or the credentials."""
EVERYTHING = ""
"""The machine that stands for all of them."""
EVENTS = "Events"
"""The machine that stands for their Events, which an account may be refused alone."""
LAST_S = 3.0
"""How long the end waits for what is still to be written."""


class Absent(Exception):  # noqa: N818 - no error: many machines are no Nodes
    """A machine is no Node, as far as is known; `until_ns` is when to ask again, by the monotonic clock."""

    def __init__(self, until_ns: int) -> None:
        super().__init__()
        self.until_ns = until_ns


class Finder:
    """Finds the Node of a machine: here machines are called as their Nodes are."""

    def node(self, machine: str) -> str:
        """Return the name of the machine's Node. Raises Absent, and KubernetesError."""
        return machine

    def lose(self, machine: str) -> None:
        """Take that what was found for a machine may be a Node no more."""


class _Health:
    """Whether the cluster takes what is reported, and until when all reporting rests (`rests_until_ns`)."""

    def __init__(self, tell: Tell) -> None:
        self.up: bool | None = None
        self.rests_until_ns = 0
        self._tell = tell
        self._failures = 0
        self._refused: set[str] = set()
        self._said: dict[str, str] = {}

    def succeeded(self, machine: str) -> None:
        """Take that something was reported of a machine."""
        self.up, self._failures = True, 0
        self._refused.clear()
        self._said.pop(machine, None)
        if self._said.pop(EVERYTHING, None):
            self._tell("", "reporting to Kubernetes works again")

    def refused(self, machine: str, of: int, why: str, now_ns: int, chance: float) -> None:
        """Take that something was refused of a machine, one of so many; all rests if it is refused of several."""
        self._refused.add(machine)
        if len(self._refused) >= REFUSALS:
            self.failed(why, now_ns, chance)
        else:
            self.up = self.up if len(self._refused) < of else False
            self.say(machine, why)

    def failed(self, why: str, now_ns: int, chance: float) -> None:
        """Take that nothing can be reported of any machine; all rests for a while."""
        self.up, self._failures = False, self._failures + 1
        self.rests_until_ns = now_ns + patience(self._failures, chance)
        self.say(EVERYTHING, why)

    def forget(self, machine: str) -> None:
        """Take that nothing will be reported of a machine any more."""
        self._said.pop(machine, None)

    def say(self, about: str, why: str) -> None:
        """Tell once what is wrong with a machine, or everything, or Events."""
        if why != self._said.get(about):
            self._said[about] = why
            self._tell("", f"reporting to Kubernetes: {why}; trying again")


class Reporter:
    """Keeps the condition of each machine that was seen, in the name of a writer; only the last state counts.

    `seen` and `gone` only take note. What goes wrong is told once, and tried again.
    """

    def __init__(
        self,
        reports: KubeReports,
        writer: str,
        clock: Clock,
        reference: Reference,
        tell: Tell,
        finder: Finder | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._reports, self._writer, self._finder = reports, writer, finder or Finder()
        self._clock, self._reference, self._tell, self._chance = clock, reference, tell, chance
        self._lock = threading.Lock()
        self._due: dict[str, Due] = {}
        self._events = Waiting()
        self._gone: set[str] = set()
        self._others: dict[str, tuple[KubeCondition, int]] = {}
        self._health = _Health(tell)
        self._woken, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="Reporter", daemon=True)

    @property
    def up(self) -> bool | None:
        """Whether the cluster took what was last reported; None before that."""
        return self._health.up

    def seen(self, machine: str, episode: Episode, tolerance_ns: int, *, new: bool) -> None:
        """Take a look at a machine's clock; one that is `new` is worth Events."""
        now_ns, at_ns = self._clock.monotonic_ns(), self._reference.now().at_ns
        with self._lock:
            before = self._due.get(machine)
            state = clock_state(episode, tolerance_ns, before.wanted if before else None)
            self._due[machine] = looked(before, state)
            self._gone.discard(machine)
            for event in events_of(machine, episode, state, cause_text(episode.cause), at_ns) if new else ():
                self._events.add(event, now_ns)
        self._woken.set()

    def propose(self, machine: str, text: str) -> None:
        """Take a proposal for a machine, to be recorded as an Event."""
        now_ns, at_ns = self._clock.monotonic_ns(), self._reference.now().at_ns
        with self._lock:
            self._events.add(KubeEvent(machine, "Warning", PROPOSED, text, at_ns), now_ns)
        self._woken.set()

    def gone(self, machine: str) -> None:
        """Take that a machine is watched no more: its condition is removed, if this writer wrote it."""
        with self._lock:
            if self._due.pop(machine, None):
                self._gone.add(machine)
            self._events.forget(machine, past=True)
            self._health.forget(machine)
            self._others.pop(machine, None)
        self._woken.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def end(self, last_s: float = LAST_S) -> None:
        """Write what is due now, for a moment, and no more. The conditions stay."""
        self._over = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(last_s)

    def turn(self) -> int | None:
        """Write all that is due now, and return for how long nothing will be; None if that depends on what is seen."""
        for job, machine in self._jobs():
            if self._clock.monotonic_ns() >= self._health.rests_until_ns:
                self._attempt(job, machine)
        with self._lock:
            moments = [at_ns for due in self._due.values() if (at_ns := due.at_ns) is not None]
            if self._gone or self._events.machines():
                moments.append(self._health.rests_until_ns)
        next_ns = max(self._health.rests_until_ns, min(moments)) if moments else None
        return None if next_ns is None else max(0, next_ns - self._clock.monotonic_ns())

    def _run(self) -> None:
        while not self._over:
            wait_ns = self.turn()
            self._woken.wait(None if wait_ns is None else wait_ns / SECOND_NS)
            self._woken.clear()
        self.turn()

    def _jobs(self) -> list[tuple[Callable[[str], None], str]]:
        """Return what is due now: conditions first, since what they say holds now."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            due = {machine: at_ns for machine, one in self._due.items() if (at_ns := one.at_ns) is not None}
            conditions = sorted((machine for machine in due if due[machine] <= now_ns), key=lambda one: due[one])
            return [
                *((self._write, machine) for machine in conditions),
                *((self._remove, machine) for machine in self._gone),
                *((self._record, machine) for machine in self._events.machines()),
            ]

    def _attempt(self, job: Callable[[str], None], machine: str) -> None:
        """Do something for a machine; whatever goes wrong is told, and ends nothing."""
        try:
            job(machine)
        except Absent as absent:
            self._absent(machine, absent.until_ns)
        except KubernetesError as error:
            if not error.lasting or error.status in OF_ALL:
                self._health.failed(error.message, self._clock.monotonic_ns(), self._chance())
            elif job == self._record:
                self._unrecorded(machine, error.message)
            else:
                self._refused(machine, error.message)
        except Exception as error:  # noqa: BLE001 - a bug costs what it was about, and no more
            self._refused(machine, InternalError(error).message)
        else:
            self._health.succeeded(machine)

    def _write(self, machine: str) -> None:
        """Write a condition, unless somebody else keeps it."""
        node = self._finder.node(machine)
        found = self._reports.condition(node)
        with self._lock:
            due = self._due.get(machine)
        if due is None:
            return
        if found and self._keeps_another(machine, node, found):
            now_ns = self._clock.monotonic_ns()
            self._change(machine, lambda due: put_off(due, now_ns + beat(self._chance())))
            return
        said = due.wanted
        self._reports.set_condition(node, condition(said, self._writer, self._reference.now().at_ns, found))
        written_ns = self._clock.monotonic_ns()
        self._change(machine, lambda due: wrote(due, said, written_ns, self._chance()))

    def _keeps_another(self, machine: str, node: str, found: KubeCondition) -> bool:
        """Whether another writer keeps the condition, by its heartbeat; that is told once."""
        if writer_of(found) == self._writer:
            self._others.pop(machine, None)
            return False
        before, now_ns = self._others.get(machine), self._clock.monotonic_ns()
        since_ns = before[1] if before and before[0].heartbeat_ns == found.heartbeat_ns else now_ns
        if not is_fresh(found, self._reference.now().at_ns, now_ns - since_ns):
            self._others.pop(machine, None)
            return False
        if before is None:
            self._tell("", f"{node}: {writer_of(found) or 'something else'} keeps its condition, so it is left alone")
        self._others[machine] = found, since_ns
        return True

    def _remove(self, machine: str) -> None:
        node = self._finder.node(machine)
        remove_own(self._reports, node, self._writer)
        self._forget(machine)
        self._finder.lose(machine)

    def _record(self, machine: str) -> None:
        node = self._finder.node(machine)
        with self._lock:
            waiting = self._events.waiting(machine)
        for event in waiting:
            self._reports.record(replace(event, node=node))
            with self._lock:
                self._events.recorded(event)

    def _change(self, machine: str, change: Callable[[Due], Due]) -> None:
        with self._lock:
            if due := self._due.get(machine):
                self._due[machine] = change(due)

    def _absent(self, machine: str, until_ns: int) -> None:
        """Let go of what cannot be reported: there is no Node of it."""
        self._change(machine, lambda due: put_off(due, until_ns))
        self._forget(machine)

    def _forget(self, machine: str) -> None:
        """Let go of what waits for a machine, but for its condition."""
        with self._lock:
            self._gone.discard(machine)
            self._events.forget(machine)

    def _unrecorded(self, machine: str, why: str) -> None:
        """Let go of Events that are refused, which costs the condition nothing."""
        with self._lock:
            self._events.forget(machine)
        self._health.say(EVENTS, why)

    def _refused(self, machine: str, why: str) -> None:
        """Try it again later: the machine may be another Node by then."""
        now_ns, chance = self._clock.monotonic_ns(), self._chance()
        self._change(machine, lambda due: failed(due, now_ns, chance))
        self._finder.lose(machine)
        self._forget(machine)
        self._health.refused(machine, len(self._due), why, now_ns, chance)
