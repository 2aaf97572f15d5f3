"""Which kubelets are restarted for their certificates, and which are left with the reason, on made-up nodes."""

from typing import Any

import pytest

from clockstep.core.aftermath.checking import chosen, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.kubelet import PROOF_NS, mark
from clockstep.core.aftermath.planning import plan
from clockstep.model import Act, Certificate, Deed, Healed, KubeCondition, KubeRef, NodeCertificates, Repair
from clockstep.model.damage import Input, KubeletUnit, Seen, Unread
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from core.aftermath.made import NODE, NOW, certificate, node, seen

SERVER = "/var/lib/kubelet/pki/kubelet-server-current.pem"
CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
SIGNED = "/var/lib/kubelet/pki/kubelet.crt"
CONFIG = "/etc/kubernetes/kubelet.conf"
K3S = "/var/lib/rancher/k3s/agent/client-kubelet.crt"
RKE2 = "/var/lib/rancher/rke2/agent/serving-kubelet.crt"
LAPSED, EARLY = (-DAY_NS, -HOUR_NS), (2 * MINUTE_NS, DAY_NS)


def of(path: str, when: tuple[int, int] = LAPSED) -> Certificate:
    return certificate(*when, path)


def there(*certificates: Certificate, unit: KubeletUnit | None = None, **fields: Any) -> Seen:
    """A node with these certificates, whose kubelet is run by systemd unless it is said how else."""
    kubelets = (unit or KubeletUnit(NODE, "kubelet"),)
    return seen(files=(NodeCertificates(NODE, certificates),), **{"kubelets": kubelets, **fields})


def planned(now: Seen) -> tuple[Repair, ...]:
    return plan(look(chosen(CHECKS, ["CS-KUBELET"], []), now), REMEDIES, now)


@pytest.mark.parametrize(
    ("path", "when", "unit"),
    [
        (SERVER, LAPSED, KubeletUnit(NODE, "kubelet")),
        (CLIENT, LAPSED, KubeletUnit(NODE, "kubelet", bootstraps=True)),
        (CONFIG, LAPSED, KubeletUnit(NODE, "kubelet", bootstraps=True)),
        (K3S, LAPSED, KubeletUnit(NODE, "k3s-agent")),
        (K3S, EARLY, KubeletUnit(NODE, "k3s-agent")),
        (RKE2, LAPSED, KubeletUnit(NODE, "rke2-agent")),
    ],
)
def test_a_kubelet_that_gets_a_new_certificate_at_its_start_is_restarted(
    path: str, when: tuple[int, int], unit: KubeletUnit
) -> None:
    (one,) = planned(there(of(path, when), unit=unit))
    on = KubeRef("Node", NODE)
    assert one.act == Act(Deed.RESTART_KUBELET, on, "CS-KUBELET", NODE, mark=mark(of(path, when)))
    assert (one.broken.part, one.outcome) == (path, Healed.LEFT)


@pytest.mark.parametrize(
    ("path", "when", "fields", "why"),
    [
        (SIGNED, LAPSED, {}, "a restart keeps what it has signed itself"),
        (CLIENT, LAPSED, {}, "cannot ask for another one"),
        (CONFIG, LAPSED, {}, "cannot ask for another one"),
        (SERVER, EARLY, {}, "it is valid in 2 min: wait"),
        (SERVER, LAPSED, {"kubelets": (KubeletUnit(NODE),)}, "no service of systemd runs its kubelet alone"),
        (
            SERVER,
            LAPSED,
            {"machines": frozenset()},
            "is not one of these; there: systemctl restart kubelet",
        ),
        (
            SERVER,
            LAPSED,
            {"kubelets": (), "unread_kubelets": {NODE: "no answer"}},
            "no answer; there: systemctl restart kubelet",
        ),
        (SERVER, LAPSED, {"unread": {Input.KUBELETS: Unread("no machine is known")}}, "no machine is known; there: "),
        (SERVER, LAPSED, {"unread": {Input.LEASES: Unread("forbidden")}}, "clock is correct is not known: forbidden"),
        (SERVER, LAPSED, {"nodes": (node(renewed_ns=NOW + HOUR_NS),)}, "CS-CLOCK comes first"),
        (SERVER, LAPSED, {"nodes": (node(renewed_ns=NOW - HOUR_NS),)}, "CS-CLOCK comes first"),
    ],
)
def test_one_that_a_restart_would_not_help_or_that_is_not_ours_is_left_with_the_reason(
    path: str, when: tuple[int, int], fields: dict[str, Any], why: str
) -> None:
    (one,) = planned(there(of(path, when), **fields))
    assert (one.outcome, one.act) == (Healed.LEFT, None)
    assert why in one.why


def test_a_node_that_is_not_ready_because_its_kubelet_is_refused_contradicts_no_clock() -> None:
    silent = node(renewed_ns=NOW - HOUR_NS, ready=KubeCondition("Unknown"))
    (one,) = planned(there(of(SERVER), nodes=(silent,)))
    assert one.act


def test_a_restart_is_noted_for_its_certificate_then_waited_for_and_not_repeated() -> None:
    def after(ago_ns: int, what: Certificate) -> Repair:
        return planned(there(of(SERVER), unit=KubeletUnit(NODE, "kubelet", {mark(what): ago_ns})))[0]

    begun = after(10 * SECOND_NS, of(SERVER)).act
    assert begun and begun.begun
    tried = after(PROOF_NS + SECOND_NS, of(SERVER))
    assert (tried.act, tried.why) == (None, "it was restarted for this 3 min 1 s ago, which did not help")
    other = after(10 * SECOND_NS, of(SERVER, (-2 * DAY_NS, -HOUR_NS))).act
    assert other and not other.begun


def test_two_certificates_of_a_node_are_two_findings_and_one_restart() -> None:
    first, second = planned(there(of(SERVER), of(CLIENT), unit=KubeletUnit(NODE, "kubelet", bootstraps=True)))
    assert first.broken.key != second.broken.key
    assert first.act
    assert (second.act, second.outcome) == (None, Healed.SKIPPED)


def test_a_mark_is_a_word_whatever_the_node_calls_its_files() -> None:
    odd = mark(certificate(path="/x\n$(reboot) \\"))
    assert odd.isalnum()
    assert odd != mark(certificate(path="/y"))
