"""How long a lab takes to come up: restored from its kept moments, and booted, in turns.

    bench/lab.py [--runs N] [--quick]

A time is that of the whole command, as one who types it waits. Moments that are not kept yet are made before.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from harness import Results, median

LAB = [sys.executable, "-m", "clockstep_lab"]
DEMO = Path(__file__).parents[1] / "script/demo"


def timed(command: list[str]) -> float:
    """How long a command takes, in seconds. Raises CalledProcessError with its output when it fails."""
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def up(name: str, count: int, image: str, *words: str) -> float:
    """How long a lab takes to come up; it is ended then."""
    try:
        return timed([*LAB, "up", "--name", name, "--nodes", str(count), "--image", image, *words])
    finally:
        subprocess.run([*LAB, "down", "--name", name], check=False, capture_output=True)


def starts(results: Results, name: str, count: int, image: str, runs: int) -> list[float]:
    """Start a lab warm and cold in turns, and return the warm times."""
    up(name, count, image)
    warm: list[float] = []
    cold: list[float] = []
    for _ in range(runs):
        warm.append(up(name, count, image))
        if len(cold) < max(1, runs // 2):
            cold.append(up(name, count, image, "--cold"))
    what = f"{count} {image}"
    results.add("lab up, restored", what, warm)
    results.add("lab up --cold, booted", what, cold)
    results.add("booted / restored", what, [(median(cold) or 0) / (median(warm) or 1)], "")
    return warm


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="warm starts of each lab (default 5)")
    parser.add_argument("--quick", action="store_true", help="only three minimal guests")
    options = parser.parse_args()
    results = Results("lab")
    results.head()
    name = f"bench{os.getpid()}"
    results.goal("three_warm_s", median(starts(results, name, 3, "minimal", options.runs)), 6)
    if not options.quick:
        results.goal("ten_warm_s", median(starts(results, name, 10, "minimal", options.runs)), 16)
        results.goal("full_warm_s", median(starts(results, name, 1, "debian-12", options.runs)), 9)
        demo = [timed([str(DEMO), "--json"]) for _ in range(options.runs)]
        results.add("script/demo", "3 minimal", demo)
        results.goal("demo_warm_s", median(demo), 40)
    results.write(whole=not options.quick)


if __name__ == "__main__":
    main()
