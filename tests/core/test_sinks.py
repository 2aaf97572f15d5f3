"""Sinks stand side by side: one that fails, hangs or is slow harms neither the others nor the watch."""

import json
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from clockstep.core.events import FOUND
from clockstep.errors import KubernetesError, UsageError
from clockstep.flows.watch.watched import Orders
from clockstep.flows.watch.watcher import RELOAD_NS, Watcher
from clockstep.host.hook import Hook
from clockstep.host.locks import DomainLocks
from clockstep.model import Cause, Entry, Episode, Facts, Guest, HostClock, Offset, Policy, Step, Verdict
from clockstep.ports import Listed, Sink, World
from clockstep.render.output import json_line
from clockstep.render.text import episode_line
from clockstep.sinks.behind import Behind
from clockstep.sinks.history import HistorySink
from clockstep.sinks.hook import HookSink
from clockstep.sinks.lines import EpisodeLines
from clockstep.sinks.metrics import Metrics
from clockstep.state.history import FileHistory
from clockstep.state.journal import FileJournal
from clockstep.state.sightings import FileSightings
from conftest import until
from core.simulation import SECOND, SimClock, SimHypervisor


def episode(node: str = "web") -> Episode:
    offset = Offset(0, 1)
    return Episode(node, Cause("asked"), Verdict.GOOD, offset, (Step(5),), offset, Facts(), (), 0, 1)


class Recorder:
    """A sink that remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def surveyed(self, listed: Sequence[Listed]) -> None:
        self.given.append("surveyed")

    def seen(self, episode: Episode, *, new: bool) -> None:
        self.given.append(f"{episode.node} {new}")

    def ended(self) -> None:
        self.given.append("ended")


class Failing(Recorder):
    """A sink that fails at everything."""

    def surveyed(self, listed: Sequence[Listed]) -> None:
        raise OSError("no room")

    def seen(self, episode: Episode, *, new: bool) -> None:
        raise ValueError("what is that")

    def ended(self) -> None:
        raise RuntimeError("already")


class Over:
    """A watch that is over after some rounds, in the first of which the configuration is to be read again."""

    def __init__(self, rounds: int, *, reload: bool = False) -> None:
        self._left = rounds
        self._reload = reload

    def is_over(self) -> bool:
        self._left -= 1
        return self._left < 0

    def wants_reload(self) -> bool:
        wanted, self._reload = self._reload, False
        return wanted


class UntilTold(Over):
    """A watch that is over once a service manager was told something."""

    def __init__(self, manager: "Manager", said: str) -> None:
        super().__init__(1000, reload=True)
        self._manager, self._said = manager, said

    def is_over(self) -> bool:
        return self._said in self._manager.told or super().is_over()


class Manager:
    """A service manager that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def alive(self) -> None:
        self.told.append("alive")

    def reloading(self) -> None:
        self.told.append("reloading")

    def reloaded(self, said: str) -> None:
        self.told.append(said)


def world_of(folder: Path, said: list[str]) -> World:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, ["web", "db"])
    locks = DomainLocks(clock)
    return World(hypervisor, clock, clock, locks, FileJournal(folder), lambda _node, text: said.append(text))


def test_a_sink_that_fails_harms_no_other_and_is_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    first, last = Recorder(), Recorder()
    orders = Orders(lambda _guest: True, Policy())
    watcher = Watcher(world_of(tmp_path, said), orders, [first, Failing(), last], FileSightings(tmp_path))
    watcher.run(SECOND, Over(3))
    assert first.given == last.given
    assert first.given[0] == "surveyed"
    assert first.given[-1] == "ended"
    assert {"web False", "db False"} <= set(first.given)
    assert [text for text in said if "Failing" in text] == ["Failing failed: OSError: no room"]


def test_the_configuration_is_read_again_by_the_watcher_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    manager, given = Manager(), list[Sequence[Guest]]()
    first = Orders(lambda _guest: True, Policy(), matched=lambda _guests: frozenset({"web"}))
    second = Orders(lambda _guest: False, Policy(), matched=lambda _guests: frozenset({"db"}))

    def load(guests: Sequence[Guest]) -> Orders:
        given.append(guests)
        if len(given) == 2:
            raise UsageError("a key is wrong", "correct it")
        return second

    watcher = Watcher(world_of(tmp_path, said), first, [], FileSightings(tmp_path), load, manager)
    watcher.run(SECOND, UntilTold(manager, "configuration reloaded"))
    watcher.sweep(FOUND)
    assert not [text for text in said if "any more" in text]
    assert watcher.orders is second
    assert manager.told[:2] == ["alive", "reloading"]
    assert sorted(guest.name for guest in given[0]) == ["db", "web"]
    watcher.run(SECOND, UntilTold(manager, "configuration not reloaded: a key is wrong; correct it"))
    assert watcher.orders is second
    assert manager.told[-1] in said


def test_a_configuration_that_takes_its_time_holds_up_no_clock(tmp_path: Path) -> None:
    said, manager, answered = list[str](), Manager(), threading.Event()
    world, second = world_of(tmp_path, said), Orders(lambda _guest: True, Policy())
    assert isinstance(world.hypervisor, SimHypervisor)
    world.hypervisor.machines["web"].offset_ns = -30 * SECOND

    def load(_guests: Sequence[Guest]) -> Orders:
        assert answered.wait(60), "the clock was held up"
        return second

    class Corrected(Recorder):
        def seen(self, episode: Episode, *, new: bool) -> None:
            if episode.node == "web" and episode.actions:
                answered.set()

    watcher = Watcher(
        world, Orders(lambda _guest: True, Policy()), [Corrected()], FileSightings(tmp_path), load, manager
    )
    watcher.run(SECOND, UntilTold(manager, "configuration reloaded"))
    assert watcher.orders is second


