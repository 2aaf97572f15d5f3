"""Running the commands as people run them, and holding what they claim against the witness."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from conftest import Guests, pass_time, until

SECOND_NS = 1_000_000_000
PATIENT = ("--deadline", "90s")
"""How long a busy machine's guests may take, where a test does not say."""
TOLERANCE_NS = 10_000_000
"""What clockstep takes for right by default."""
LOOKS = 5
"""As many follow a moment at once; the one with the smallest error is held against a claim."""
SLEW = 12
"""Of the time that passes until then, this part may have been slewed away: chronyd's `maxslewrate` is 83,333 ppm."""


def run(guests: Guests, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on a lab, to its end."""
    return subprocess.run(command(guests, *words), capture_output=True, text=True, timeout=300, check=False)


def command(guests: Guests, *words: str) -> list[str]:
    """Return the whole command line of a command on a lab."""
    looks_only = set(words) & {"status", "nodes", "doctor", "list", "--dry-run", "plan", "check"}
    if not looks_only:
        guests.touched.update(set(words) & set(guests.names) or guests.names)
    if {"step", "revert", "create"} & set(words) and "--deadline" not in words:
        words = (*words, *PATIENT)
    reaches = {"status", "step", "doctor", "setup", "create", "revert"} & set(words)
    lab = ["--connect", f"lab:{guests.lab.name}"]
    return [sys.executable, "-m", "clockstep", *lab, *words, *(guests.words if reaches else [])]


def on_a_terminal(guests: Guests, *words: str, answer: bytes) -> tuple[int, str]:
    """Run a command whose question is answered, and return its exit code and what it showed."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(command(guests, *words), stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.write(main, answer)
    shown = b""
    with suppress(OSError):  # the other side is closed with the process
        while chunk := os.read(main, 4096):
            shown += chunk
    os.close(main)
    return process.wait(20), shown.decode()


def clockstep(guests: Guests, *words: str, code: int | None = 0) -> Any:
    """Run a command with -o json and return its report, or its complaint; it must end with this exit code."""
    done = run(guests, "-o", "json", *words)
    assert code in {done.returncode, None}, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout) if done.stdout else {"error": None}
    if "error" not in report:
        return report
    assert report["error"] is None or report["error"]["exit_code"] == done.returncode
    return done.stderr


def all_proven(guests: Guests, episodes: Any) -> None:
    """Every clock is right, with a bound that the witness finds true."""
    assert [episode["verdict"] for episode in episodes] == ["good"] * len(episodes)
    assert all(episode["after"]["error_ns"] > 0 for episode in episodes)
    assert all(agrees(guests, episode) for episode in episodes)


def stepped_right(guests: Guests, *words: str) -> Any:
    """Run a `step` of one node to its end, and return its Episode, whose claim is true.

    Its clock was brought within the tolerance, as the witness saw. If the verdict is another than good all the same, it
    was a time daemon that moved the clock afterwards: on a loaded emulator one may, and that is no fault of the step.
    """
    (episode,) = clockstep(guests, "step", *words, code=None)["episodes"]
    assert agrees(guests, episode)
    looks = guests.witness.heard[episode["node"]].looks
    far = [number for number, look in enumerate(looks) if abs(look.offset_ns) - look.error_ns > SECOND_NS]
    assert any(look.surely_within(TOLERANCE_NS) for look in looks[max(far, default=-1) + 1 :])
    assert episode["verdict"] in {"good", "bad"}
    return episode


def agrees(guests: Guests, episode: Any) -> bool:
    """Whether the witness finds the offset that was proven inside its bound, as far as its own error lets it tell."""
    proven = episode["after"]
    moment = time.monotonic_ns() - (time.time_ns() - episode["facts"]["readings"][-1]["at_ns"])
    heard = guests.witness.heard[episode["node"]]
    until(lambda: len(heard.since(moment).looks) >= LOOKS, 10)
    looks = [
        (look.error_ns + (look.at_monotonic_ns - moment) // SLEW, look) for look in heard.since(moment).looks[:LOOKS]
    ]
    error_ns, look = min(looks, key=lambda each: each[0])
    return bool(abs(look.offset_ns - proven["value_ns"]) <= error_ns + proven["error_ns"])


def put_behind(guests: Guests, name: str, seconds: float) -> None:
    """A pause: the guest comes out of it behind by its length."""
    guests.domain(name).suspend()
    pass_time(seconds)
    guests.domain(name).resume()


@contextmanager
def only_a_guard_can_step(guests: Guests, name: str) -> Iterator[None]:
    """No program of the node can step its clock, nor guest-set-time: without hwclock(8) qemu-ga sets nothing."""
    programs = "/usr/bin/perl /usr/bin/python3 /usr/sbin/hwclock"
    guests.ssh(name, f"for one in {programs}; do mv $one $one.away; done")
    try:
        yield
    finally:
        guests.ssh(name, f"for one in {programs}; do [ ! -e $one.away ] || mv $one.away $one; done; sync")
