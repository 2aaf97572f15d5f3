"""Saying that one waits: only if it takes longer than a moment, and whoever else waits."""

import threading

import pytest

from clockstep import waiting
from clockstep.waiting import said_if_slow
from conftest import until


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOMENT_S", 0.1)


def test_one_that_takes_longer_is_told_of_once_and_one_that_does_not_is_not() -> None:
    told: list[tuple[str, str]] = []

    def tell(node: str, text: str) -> None:
        told.append((node, text))

    with said_if_slow(tell, "slow", "waiting"):
        for number in range(1000):
            with said_if_slow(tell, f"quick-{number}", "waiting"):
                pass
        until(lambda: bool(told), 5)
    with said_if_slow(tell, "next", "waiting"):
        until(lambda: len(told) == 2, 5)
    assert told == [("slow", "waiting"), ("next", "waiting")]


def test_whoever_cannot_be_told_keeps_nobody_else_from_being_told() -> None:
    heard = threading.Event()

    def tell(node: str, _text: str) -> None:
        if node == "broken":
            raise OSError("nobody reads it")
        heard.set()

    with said_if_slow(tell, "broken", "waiting"), said_if_slow(tell, "node", "waiting"):
        assert heard.wait(5)