def test_orders_that_are_not_complete_are_read_again_until_they_are_and_a_failure_is_told_once(tmp_path: Path) -> None:
    said, loads = list[str](), list[int]()
    world = world_of(tmp_path, said)
    second = Orders(lambda _guest: True, Policy())

    def load(_guests: Sequence[Guest]) -> Orders:
        loads.append(world.clock.monotonic_ns())
        if len(loads) < 4:
            raise KubernetesError("the API server refused the connection", "check that it runs")
        return second

    class UntilComplete(Over):
        def is_over(self) -> bool:
            world.clock.sleep_ns(SECOND)
            return watcher.orders.complete or super().is_over()

    first = Orders(lambda _guest: False, Policy(), complete=False)
    watcher = Watcher(world, first, [], FileSightings(tmp_path), load)
    watcher.run(SECOND, UntilComplete(1000))
    assert watcher.orders is second
    assert min(later - before for before, later in pairwise(loads)) >= RELOAD_NS
    failure = "configuration not reloaded: the API server refused the connection; check that it runs"
    assert [text for text in said if text.startswith("configuration")] == [failure, "configuration reloaded"]


def test_a_sink_that_hangs_holds_nobody_up_and_what_it_does_not_take_is_counted() -> None:
    taken, go_on, told = list[str](), threading.Event(), list[str]()

    class Slow(Recorder):
        def seen(self, episode: Episode, *, new: bool) -> None:
            taken.append(episode.node)
            assert go_on.wait(20)

    behind = Behind(Slow(), lambda _node, text: told.append(text), waiting=2)
    behind.seen(episode("first"), new=True)
    until(lambda: bool(taken), 20)
    for number in range(5):
        behind.seen(episode(str(number)), new=True)
    assert taken == ["first"]
    go_on.set()
    until(lambda: bool(told), 20)
    assert told == ["3 corrections were not delivered to Slow: too slow"]
    assert taken == ["first", "0", "1"]


def test_a_sink_that_runs_as_the_watch_ends_is_waited_for_and_then_cut_off() -> None:
    go_on, cut_off = threading.Event(), threading.Event()

    class Slow(Recorder):
        def seen(self, episode: Episode, *, new: bool) -> None:
            assert go_on.wait(20)

    def end() -> None:
        cut_off.set()
        go_on.set()

    slow = Slow()
    behind = Behind(slow, lambda _node, _text: None, end, last_s=0.05)
    behind.seen(episode(), new=True)
    behind.ended()
    assert cut_off.is_set()
    until(lambda: slow.given == ["ended"], 20)


def test_a_sink_that_fails_on_its_thread_is_given_the_next_one_too() -> None:
    told: list[str] = []
    behind = Behind(Failing(), lambda _node, text: told.append(text))
    for _ in range(3):
        behind.seen(episode(), new=True)
    behind.ended()
    assert told == ["Failing failed: ValueError: what is that"]


def test_what_is_new_is_kept_in_the_history_and_a_history_that_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "file").touch()
    good = HistorySink(FileHistory(tmp_path), lambda _node, text: told.append(text))
    bad = HistorySink(FileHistory(tmp_path / "file"), lambda _node, text: told.append(text))
    for sink in (good, bad):
        sink.seen(episode("old"), new=False)
        for name in ("web", "db"):
            sink.seen(episode(name), new=True)
    assert FileHistory(tmp_path).read()[0] == [Entry("watch", episode("web")), Entry("watch", episode("db"))]
    assert len(told) == 1
    assert told[0].startswith("the history was not kept: ")


def test_what_the_watcher_corrects_is_counted_kept_and_given_to_the_hook(tmp_path: Path) -> None:
    said: list[str] = []
    world, log = world_of(tmp_path, said), tmp_path / "log"
    metrics, kept = Metrics(lambda: HostClock(True, 1000)), FileHistory(tmp_path)
    hook = HookSink(lambda: ["/bin/sh", "-c", f"cat >> {log}"], Hook(), world.tell)
    sinks: list[Sink] = [metrics, Behind(HistorySink(kept, world.tell), world.tell), Behind(hook, world.tell)]
    world.hypervisor.machines["web"].offset_ns = -30 * SECOND  # type: ignore[attr-defined]
    watcher = Watcher(world, Orders(lambda _guest: True, Policy()), sinks, FileSightings(tmp_path))

    def counted() -> float | None:
        labels = {"node": "web", "cause": "found"}
        return metrics.registry.get_sample_value("clockstep_steps_total", labels)

    class UntilCounted(Over):
        def is_over(self) -> bool:
            return counted() == 1 or super().is_over()

    watcher.run(SECOND, UntilCounted(100))
    assert counted() == 1
    (entry,), skipped = kept.read()
    assert (entry.by, entry.episode.node, skipped) == ("watch", "web", 0)
    (line,) = log.read_text().splitlines()
    assert (json.loads(line)["node"], json.loads(line)["actions"][0]["type"]) == ("web", "step")
    assert not [text for text in said if "failed" in text or "history" in text]


def test_lines_are_of_what_is_new_as_text_or_as_json() -> None:
    text, lines = list[str](), list[str]()
    for out, line in ((text, episode_line), (lines, json_line)):
        sink = EpisodeLines(out.append, line)
        sink.seen(episode(), new=False)
        sink.seen(episode("a\x1bb"), new=True)
    assert len(text) == 1
    assert "a\\x1bb  requested" in text[0]
    assert [json.loads(line)["node"] for line in lines] == ["a\x1bb"]
