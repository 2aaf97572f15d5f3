"""The agent's loop: signals in each tick, a correction on a thread of its own, and what came of it to the sinks."""

import queue
import select
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from clockstep.agent.limits import Record, noted
from clockstep.agent.metrics import AgentMetrics
from clockstep.agent.signals import Signal
from clockstep.agent.work import Result, Task, Worker
from clockstep.core.witness import heaviest
from clockstep.model import Happening, Offset, What
from clockstep.ports import Clock, Sink, Tell
from clockstep.units import MILLISECOND_NS, SECOND_NS

TICK_NS = 50 * MILLISECOND_NS
AT_ONCE = 3
"""How many corrections may be under way: one that is superseded may yet wait for an answer of its time daemon."""


class Control(Protocol):
    """Whoever runs the agent."""

    def is_over(self) -> bool:
        """Whether the agent is to end; called in each tick."""


@dataclass
class Correction:
    """A correction that is under way; it is `superseded` once something has happened since it began."""

    what: What | None
    superseded: bool = False
    result: Result = field(default_factory=lambda: Result(None))


class Agent:
    """Watches the signals of one machine, and has its worker correct the clock."""

    def __init__(
        self,
        worker: Worker,
        signals: Sequence[Signal],
        clock: Clock,
        tell: Tell,
        metrics: AgentMetrics,
        sinks: Sequence[Sink],
        rise: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._signals = signals
        self._clock, self._tell = clock, tell
        self._metrics, self._sinks = metrics, (metrics, *sinks)
        self._rise = rise
        self._under_way: list[Correction] = []
        self._ended: queue.SimpleQueue[Correction] = queue.SimpleQueue()
        self._heard: tuple[What, int] | None = None
        self._record = Record()
        self._troubles = {signal.name: signal.trouble for signal in signals}
        metrics.signals({name: not trouble for name, trouble in self._troubles.items()})
        self.ticked_ns = clock.monotonic_ns()

    def run(self, every_ns: int, control: Control) -> None:
        """Watch until it is over; look at the clock without a signal that often."""
        due_ns = self._clock.monotonic_ns()
        while not control.is_over():
            self.tick()
            if self._clock.monotonic_ns() >= due_ns and not self._under_way:
                self._begin(None, due_ns)
                due_ns = self._clock.monotonic_ns() + every_ns
            self._wait()
        for signal in self._signals:
            signal.close()
        for sink in self._sinks:
            sink.ended()

    def tick(self) -> None:
        """Take in what signals tell of, and what corrections came to."""
        self.ticked_ns = self._clock.monotonic_ns()
        for signal in self._signals:
            if happening := signal.check(self._clock.monotonic_ns()):
                self._happened(signal, happening)
        self._say_troubles()
        while not self._ended.empty():
            self._take(self._ended.get())
        if self._heard and len(self._under_way) < AT_ONCE:
            self._begin(*self._heard)
            self._heard = None

    def _happened(self, signal: Signal, happening: Happening) -> None:
        """Note what has happened; that somebody sets the clock while it is worked on is the work, or seen by it."""
        if happening.what is What.SET and self._under_way:
            return
        self._metrics.disrupted(signal.name)
        self._rise()
        before, at_ns = self._heard or (None, happening.at_ns)
        current = next((one.what for one in self._under_way if not one.superseded), None)
        what = heaviest(happening.what, heaviest(before, current))
        self._heard = (what or happening.what, at_ns)
        for one in self._under_way:
            one.superseded = True

    def _begin(self, what: What | None, at_ns: int) -> None:
        correction = Correction(what)
        self._under_way.append(correction)
        threading.Thread(target=self._work, args=(correction, at_ns, self._record), daemon=True).start()

    def _work(self, correction: Correction, at_ns: int, record: Record) -> None:
        correction.result = self._worker.correct(Task(correction.what, at_ns, record, lambda: correction.superseded))
        self._ended.put(correction)

    def _take(self, correction: Correction) -> None:
        """Remember what a correction came to, and give it to the sinks.

        A superseded one that has done nothing is not told of: the next one sees more.
        """
        self._under_way.remove(correction)
        episode, held = correction.result
        if not correction.superseded:
            self._hold(held)
        if episode is None or (correction.superseded and not episode.actions):
            return
        new = bool(episode.actions) or episode.verdict is not self._record.verdict
        self._record = noted(self._record, episode, self._clock.monotonic_ns())
        for sink in self._sinks:
            sink.seen(episode, new=new)

    def _hold(self, held: Offset | None) -> None:
        """Step nothing more while the hypervisor's clock and the time sources contradict each other."""
        if (held is None) != (self._record.held is None):
            self._tell(
                "", "the hypervisor's clock and the time sources " + ("contradict each other" if held else "agree")
            )
        self._record = replace(self._record, held=held)
        self._metrics.held(held=held is not None)

    def _say_troubles(self) -> None:
        """Say, once each, that a signal sees nothing, and that it does again."""
        troubles = {signal.name: signal.trouble for signal in self._signals}
        if troubles == self._troubles:
            return
        for name, trouble in troubles.items():
            if trouble != self._troubles.get(name, ""):
                self._tell("", f"signal {name}: {trouble or 'works again'}")
        self._troubles = troubles
        self._metrics.signals({name: not trouble for name, trouble in troubles.items()})

    def _wait(self) -> None:
        """Wait for the next tick, or until a signal wakes."""
        poll = select.poll()
        for file in {file for signal in self._signals if (file := signal.wakes()) is not None}:
            poll.register(file, select.POLLIN)
        poll.poll(TICK_NS * 1000 // SECOND_NS)
