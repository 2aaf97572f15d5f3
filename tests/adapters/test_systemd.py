"""What a service manager is told, on a socket of the test's own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from clockstep.host.sd_notify import Notifier, watchdog_ns
from core.simulation import SECOND, SimClock


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@clockstep-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.setblocking(False)
        yield listening, name


def heard(listening: socket.socket) -> list[str]:
    said = []
    try:
        while True:
            said.append(listening.recv(4096).decode())
    except BlockingIOError:
        return said


def test_it_says_that_it_is_ready_reads_again_and_ends(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    clock = SimClock()
    notifier = Notifier({"NOTIFY_SOCKET": name}, clock)
    notifier.ready("watching")
    notifier.reloading()
    notifier.stopping()
    ready, reloading, stopping = heard(listening)
    assert ready == "READY=1\nSTATUS=watching"
    assert reloading.startswith(f"RELOADING=1\nMONOTONIC_USEC={clock.mono // SECOND}")
    assert stopping == "STOPPING=1"


def test_the_watchdog_hears_of_it_three_times_as_often_as_it_wants_to(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    clock = SimClock()
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environ, clock)
    for _ in range(120):
        notifier.alive()
        clock.sleep_ns(SECOND // 2)
    assert heard(listening) == ["WATCHDOG=1"] * 3


def test_without_a_watchdog_it_hears_nothing(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    Notifier({"NOTIFY_SOCKET": name}, SimClock()).alive()
    assert heard(listening) == []


def test_a_manager_that_is_not_there_or_has_gone_is_no_trouble(tmp_path: Path) -> None:
    Notifier({}, SimClock()).ready("watching")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, SimClock()).ready("watching")


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "3000000"}, 3 * SECOND),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_a_watchdog_is_meant_for_this_process_or_for_none(environ: dict[str, str], wanted: int) -> None:
    assert watchdog_ns(environ) == wanted
