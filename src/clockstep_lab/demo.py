"""The demo: a real cluster of guests is reverted, first as people do it today, then by clockstep, and judged."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import click
import libvirt

from . import lab as labs
from .cli import run_command
from .errors import LabError
from .lab import Lab
from .run import OUTPUT_SHOWN
from .threads import side_by_side
from .tls import Server
from .witness import Look, Testimony, Verdict, Witness, judge

NODES = 3
AWAY_S = 10
SNAPSHOT = "before"
SYNCED_S = 90
RIGHT_NS = 5_000_000
NEAR = 10
BURST_OVER = "timeout 20 sh -c 'until chronyc -n -c sources | grep -qE \",[137]*[17]7,\"; do sleep 0.3; done'"
"""Four samples and more in the reach register (chronyc(1)): the burst at chronyd's start has ended."""


@dataclass(frozen=True)
class Judged:
    """What the demo says of one node; nanoseconds.

    `bound_ns` is what clockstep proved the clock to be within. `residual_ns` is what the witness read nearest to that
    proof, `witness_error_ns` its own error, `bound_true` whether the two agree.
    """

    name: str
    behind_by_ns: int
    wrong_for_ns: int
    right_within_ns: int | None
    residual_ns: int
    bound_ns: int
    witness_error_ns: int
    bound_true: bool


class Stage:
    """What the acts of the demo work with: the lab, its witness, and where the story is told."""

    def __init__(self, lab: Lab, witness: Witness, *, as_json: bool) -> None:
        self.lab, self.witness, self._as_json = lab, witness, as_json
        self.names = [machine.name for machine in lab.machines]
        self.connections: dict[str, int] = {}
        self.tolerances: dict[str, int] = {}

    def tell(self, text: str = "") -> None:
        click.echo(text, err=self._as_json)

    def shell(self, node: str, command: str, stdin: bytes = b"", first: str = "") -> str:
        """Run a command in a guest, after another that is not shown; what it printed, on either stream."""
        self.tell(f"{node}# {command}")
        remote = ["ssh", "-F", str(self.lab.folder / "ssh_config"), node, first + command]
        done = subprocess.run(remote, input=stdin, capture_output=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).decode(errors="replace").strip()[:OUTPUT_SHOWN]
        self.tell(said.partition("\n")[0])
        return said

    def clockstep(self, *words: str) -> dict[str, Any]:
        """Run the product as a user would, its story shown as it goes; its report is shown as its table, too."""
        from clockstep.model import SetReport
        from clockstep.render.output import print_page
        from clockstep.render.text import set_page
        from clockstep.wire import decoded

        self.tell(f"$ clockstep {shlex.join(words)}")
        command = [sys.executable, "-m", "clockstep", "-o", "json", "--connect", f"lab:{self.lab.name}", *words]
        environment = {**os.environ, "CLOCKSTEP_STATE": str(self.lab.folder / "state")}
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
        record = decoded(done.stdout, SetReport)
        if record is None:
            raise LabError(f"clockstep {words[0]} failed with exit code {done.returncode}")
        print_page(set_page(record), sys.stderr if self._as_json else sys.stdout)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def before_a_revert(self) -> None:
        """Note what tells the guests' new lives from their old ones."""
        self.connections = {name: heard.connections for name, heard in self.witness.heard.items()}

    def heard(self, name: str) -> Testimony:
        return self.witness.heard[name].returned(self.connections[name])

    def await_return(self) -> None:
        """Wait until every reverted guest has been heard."""
        until = time.monotonic() + 30
        while not all(self.heard(name).looks for name in self.names):
            if time.monotonic() > until:
                raise LabError("no answer from a reverted guest")
            time.sleep(0.02)

    def judge(self, name: str) -> Verdict:
        return judge(self.heard(name), self.tolerances[name])


def play(stage: Stage) -> dict[str, Any]:
    """Play all acts and return what `--json` prints."""
    first = stage.names[0]
    stage.tell("-- Three real guests, each with Debian's chronyd following an NTP server. A snapshot of all is taken.")
    await_sync(stage)
    stage.clockstep("snapshot", "create", SNAPSHOT, "--all")
    stage.tell(f"\n-- {AWAY_S} seconds pass; a web server gets a new certificate.")
    learn_tolerances(stage, AWAY_S)
    with Server(stage.lab.folder) as server:
        bare_revert(stage)
        stage.tell("\n-- What breaks:")
        tls_before = fetch(stage, first, server)
        stage.tell("\n-- What people do:")
        naive = makestep(stage, first)
        stage.tell("\n-- What clockstep does:")
        stage.before_a_revert()
        report = stage.clockstep("revert", SNAPSHOT, "--yes")
        tls_after = fetch(stage, first, server)
    judged = verdicts(stage, report)
    return {
        "nodes": [asdict(node) for node in judged],
        "naive": naive,
        "tls": {"before": tls_before, "after": tls_after},
    }


def await_sync(stage: Stage) -> None:
    """Bring every guest's chronyd to where one is that has run for long: in sync, and its `makestep 1 3` used up."""

    def settle(name: str) -> None:
        command = f"chronyc waitsync {SYNCED_S} 0 0 1; chronyc makestep 1 0; {BURST_OVER}"
        words = ["ssh", "-F", str(stage.lab.folder / "ssh_config"), name, command]
        subprocess.run(words, capture_output=True, timeout=SYNCED_S + 30, check=False)

    side_by_side(settle, stage.names)
    if not stage.witness.await_right(RIGHT_NS, SYNCED_S):  # chronyd may be in sync and slewing still
        raise LabError("the guests' clocks were not corrected in time")


