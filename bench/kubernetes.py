"""What `nodes` and `status` take with 1,000 Nodes, and a revert of two kubelets until their leases are fresh.

    bench/kubernetes.py [--part PART] [--nodes N] [--runs N]

Of 1,000 Nodes the API server is real (kubelite, 1.36): each Node has fifty images, as many as a kubelet reports, and a
lease. The machines are the stand-in's of scale.py, all sound; half of the Nodes show their UUIDs in the other byte
order. Each run is a process of its own, from its start to its end; the stand-in's memory is in what it comes to. Beside
that the same without a cluster, which is what the clocks take.

The two kubelets run in the lab's guests, their control plane beside them. They are reverted to what they were twenty
seconds before; from the last resume it is counted until both leases were renewed after it, by this machine's clock.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from clockstep import cli
from clockstep_lab import lab as labs
from clockstep_lab.kubernetes.cluster import Cluster as ApiServer
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.kubernetes.leases import renewal
from clockstep_lab.places import lab_dir
from harness import SNAPSHOT, Cluster, Results, Resumes, kubelets, median, pass_time
from scale import command, max_or_none, standin

WHOLE, RUNS = 1000, 5
PARTS = ("nodes", "kubelets")
AGE_S, CUT_OFF_S = 20.0, 60.0
COMMANDS = ("nodes", "status")
IMAGES = 50
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
INFO = "architecture bootID containerRuntimeVersion kernelVersion kubeProxyVersion kubeletVersion machineID"


def fill(cluster: ApiServer, nodes: int) -> None:
    """Register the Nodes of all machines, each with a lease."""
    for number, machine in enumerate(standin(nodes, 0, 0).machines):
        uuid = UUID(machine.uuid)
        shown = str(UUID(bytes=uuid.bytes_le) if number % 2 else uuid)
        name = f"worker-{number:04}.example.org"
        cluster.admin.create(NODES, node(name, shown))
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": f"{datetime.now(UTC):%FT%T.%fZ}"}
        cluster.admin.create(LEASES, {"metadata": {"name": name}, "spec": spec})


def node(name: str, uuid: str) -> dict[str, Any]:
    """A Node as big as a real one."""
    now = f"{datetime.now(UTC):%FT%TZ}"
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    conditions = [
        {"type": kind, "status": str(kind == "Ready"), "reason": "Kubelet", "lastHeartbeatTime": now} for kind in kinds
    ]
    images = [
        {"names": [f"registry.example.org/team/application-{n}@sha256:{n:064x}", f"registry.example.org/team/app:{n}"]}
        for n in range(IMAGES)
    ]
    info = dict.fromkeys([*INFO.split(), "operatingSystem", "osImage"], "made-up") | {"systemUUID": uuid}
    labels = {"kubernetes.io/hostname": name, "node-role.kubernetes.io/worker": ""}
    status = {"conditions": conditions, "images": images, "nodeInfo": info}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def run_once(part: str, nodes: int, kubeconfig: str | None) -> dict[str, Any]:
    """Run a command over all, and return what it came to."""
    cluster = ("--kubeconfig", kubeconfig) if kubeconfig else ()
    words = command(standin(nodes, 0, 0), "-o", "json", part, "--all", *cluster)
    began, printed = time.monotonic(), io.StringIO()
    with redirect_stdout(printed):
        cli.run(words)
    took_s = time.monotonic() - began
    found = json.loads(printed.getvalue())
    matched = sum(bool(one["kubernetes"]) for one in found.get("nodes") or found["episodes"])
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"took_s": took_s, "rss_mb": rss_mb, "matched": matched}


def measured(part: str, nodes: int, kubeconfig: Path | None) -> dict[str, Any]:
    """Measure in a process of its own."""
    cluster = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--child", part, "--nodes", str(nodes), *cluster]
        environment = {**os.environ, "CLOCKSTEP_STATE": folder}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["matched"] == (nodes if kubeconfig else 0), found
    return found


def of_nodes(results: Results, nodes: int, runs: int) -> None:
    """Ask for many Nodes of a real API server, which no kubelet stands behind."""
    name = f"bench-{os.getpid()}"
    took: list[float | None] = []
    rss: list[float] = []
    try:
        with Kubelite(lab_dir(name), lambda text: print(text, file=sys.stderr)) as server:
            fill(server, nodes)
            for part in COMMANDS:
                beside = [measured(part, nodes, server.kubeconfig) for _ in range(runs)]
                alone = [measured(part, nodes, None) for _ in range(runs)]
                label = f"clockstep {part}, {nodes} Nodes"
                results.add(label, "without the cluster", [run["took_s"] for run in alone])
                results.add(label, "the whole command", [run["took_s"] for run in beside])
                results.add(label, "memory, stand-in too", [run["rss_mb"] for run in beside], "MB")
                took.append(median([run["took_s"] for run in beside]))
                rss.append(max(run["rss_mb"] for run in beside))
    finally:
        labs.down(name, lambda _text: None)
    results.goal("nodes_1000_s", max_or_none(*took), 3)
    results.goal("rss_1000_mb", max(rss), 200)


def of_kubelets(results: Results, runs: int) -> None:
    """Revert two real kubelets, by clockstep, and once without it."""
    with kubelets() as (machines, plane):
        on = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri]
        subprocess.run([*on, "snapshot", "create", SNAPSHOT, "--all"], capture_output=True, check=True)
        revert = [*on, "revert", SNAPSHOT, "--yes", "--kubeconfig", str(plane.kubeconfig)]
        resumes = Resumes(machines)
        ours = [fresh_after(machines, plane, resumes, revert) for _ in range(runs)]
        bare = ["virsh", "-c", machines.lab.uri, "snapshot-revert", "--snapshotname", SNAPSHOT, "--running"]
        alone = fresh_after(machines, plane, resumes, *([*bare, name] for name in machines.names))
    results.add("virsh snapshot-revert", "two kubelets: leases fresh", [alone])
    results.add("clockstep revert", "two kubelets: leases fresh", ours)
    results.goal("revert_to_fresh_leases_s", median(ours), 10)


def fresh_after(machines: Cluster, plane: ControlPlane, resumes: Resumes, *commands: list[str]) -> float | None:
    """Run commands that revert, and return how many seconds after the last resume all leases were renewed after it."""
    pass_time(AGE_S)
    resumes.at_ns.clear()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    began = time.monotonic()
    try:
        while time.monotonic() - began < CUT_OFF_S:
            if len(resumes.at_ns) == len(machines.names):
                resumed_ns, now_ns = resumes.last(), time.monotonic_ns()
                since_ns = time.time_ns() - (now_ns - resumed_ns)
                if all(renewal(plane.admin, name).renewed_ns >= since_ns for name in machines.names):
                    return (now_ns - resumed_ns) / 1e9
            time.sleep(0.05)
        return None
    finally:
        for process in running:
            process.wait(CUT_OFF_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="measure this part only; the results of the other stay")
    parser.add_argument("--nodes", type=int, default=WHOLE, help="this many; any other than 1,000 is written nowhere")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--child", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("--kubeconfig", help=argparse.SUPPRESS)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if options.child:
        print(json.dumps(run_once(options.child, options.nodes, options.kubeconfig)), flush=True)
        os._exit(0)
    results = Results("kubernetes")
    results.head()
    if options.part != "kubelets":
        of_nodes(results, options.nodes, options.runs)
    if options.part != "nodes":
        of_kubelets(results, options.runs)
    results.write(whole=options.nodes == WHOLE, instead=bool(options.part))


if __name__ == "__main__":
    main()
