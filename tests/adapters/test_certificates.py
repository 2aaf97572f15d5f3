"""Reading the certificates of a node's Kubernetes: the program itself, on made-up roots, and what it answers."""

import base64
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from clockstep.core.certificates import MOST
from clockstep.core.x509 import Identity
from clockstep.errors import ReachError
from clockstep.model import Certificate
from clockstep.units import SECOND_NS
from clockstep.workloads.certificates import READ, certificates, read
from core.simulation import SimClock, SimGuest
from pki import key, pem

BEGIN, END = 1_700_000_000, 1_800_000_000
KUBELET, KUBEADM = "var/lib/kubelet/pki", "etc/kubernetes/pki"


def answered(root: Path) -> str:
    """Return what the program says of a root, as any POSIX shell runs it."""
    done = subprocess.run(
        ["/bin/sh", "-c", READ, "clockstep", root], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.stderr == ""
    return done.stdout


def found(root: Path) -> dict[str, str]:
    """Return the subjects that are read below a root, by their files."""
    there = read(answered(root))
    assert there is not None
    assert {(one.not_before_ns, one.not_after_ns) for one in there} <= {(BEGIN * SECOND_NS, END * SECOND_NS)}
    return {one.path: one.subject for one in there}


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def made(subject: str) -> str:
    return pem(subject, BEGIN, END)


def kubeconfig(text: str, quote: str = "") -> str:
    data = base64.b64encode(text.encode()).decode()
    return f"users:\n- name: x\n  user:\n    client-certificate-data: {quote}{data}{quote}\n    client-key-data: eA==\n"


def test_a_node_of_kubeadms_is_read_with_its_kubelet_its_control_plane_and_its_kubeconfigs(tmp_path: Path) -> None:
    put(tmp_path, f"{KUBELET}/kubelet-client-2026-01-01.pem", made("old") + key())
    put(tmp_path, f"{KUBELET}/kubelet-client-2026-11-01.pem", made("system:node:a") + key())
    (tmp_path / KUBELET / "kubelet-client-current.pem").symlink_to("kubelet-client-2026-11-01.pem")
    put(tmp_path, f"{KUBELET}/kubelet.crt", made("a@1") + made("a-ca@1"))
    put(tmp_path, f"{KUBEADM}/apiserver.crt", made("kube-apiserver"))
    put(tmp_path, f"{KUBEADM}/apiserver.key", key())
    put(tmp_path, f"{KUBEADM}/etcd/server.crt", made("a"))
    put(tmp_path, "etc/kubernetes/admin.conf", kubeconfig(made("kubernetes-admin")))
    put(tmp_path, "etc/kubernetes/scheduler.conf", kubeconfig(made("system:kube-scheduler"), '"'))
    put(tmp_path, "etc/kubernetes/kubelet.conf", "users:\n- user:\n    client-certificate: /var/lib/kubelet/x.pem\n")
    assert found(tmp_path) == {
        f"/{KUBELET}/kubelet-client-current.pem": "system:node:a",
        f"/{KUBELET}/kubelet.crt": "a@1",
        f"/{KUBEADM}/apiserver.crt": "kube-apiserver",
        f"/{KUBEADM}/etcd/server.crt": "a",
        "/etc/kubernetes/admin.conf": "kubernetes-admin",
        "/etc/kubernetes/scheduler.conf": "system:kube-scheduler",
    }


@pytest.mark.parametrize("product", ["k3s", "rke2"])
def test_a_node_of_k3s_or_rke2_is_read(tmp_path: Path, product: str) -> None:
    home = f"var/lib/rancher/{product}"
    put(tmp_path, f"{home}/agent/client-kubelet.crt", made("system:node:a"))
    put(tmp_path, f"{home}/agent/client-kubelet.key", key())
    put(tmp_path, f"{home}/server/tls/serving-kube-apiserver.crt", made("kube-apiserver"))
    put(tmp_path, f"{home}/server/tls/etcd/client.crt", made("etcd-client"))
    assert list(found(tmp_path).values()) == ["system:node:a", "kube-apiserver", "etcd-client"]


KEYS: dict[str, Callable[[str, str], str]] = {
    "behind the certificate": lambda cert, secret: cert + secret,
    "before it": lambda cert, secret: secret + cert,
    "alone": lambda _cert, secret: secret,
    "behind one that is cut off": lambda cert, secret: cert[: len(cert) // 2] + "\n" + secret,
    "behind one whose end is missing": lambda cert, secret: re.sub("-----END.*\n", "", cert) + secret,
}


@pytest.mark.parametrize("where", KEYS)
@pytest.mark.parametrize("place", ["a file", "a kubeconfig"])
def test_no_line_of_a_key_leaves_the_node(tmp_path: Path, where: str, place: str) -> None:
    secret = key()
    text = KEYS[where](made("a"), secret)
    put(tmp_path, f"{KUBELET}/kubelet-client-current.pem", text if place == "a file" else "")
    put(tmp_path, "etc/kubernetes/admin.conf", kubeconfig(text) if place == "a kubeconfig" else "")
    answer = answered(tmp_path)
    assert [line for line in secret.splitlines()[1:-1] if line in answer] == []


def test_a_machine_without_kubernetes_has_none(tmp_path: Path) -> None:
    assert found(tmp_path) == {}


def test_what_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    put(tmp_path, f"{KUBEADM}/a.crt", "")
    put(tmp_path, f"{KUBEADM}/b.crt", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n")
    put(tmp_path, f"{KUBEADM}/c.crt", "-----BEGIN CERTIFICATE-----\n" + "A" * 100_000)
    put(tmp_path, f"{KUBEADM}/d.crt", "-----BEGIN CERTIFICATE-----\n" + "AAAA\n" * 100_000)
    put(tmp_path, f"{KUBEADM}/e e.crt", made("fine"))
    (tmp_path / KUBEADM / "f.crt").mkdir()
    (tmp_path / KUBEADM / "g.crt").symlink_to("gone")
    put(tmp_path, "etc/kubernetes/admin.conf", "    client-certificate-data: A\n")
    (tmp_path / "etc/kubernetes/kubelet.conf").write_bytes(bytes(range(256)))
    answer = subprocess.run(
        ["/bin/sh", "-c", READ, "clockstep", tmp_path], capture_output=True, check=True, timeout=20
    ).stdout
    assert len(answer) < 10_000
    there = read(answer.decode(errors="replace"))
    assert there is not None
    assert [(one.path, one.subject) for one in there] == [(f"/{KUBEADM}/e e.crt", "fine")]


def test_their_number_is_bounded_in_the_node_and_again_here(tmp_path: Path) -> None:
    one = made("a")
    for number in range(2 * MOST):
        put(tmp_path, f"{KUBEADM}/{number}.crt", one)
    assert len(found(tmp_path)) == MOST
    many = "".join(f"\n#clockstep file /{number}\n{one}" for number in range(2 * MOST))
    there = read(f"{many}\n#clockstep end\n")
    assert there is not None
    assert len(there) == MOST


def test_an_answer_that_is_not_whole_is_none() -> None:
    assert read(f"#clockstep file /a\n{made('a')}") is None


class Answering(SimGuest):
    """A guest that answers the program with this."""

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        return (0, self.certificates, "") if argv[2] == READ else super()._execute(argv)


def test_a_node_is_read_by_its_agent() -> None:
    clock = SimClock()
    guest = SimGuest(clock, certificates=f"#clockstep file /etc/a.crt\n{made('a')}")
    expected = Identity("a", BEGIN * SECOND_NS, END * SECOND_NS)
    assert certificates(guest.reach(), clock.mono + 10 * SECOND_NS) == (Certificate("/etc/a.crt", *expected),)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "does not report"),
        ("#clockstep unreadable /var/lib/kubelet/pki\n#clockstep end\n", "/var/lib/kubelet/pki may not be read"),
    ],
)
def test_a_node_that_does_not_say_or_may_not_is_an_error_with_the_way_out(answer: str, said: str) -> None:
    clock = SimClock()
    with pytest.raises(ReachError, match=said) as caught:
        certificates(Answering(clock, certificates=answer).reach(), clock.mono + 10 * SECOND_NS)
    assert caught.value.hint
    assert caught.value.lasting


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    put(tmp_path, f"{KUBELET}/kubelet.crt", made("a"))
    (tmp_path / KUBELET).chmod(0)
    powerless = [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    command = [*powerless, "/bin/sh", "-c", READ, "clockstep", str(tmp_path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    finally:
        (tmp_path / KUBELET).chmod(0o700)
    assert f"#clockstep unreadable /{KUBELET}\n" in done.stdout