def learn_tolerances(stage: Stage, away_s: float) -> None:
    """Let the time pass, the witness measuring its own delays meanwhile."""
    began_ns = time.monotonic_ns()
    while time.monotonic_ns() - began_ns < away_s * 1_000_000_000:
        time.sleep(0.1)
    stage.tolerances = {name: heard.since(began_ns).tolerance_ns() for name, heard in stage.witness.heard.items()}


def bare_revert(stage: Stage) -> None:
    stage.tell("\n-- A bare revert, as by virsh snapshot-revert.")
    stage.before_a_revert()

    def revert(name: str) -> None:
        domain = libvirt.open(stage.lab.uri).lookupByName(name)
        domain.revertToSnapshot(domain.snapshotLookupByName(SNAPSHOT), 0)

    side_by_side(revert, stage.names)
    stage.await_return()
    for name in stage.names:
        stage.tell(f"   {name} is {seconds(stage.judge(name).behind_by_ns)} behind, says the witness")


def fetch(stage: Stage, node: str, server: Server) -> str:
    """What curl in a guest says of the TLS server, whose certificate it is given to trust."""
    trusted = server.certificate.read_bytes()
    command = f"curl --silent --show-error --max-time 20 --cacert /run/host.pem {server.url}"
    return stage.shell(node, command, stdin=trusted, first="cat > /run/host.pem; ")


def makestep(stage: Stage, name: str) -> dict[str, Any]:
    """What `chronyc makestep` answers, and by how much it moved the clock."""
    before = stage.heard(name).looks[-1]
    answer = stage.shell(name, "chronyc makestep")
    stage.witness.await_looks()
    after = stage.heard(name).looks[-1]
    stage.tell(f"   ... and {name} is still {seconds(-after.offset_ns)} behind, says the witness")
    return {"answer": answer, "moved_ns": after.offset_ns - before.offset_ns}


def verdicts(stage: Stage, report: dict[str, Any]) -> list[Judged]:
    """Hold what clockstep claims against what the witness heard, and show it."""
    stage.witness.await_looks()
    judged = [verdict(stage, episode) for episode in report["episodes"]]
    stage.tell("\n-- What the witness says, which shares no code with clockstep:")
    for node in judged:
        stage.tell(
            f"   {node.name} was {seconds(node.behind_by_ns)} behind for {seconds(node.wrong_for_ns)}; "
            f"clockstep verified {millis(node.bound_ns)}, the witness read {millis(node.residual_ns)} "
            f"± {millis(node.witness_error_ns)}: {'true' if node.bound_true else 'NOT TRUE'}"
        )
    return judged


def verdict(stage: Stage, episode: dict[str, Any]) -> Judged:
    """Judge one node. Raises LabError for an episode without a proof."""
    name, after, readings = episode["node"], episode["after"], episode["facts"]["readings"]
    if not after or not readings or episode["wrong_for_ns"] is None:
        raise LabError(f"clockstep has not verified {name}: {'; '.join(f['text'] for f in episode['findings'])}")
    seen = stage.judge(name)
    look = nearest(stage.heard(name).looks, readings[-1]["at_ns"])
    bound_ns = abs(after["value_ns"]) + after["error_ns"]
    return Judged(
        name=name,
        behind_by_ns=seen.behind_by_ns,
        wrong_for_ns=seen.wrong_for_ns,
        right_within_ns=seen.right_within_ns,
        residual_ns=look.offset_ns,
        bound_ns=bound_ns,
        witness_error_ns=look.error_ns,
        bound_true=abs(look.offset_ns) <= bound_ns + look.error_ns,
    )


def nearest(looks: Sequence[Look], realtime_ns: int) -> Look:
    """The look with the smallest error of the few nearest to a moment of this machine's wall clock."""
    moment_ns = time.monotonic_ns() - (time.time_ns() - realtime_ns)
    near = sorted(looks, key=lambda look: abs(look.at_monotonic_ns - moment_ns))[:NEAR]
    return min(near, key=lambda look: look.error_ns)


def seconds(ns: int) -> str:
    return f"{ns / 1e9:.2f} s"


def millis(ns: int) -> str:
    return f"{ns / 1e6:.2f} ms"


def perform(image: str, count: int, act: Callable[[Stage], dict[str, Any]], *, as_json: bool) -> NoReturn:
    """Bring a lab of the demo's own up, play an act in it, and exit with 0 if all that clockstep claimed was true."""
    name = f"demo{os.getpid()}"
    try:
        lab = labs.up(name, count, image, lambda text: click.echo(f"   {text}", err=as_json))
        with Witness(lab.folder, [machine.name for machine in lab.machines]) as witness:
            shown = act(Stage(lab, witness, as_json=as_json))
    finally:
        with suppress(LabError):
            labs.down(name, lambda _: None)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    sys.exit(0 if all(node["bound_true"] for node in shown["nodes"]) else 1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; the story goes to stderr.")
def demo(as_json: bool) -> None:
    """Revert a cluster of real guests, see what breaks, and see clockstep mend it. Changes nothing on this machine.

    With --kubernetes first, the guests are nodes of Kubernetes.
    """
    perform("minimal", NODES, play, as_json=as_json)


if __name__ == "__main__":
    run_command(demo, "script/demo")
