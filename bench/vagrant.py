"""How soon clocks are right in a real Vagrant project that is reached by ssh, judged by the witness.

    bench/vagrant.py [--runs N]

Two full Debian guests that `vagrant up` has made, on a libvirt network whose spanning tree is switched off. It needs
root.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clockstep_lab import full, vagrant
from clockstep_lab.vagrant import Project
from clockstep_lab.witness import Witness
from harness import Results, median, pass_time, right_after, slowest

CLOCKSTEP = (sys.executable, "-m", "clockstep")
LIMIT_NS = 10_000_000
CUT_OFF_S = 60
AGE_S = 4
DIAL = """
import socket, sys, time
for line in sys.stdin:
    while True:
        try:
            socket.create_connection((sys.argv[1], 22), 0.1).close()
            break
        except OSError:
            time.sleep(0.01)
    print(time.monotonic_ns(), flush=True)
"""
"""For each line it gets: when that address was first found to take a connection on port 22."""


class Bench:
    """The project, its witness, and libvirt's view of it."""

    def __init__(self, project: Project, witness: Witness) -> None:
        self.project, self.witness = project, witness

    def virsh(self, *words: str) -> None:
        """Do the same to all machines, side by side."""

        def one(name: str) -> None:
            self.project.run("virsh", words[0], self.project.domain(name), *words[1:])

        with ThreadPoolExecutor(len(self.project.names)) as threads:
            list(threads.map(one, self.project.names))

    def clockstep(self, *words: str) -> float:
        """How long a command takes. Raises CalledProcessError when it fails."""
        began = time.monotonic()
        command = self.project.inside([*CLOCKSTEP, *words])
        subprocess.run(command, env=self.project.environment, check=True, capture_output=True)
        return time.monotonic() - began

    def right_after(self, name: str, began_ns: int) -> float | None:
        """Seconds from then until a clock was right."""
        return right_after(self.witness, name, LIMIT_NS, began_ns, CUT_OFF_S)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The watcher runs meanwhile."""
        with subprocess.Popen(
            self.project.inside([*CLOCKSTEP, "watch"]),
            env=self.project.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stderr
            assert any("watching" in line for line in process.stderr)
            try:
                yield
            finally:
                subprocess.run(["kill", "--", f"-{process.pid}"], check=False)
                process.wait()

    def resumed(self) -> float | None:
        """Pause all, resume them, and wait for right clocks."""
        self.virsh("suspend")
        pass_time(AGE_S)
        began_ns = time.monotonic_ns()
        self.virsh("resume")
        return slowest([self.right_after(name, began_ns) for name in self.project.names])

    def reverted(self, act: Callable[[], object]) -> float | None:
        """Revert, and wait for right clocks: seconds from the first sign of life of each machine after that."""
        before = {name: heard.connections for name, heard in self.witness.heard.items()}
        with ThreadPoolExecutor(1) as threads:
            acting = threads.submit(act)
            came = [self.right_after(name, self._back_ns(name, before[name])) for name in self.project.names]
            acting.result()
        return slowest(came)

    def reverted_since_port(self, act: Callable[[], object]) -> float | None:
        """Revert, and wait for right clocks: seconds from when port 22 of each machine first answers after that."""
        before = {name: heard.connections for name, heard in self.witness.heard.items()}
        with ExitStack() as stack, ThreadPoolExecutor(1 + len(self.project.names)) as threads:
            dialling = {name: stack.enter_context(self._dialler(name)) for name in self.project.names}
            acting = threads.submit(act)
            came = list(threads.map(lambda name: self._since_port(name, before[name], dialling[name]), dialling))
            acting.result()
        return slowest(came)

    def _since_port(self, name: str, connections: int, dialler: "subprocess.Popen[str]") -> float | None:
        assert dialler.stdin
        assert dialler.stdout
        began_ns = self._back_ns(name, connections)
        print(file=dialler.stdin, flush=True)
        answered_ns = int(dialler.stdout.readline())
        seconds = self.right_after(name, began_ns)
        return None if seconds is None else seconds - (answered_ns - began_ns) / 1e9

    @contextmanager
    def _dialler(self, name: str) -> "Iterator[subprocess.Popen[str]]":
        (address,) = re.findall(r"[\d.]+(?=/)", self.project.run("virsh", "domifaddr", self.project.domain(name)))
        with subprocess.Popen(
            self.project.inside([sys.executable, "-c", DIAL, address]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield process

    def _back_ns(self, name: str, connections: int) -> int:
        """When a machine was first heard in a new QEMU."""
        until = time.monotonic() + CUT_OFF_S
        while time.monotonic() < until:
            for look in list(self.witness.heard[name].looks):
                if look.connection > connections:
                    return look.at_monotonic_ns
            time.sleep(0.02)
        raise RuntimeError(f"{name} does not come back")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="how often each is done (default 7)")
    options = parser.parse_args()
    results, runs = Results("vagrant"), range(options.runs)
    with tempfile.TemporaryDirectory() as home:
        image = full.image("debian-12", print)
        with (
            vagrant.project(image, Path(home) / "v", print) as project,
            Witness(project.witness_folder(), list(project.names), streams=False) as witness,
        ):
            measure(Bench(project, witness), results, runs)
    results.write()


def measure(bench: Bench, results: Results, runs: range) -> None:
    results.head()
    bench.clockstep("domain", "apply", "--spanning-tree", "--yes")
    bench.clockstep("status")
    status = [bench.clockstep("status") for _ in runs]
    results.add("status", "logins kept", status)
    results.goal("status_s", median(status), 2)
    bench.clockstep("snapshot", "create", "bench")

    def revert() -> None:
        bench.virsh("snapshot-revert", "bench", "--running")

    with bench.watching():
        resumed = [bench.resumed() for _ in runs]
        results.add("watch, virsh suspend and resume", "right within 10 ms", resumed)
        watched = [bench.reverted(revert) for _ in runs]
        results.add("watch, virsh snapshot-revert", "right within 10 ms", watched)
        from_port = [bench.reverted_since_port(revert) for _ in runs]
        results.add("watch, virsh snapshot-revert", "right, from port 22 on", from_port)
    reverted = [bench.reverted(lambda: bench.clockstep("revert", "bench", "--yes")) for _ in runs]
    results.add("clockstep revert", "right within 10 ms", reverted)
    results.goal("ssh_revert_from_port_22_s", median(from_port), 2)
    results.goal("ssh_resume_10ms_s", median(resumed), 0.8)
    results.goal("ssh_revert_10ms_s", max(median(watched) or CUT_OFF_S, median(reverted) or CUT_OFF_S), 3)
    bench.clockstep("setup", "apply", "--guest-agent", "--yes")
    bench.clockstep("snapshot", "create", "agent")
    by_agent = [bench.reverted(lambda: bench.clockstep("revert", "agent", "--yes")) for _ in runs]
    results.add("clockstep revert, agent set up", "right within 10 ms", by_agent)
    results.goal("agent_after_setup_10ms_s", median(by_agent), 0.6)


if __name__ == "__main__":
    main()
