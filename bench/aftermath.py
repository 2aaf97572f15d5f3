"""How long it takes to read a large cluster for its aftermath, with how much memory, and by how many requests; and how
long a cluster takes to work again after a revert that let a webhook's certificate lapse.

    bench/aftermath.py [--part PART] [--runs N]

A real API server (kubelite) has 200 Nodes with their leases, 2,000 pods, 500 TLS Secrets and 50 webhooks. clockstep is
run as people run it; the server's audit log counts what was asked.

The story is of two real kubelets in the lab's guests. A webhook in a pod gets a certificate of a minute, a snapshot is
taken, the minute passes, and `clockstep revert --aftermath --repair` is run. From the last resume it is counted until a
Deployment is admitted that the webhook has to admit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clockstep_lab import lab as labs
from clockstep_lab.kubernetes import gate
from clockstep_lab.kubernetes.api import Object
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.kubernetes.workloads import NAMESPACE as SHOP
from clockstep_lab.places import lab_dir
from harness import Cluster, Results, Resumes, kubelets, median, pass_time

NODES, PODS, SECRETS, WEBHOOKS = 200, 2000, 500, 50
WITHIN_S, WITHIN_MB, MOST_REQUESTS = 10, 200, 60
PARTS = ("read", "story")
LIFE_S, CUT_OFF_S, WORKS_WITHIN_S = 60, 300, 60
NAMESPACE = "default"
AT_ONCE = 8
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
LABELS = {f"label-{number}": "x" * 40 for number in range(10)}
"""Pods and Nodes of real clusters are some kilobytes."""


class Audited(Kubelite):
    """A kubelite that writes down what it is asked."""

    @property
    def log(self) -> Path:
        return self.home / "audit.log"

    def _api_flags(self) -> dict[str, object]:
        policy = self.home / "policy.json"
        policy.write_text(json.dumps(POLICY))
        return super()._api_flags() | {"audit-policy-file": policy, "audit-log-path": self.log}


def objects() -> Iterator[tuple[str, Object]]:
    """Give all objects with the collections that they are created in."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    for number in range(NODES):
        images = [{"names": [f"registry.example/{'i' * 60}:{image}"], "sizeBytes": 1} for image in range(50)]
        yield "/api/v1/nodes", {"metadata": {"name": f"node-{number}", "labels": LABELS}, "status": {"images": images}}
        spec = {"holderIdentity": f"node-{number}", "leaseDurationSeconds": 40, "renewTime": now}
        lease = {"metadata": {"name": f"node-{number}"}, "spec": spec}
        yield "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease
    for number in range(PODS):
        environment = [{"name": f"VARIABLE_{one}", "value": "x" * 60} for one in range(20)]
        container = {"name": "x", "image": "x", "env": environment}
        spec = {"nodeName": f"node-{number % NODES}", "containers": [container, {**container, "name": "y"}]}
        metadata = {"name": f"pod-{number}", "labels": LABELS}
        yield f"/api/v1/namespaces/{NAMESPACE}/pods", {"metadata": metadata, "spec": spec}


def more(certificate: str) -> Iterator[tuple[str, Object]]:
    """Give Secrets and webhooks."""
    for number in range(SECRETS):
        data = {"tls.crt": certificate, "tls.key": certificate}
        secret: Object = {"metadata": {"name": f"tls-{number}"}, "type": "kubernetes.io/tls", "data": data}
        yield f"/api/v1/namespaces/{NAMESPACE}/secrets", secret
    for number in range(WEBHOOKS):
        rule = {"apiGroups": ["x.example"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"]}
        service = {"name": f"webhook-{number}", "namespace": NAMESPACE}
        webhook = {
            "name": f"webhook-{number}.example.com",
            "clientConfig": {"service": service, "caBundle": certificate},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        yield path, {"metadata": {"name": f"webhook-{number}"}, "webhooks": [webhook]}


def fill(cluster: Audited) -> None:
    """Create all that is read."""
    import base64

    certificate = base64.b64encode(cluster.authority.certificate.file.read_bytes()).decode()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda one: cluster.admin.create(*one), [*objects(), *more(certificate)]))


def read(cluster: Audited, folder: str) -> tuple[float, float, int]:
    """Run clockstep; return the seconds, the megabytes that it took at most, and how many lists it asked for."""
    begin = cluster.log.stat().st_size
    words = ["aftermath", "--no-wait", "--kubeconfig", str(cluster.kubeconfig), "-c", "test:///default", "-o", "json"]
    environ = {**os.environ, "CLOCKSTEP_STATE": folder, "HOME": folder}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=False, env=environ, cwd=folder
    )
    took = time.monotonic() - started
    report = json.loads(done.stdout)
    unread = [f"{one['code']}: {one['why']}" for one in report["checks"] if one["state"] == "not-looked"]
    assert not any("forbidden" in why or "answer" in why for why in unread), unread
    return took, int(done.stderr.splitlines()[-1]) / 1024, _lists(cluster.log, begin)


MEASURED = """
import os, sys
from clockstep.cli import main
ended = os._exit
def left(code):
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")).split()[1], file=sys.stderr, flush=True)
    ended(code)
os._exit = left
sys.exit(main())
"""
"""clockstep with its own peak memory as its last line on stderr; it leaves by os._exit. What getrusage(2) has of that
counts the program too that started it."""


def _lists(log: Path, begin: int) -> int:
    with log.open() as file:
        file.seek(begin)
        asked: list[dict[str, Any]] = [json.loads(line) for line in file]
    return sum(one["verb"] == "list" and one.get("userAgent", "").startswith("python") for one in asked)


def of_reading(results: Results, runs: int) -> None:
    """Read a large cluster."""
    name = f"bench-{os.getpid()}"
    try:
        with Audited(lab_dir(name), print) as cluster, tempfile.TemporaryDirectory() as folder:
            fill(cluster)
            measured = [read(cluster, folder) for _ in range(runs)]
    finally:
        labs.down(name, print)
    seconds, megabytes, requests = zip(*measured, strict=True)
    what = f"{NODES} nodes, {PODS} pods"
    results.add("aftermath --no-wait", what, seconds)
    results.add("aftermath --no-wait", what, megabytes, "MB")
    results.add("aftermath --no-wait", what, requests, "rq")
    results.goal("read_2000_s", max(seconds), WITHIN_S)
    results.goal("rss_2000_mb", max(megabytes), WITHIN_MB)
    results.goal("requests", max(requests), MOST_REQUESTS)


def of_the_story(results: Results, runs: int) -> None:
    """Let a webhook's certificate lapse in a snapshot, and revert to it."""
    with kubelets() as (machines, plane):
        resumes = Resumes(machines)
        times = [works_after(machines, plane, resumes, f"story-{number}", LIFE_S + number) for number in range(runs)]
    results.add("revert --aftermath --repair", "lapsed webhook works", times)
    results.goal("revert_to_working_s", median(times), WORKS_WITHIN_S)


def works_after(machines: Cluster, plane: ControlPlane, resumes: Resumes, snapshot: str, life_s: int) -> float | None:
    """Play the story once, and return how many seconds after the last resume the webhook admits again."""
    gate.has_certificate_of(plane.admin, SHOP, life_s)
    while not gate.is_rolled_out(plane.admin, SHOP) or gate.refused(plane.admin, SHOP):
        time.sleep(0.2)
    began = time.monotonic()
    on = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri]
    subprocess.run([*on, "snapshot", "create", snapshot, "--all"], capture_output=True, check=True)
    gate.later_ones_last(plane.admin, SHOP, gate.TEN_YEARS_S)
    pass_time(max(0, life_s - (time.monotonic() - began)))
    resumes.at_ns.clear()
    access = ["--kubeconfig", str(plane.kubeconfig), "--aftermath", "--repair"]
    words = [*on, "revert", snapshot, "--yes", *access]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    try:
        while time.monotonic() - began < CUT_OFF_S:
            if len(resumes.at_ns) == len(machines.names) and not gate.trouble(plane.admin, SHOP):
                return (time.monotonic_ns() - resumes.last()) / 1e9
            time.sleep(0.2)
        return None
    finally:
        running.wait(CUT_OFF_S)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="measure this part only; the results of the other stay")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    results = Results("aftermath")
    results.head()
    if options.part != "story":
        of_reading(results, options.runs)
    if options.part != "read":
        of_the_story(results, options.runs)
    results.write(whole=options.runs > 1, instead=bool(options.part))


if __name__ == "__main__":
    main()
