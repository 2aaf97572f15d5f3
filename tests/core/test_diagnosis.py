"""What the doctor says: each reason by what is seen, worst first, and nothing of what is in order."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clockstep.core import diagnosis
from clockstep.core.diagnosis import CHECKS, diagnose
from clockstep.core.doctor import compare_snapshots, examine_host, issues
from clockstep.daemons import PROGRAMS
from clockstep.daemons.inside import OTHERS
from clockstep.model import (
    Around,
    Claim,
    Examination,
    Facts,
    Finding,
    HostClock,
    Inside,
    Level,
    Offset,
    Policy,
    Reading,
    TimeSource,
    Trouble,
    Verdict,
)
from clockstep.units import DAY_NS

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
RIGHT = Facts((Reading("guest agent", Offset(0, 300_000), 0, 0),), Claim("chrony", synchronised=True))
PHC = TimeSource("#", "*", "PHC0", reach=True)
SERVER = TimeSource("^", "+", "10.0.0.1", reach=True)
OUTSIDE = "run clockstep watch; or clockstep setup apply --short-polls"
WELL = Inside(
    daemons=("chronyd",),
    sources=(PHC, SERVER),
    makestep="1 -1",
    refclocks=(("/dev/ptp_kvm", "/dev/ptp0"),),
    configured=True,
    trusted=("/dev/ptp_kvm",),
    ptp=(("/dev/ptp0", "KVM virtual PTP"),),
    kernel="6.12.0",
    has_ptp_kvm=True,
    clocksource="kvm-clock",
    may_set_time=True,
    rtc_ahead_s=0,
    tai_s=37,
)
AROUND = Around(agent_channel=True, generation_id=True)


def seen(inside: Inside | None = WELL, around: Around | None = AROUND, facts: Facts = RIGHT) -> Examination:
    return Examination("web", facts, around, inside, host_tai_s=37)


def but(**fields: Any) -> Inside:
    return replace(WELL, **fields)


def apart(**fields: Any) -> Around:
    return replace(AROUND, **fields)


def said(examination: Examination) -> dict[str, Verdict]:
    found = {finding.check: finding.verdict for finding in diagnose(examination, Policy())}
    found.pop("trusted-phc", None)
    return found


def test_of_a_node_that_is_well_nothing_is_said() -> None:
    assert said(seen()) == {}


@pytest.mark.parametrize(
    ("inside", "check", "for_how_long"),
    [
        (WELL, "trusted-phc", "within some 12 s"),
        (but(trusted=()), "outvoted-phc", "for 6 to 16 min"),
        (but(refclocks=(), sources=(SERVER,)), "no-phc", "for up to 4 min 24 s"),
        (but(refclocks=(), sources=(replace(SERVER, poll_s=1024),)), "no-phc", "for up to 20 min 24 s"),
        (but(refclocks=(), sources=(), daemons=("systemd-timesyncd",)), "no-phc", "for up to 37 min 28 s"),
        (but(trusted=(), agent=True), "own-agent", "at once, by the hypervisor's clock (/dev/ptp0)"),
        (but(daemons=(), sources=(), agent=True), "own-agent", "at once, by the hypervisor's clock"),
        (but(ptp=(), refclocks=(), agent=True, forks=True), "own-agent", "at once, by the kernel's log (vmgenid)"),
        (but(ptp=(), refclocks=(), agent=True), "no-phc", "its own agent has no signal of one"),
    ],
)
def test_one_finding_says_for_how_long_a_revert_would_stay_unseen(
    inside: Inside, check: str, for_how_long: str
) -> None:
    about = {"own-agent", "trusted-phc", "outvoted-phc", "no-phc"}
    (finding,) = [finding for finding in diagnose(seen(inside), Policy()) if finding.check in about]
    assert finding.check == check
    assert for_how_long in finding.text


@pytest.mark.parametrize(
    ("inside", "never"),
    [
        (but(daemons=(), sources=()), True),
        (
            but(daemons=(), sources=(), ptp=(), agent=True, forks=True),
            True,
        ),  # it would notice, and have no time to go by
        (but(daemons=(), sources=(), agent=True), False),
    ],
)
def test_without_a_daemon_nothing_but_an_agent_with_a_phc_ever_notices_a_revert(inside: Inside, never: bool) -> None:
    found = {one.check: one.text for one in diagnose(seen(inside, facts=Facts(RIGHT.readings)), Policy())}
    assert ("nothing in it would ever notice a revert" in found["no-daemon"]) is never


@pytest.mark.parametrize(
    ("examination", "check", "verdict"),
    [
        (seen(but(daemons=(), sources=()), facts=Facts(RIGHT.readings)), "no-daemon", Verdict.BAD),
        (seen(but(daemons=("chronyd", "ntpd"))), "two-daemons", Verdict.BAD),
        (seen(but(others=("vmtoolsd",))), "two-daemons", Verdict.UNSURE),
        (seen(but(may_set_time=False)), "cannot-step", Verdict.BAD),
        (seen(but(sources=(PHC,))), "one-source", Verdict.GOOD),
        (seen(but(sources=(PHC, TimeSource("^", "?", "a", reach=False)))), "one-source", Verdict.GOOD),
        (seen(but(sources=(PHC, replace(SERVER, state="x")))), "falseticker", Verdict.GOOD),
        (seen(but(sources=(replace(SERVER, state="~"),))), "falseticker", Verdict.BAD),
        (seen(but(sources=(SERVER, replace(PHC, state="x")))), "falseticker", Verdict.BAD),
        (seen(but(sources=())), "no-answer", Verdict.BAD),
        (seen(but(sources=(TimeSource("^", "?", "a", reach=False),) * 2)), "no-answer", Verdict.BAD),
        (seen(but(makestep="1 3")), "makestep", Verdict.UNSURE),
        (seen(but(makestep=None)), "makestep", Verdict.UNSURE),
        (seen(but(makestep="3600 -1")), "makestep", Verdict.UNSURE),
        (seen(but(refclocks=())), "no-phc", Verdict.UNSURE),
        (seen(but(refclocks=(("/dev/ptp0", "/dev/ptp0"),), ptp=(("/dev/ptp0", "e1000e"),))), "wrong-phc", Verdict.BAD),
        (seen(but(refclocks=(("/dev/ptp1", "/dev/ptp1"),))), "wrong-phc", Verdict.BAD),
        (
            seen(but(refclocks=(("/dev/p", "/dev/p"),), ptp=(("/dev/p", "Virtio PTP type 1/"),))),
            "wrong-phc",
            Verdict.BAD,
        ),
        (seen(but(has_ptp_kvm=False, ptp=(), refclocks=())), "no-ptp-kvm", Verdict.GOOD),
        (seen(but(clocksource="hpet")), "clocksource", Verdict.GOOD),
        (seen(but(interpreter=False)), "no-interpreter", Verdict.GOOD),
        (seen(around=apart(agent_channel=False)), "no-agent", Verdict.GOOD),
        (seen(around=apart(generation_id=False)), "no-genid", Verdict.GOOD),
        (seen(around=apart(rtc_track="guest")), "rtc", Verdict.UNSURE),
        (seen(around=apart(rtc_offset="localtime")), "rtc", Verdict.UNSURE),
        (seen(around=apart(rtc_offset="timezone")), "rtc", Verdict.UNSURE),
        (seen(around=apart(rtc_offset="absolute")), "rtc", Verdict.UNSURE),
        (seen(but(rtc_local=True)), "rtc", Verdict.UNSURE),
        (seen(but(rtc_ahead_s=-600)), "rtc-wrong", Verdict.BAD),
        (seen(but(tai_s=36)), "tai", Verdict.UNSURE),
        (replace(seen(None), exec_blocked=True), "exec-blocked", Verdict.UNSURE),
        (replace(seen(None), confined="Permission denied"), "confined", Verdict.UNSURE),
        (seen(but(confined="system_u:system_r:virt_qemu_ga_t:s0")), "confined", Verdict.UNSURE),
        (replace(seen(None), unasked="it broke"), "unasked", Verdict.UNSURE),
        (seen(facts=Facts((Reading("ssh", Offset(-SECOND, 1), 0, 0),))), "offset", Verdict.BAD),
        (seen(None, facts=Facts(trouble=(Trouble("no agent", "start it"),))), "reach", Verdict.UNREACHABLE),
    ],
)
def test_each_reason_is_named_by_what_is_seen(examination: Examination, check: str, verdict: Verdict) -> None:
    assert said(examination)[check] is verdict
    (finding,) = [finding for finding in diagnose(examination, Policy()) if finding.check == check]
    assert finding.text
    assert finding.remedy


def test_a_daemon_that_says_synchronised_and_is_wrong_is_named_with_the_cure() -> None:
    late = Facts((Reading("guest agent", Offset(-60 * SECOND, 1), 0, 0),), Claim("chrony", synchronised=True))
    (finding,) = [finding for finding in diagnose(seen(facts=late), Policy()) if finding.check == "daemon"]
    assert (finding.verdict, finding.remedy) == (Verdict.BAD, "run clockstep step")


def test_an_rtc_that_is_right_where_the_clock_is_not_is_no_reason() -> None:
    late = Facts((Reading("guest agent", Offset(-60 * SECOND, 1), 0, 0),), None)
    assert "rtc-wrong" not in said(seen(but(rtc_ahead_s=60), facts=late))
    assert "rtc-wrong" in said(seen(but(rtc_ahead_s=0), facts=late))


def test_who_asks_by_nts_is_not_told_to_add_a_pool_that_would_not_count() -> None:
    def remedy(check: str, **fields: object) -> str:
        (finding,) = [one for one in diagnose(seen(but(**fields)), Policy()) if one.check == check]
        return finding.remedy

    assert "authselectmode" in remedy("one-source", sources=(SERVER,), nts=True)
    assert "pool pool.ntp.org" in remedy("one-source", sources=(SERVER,))
    silent = (TimeSource("^", "?", "a", reach=False),)
    blocked = remedy("no-answer", sources=silent, nts=True)
    assert "TCP port 4460" in blocked
    assert "clockstep step first" in blocked
    assert "4460" not in remedy("no-answer", sources=silent)


def test_windows_keeps_its_rtc_in_local_time() -> None:
    assert "rtc" not in said(seen(around=apart(rtc_offset="localtime", windows=True)))


def test_the_worst_comes_first() -> None:
    verdicts = list(said(seen(but(makestep="1 3", sources=(PHC,), may_set_time=False))).values())
    assert verdicts == [Verdict.BAD, Verdict.UNSURE, Verdict.GOOD]


@pytest.mark.parametrize(("other_s", "far"), [(59, False), (61, True), (-3600, True)])
def test_snapshots_far_apart_do_not_belong_together(other_s: int, far: bool) -> None:
    taken = [seen(around=apart(snapshot_ns=10**6 * SECOND)), seen(around=apart(snapshot_ns=(10**6 + other_s) * SECOND))]
    nodes = [replace(one, node=name) for one, name in zip(taken, "ab", strict=True)]
    assert (compare_snapshots(nodes) is not None) == far
    assert compare_snapshots([nodes[0], replace(seen(), node="c")]) is None


def test_a_host_that_is_wrong_by_its_own_sources_is_said_first() -> None:
    claim = Claim("chrony", synchronised=True, offset=Offset(-2 * SECOND, 1000))
    unsynchronised = HostClock(synchronised=False, max_error_ns=0)
    said = [finding.check for finding in examine_host(unsynchronised, claim, None)]
    assert said == ["host-wrong", "host-unsynchronised"]
    assert examine_host(HostClock(synchronised=True, max_error_ns=1), None, WELL) == ()


def test_a_source_that_the_host_does_not_follow_does_not_make_it_wrong() -> None:
    claim = Claim("chrony", synchronised=False, source="^? 9.9.9.9", offset=Offset(3 * SECOND, 1000))
    assert examine_host(HostClock(synchronised=True, max_error_ns=1), claim, None) == ()


def test_what_lasts_is_not_to_be_asked_again() -> None:
    asked = replace(seen(None), unasked="no shell")
    assert [one.remedy for one in diagnose(asked, Policy())] == ["run clockstep doctor again"]
    assert [one.remedy for one in diagnose(replace(asked, unasked_lasts=True), Policy())] == [""]


def test_nothing_is_advised_that_would_be_refused() -> None:
    late = Facts((Reading("guest agent", Offset(-400 * DAY_NS, 1000), 0, 0),), Claim("chrony", synchronised=True))
    behind = {one.check: one for one in issues(diagnose(seen(facts=late), Policy()))}
    assert "--max-forward" in behind["forward"].remedy
    assert [name for name, one in behind.items() if "clockstep step" in one.remedy] == []
    allowed = {one.check: one for one in issues(diagnose(seen(facts=late), Policy(max_forward_ns=500 * DAY_NS)))}
    assert allowed["offset"].remedy == "run clockstep step"
    confined = {one.check: one for one in issues(diagnose(seen(but(makestep="1 3", confined="x_t")), Policy()))}
    assert confined["makestep"].remedy.startswith("with --reach ssh: clockstep setup apply")


def test_an_issue_has_a_level_by_how_bad_it_is() -> None:
    found = issues(diagnose(seen(but(makestep="1 3", daemons=("chronyd", "ntpd"), clocksource="hpet")), Policy()))
    assert {one.check: one.level for one in found} == {
        "two-daemons": Level.ERROR,
        "makestep": Level.WARNING,
        "clocksource": Level.NOTE,
        "trusted-phc": Level.NOTE,
    }
    late = Facts(RIGHT.readings, Claim("chrony", synchronised=False))
    assert [(one.check, one.level) for one in issues(diagnose(seen(None, facts=late), Policy()))] == [
        ("daemon", Level.WARNING)
    ]


def test_the_host_is_held_to_what_nodes_are() -> None:
    two = but(daemons=("chronyd", "ntpd"), makestep="1 3", clocksource="hpet")
    found = examine_host(HostClock(synchronised=True, max_error_ns=1), None, two)
    assert [finding.check for finding in found] == ["two-daemons"]


def test_in_a_healthy_pool_one_that_varies_is_nothing_to_say() -> None:
    pool = (TimeSource("^", "*", "a", reach=True), SERVER, TimeSource("^", "~", "c", reach=True))
    assert "falseticker" not in said(seen(but(sources=pool)))


@pytest.mark.parametrize("name", ["KVM virtual PTP", "vmclock0", "ena-ptp-05", "Virtio PTP type 0/variant 0"])
def test_every_hypervisors_clock_is_known(name: str) -> None:
    assert said(seen(but(ptp=(("/dev/ptp0", name),)))) == {}


def test_what_is_advised_about_a_phc_is_what_can_be_done_there() -> None:
    def advice(inside: Inside) -> str:
        return next(finding.remedy for finding in diagnose(seen(inside), Policy()) if finding.check == "no-phc")

    followed = advice(but(refclocks=()))
    assert "setup apply --agent has the node correct itself at once, by /dev/ptp0" in followed
    assert "setup apply --trust makes chronyd follow that" in followed
    assert "loads ptp_kvm" in advice(but(refclocks=(), ptp=()))
    assert advice(but(refclocks=(), ptp=(), has_ptp_kvm=False)).startswith(OUTSIDE)
    assert advice(but(refclocks=(), daemons=("systemd-timesyncd",))).startswith(OUTSIDE)


def test_a_clock_that_may_be_missing_is_not_bad_where_it_is_missing() -> None:
    name = "/dev/ptp_kvm"
    missing = but(refclocks=((name, name),), ptp=())
    assert said(seen(missing))["wrong-phc"] is Verdict.BAD
    assert said(seen(replace(missing, optional=(name,)))) == {"no-phc": Verdict.UNSURE}


@pytest.mark.parametrize(
    ("inside", "check", "command"),
    [
        (but(sources=(PHC,)), "one-source", "chronyc add pool pool.ntp.org iburst"),
        (but(sources=(TimeSource("^", "?", "a", reach=False),)), "no-answer", "chronyc online && chronyc refresh"),
        (but(sources=()), "no-answer", "chronyc add pool pool.ntp.org iburst"),
        (but(daemons=("chronyd", "systemd-timesyncd")), "two-daemons", "systemctl disable --now systemd-timesyncd"),
        (but(daemons=("chronyd", "ntpd")), "two-daemons", "systemctl disable --now $(ps -o unit= -C ntpd)"),
        (but(daemons=("chronyd", "ntp-daemon")), "two-daemons", "systemctl disable --now ntpd-rs"),
        (but(others=("vmtoolsd",)), "two-daemons", "vmware-toolbox-cmd timesync disable"),
        (but(others=("VBoxService",)), "two-daemons", "VBoxManage setextradata"),
        (
            but(has_ptp_kvm=False, ptp=(), kernel="6.1.0-30-cloud-arm64"),
            "no-ptp-kvm",
            "apt-get install linux-image-arm64",
        ),
        (but(has_ptp_kvm=False, ptp=(), kernel="6.6.1"), "no-ptp-kvm", "clockstep watch"),
        (but(rtc_local=True), "rtc", "timedatectl set-local-rtc 0"),
    ],
)
def test_the_remedy_is_a_command(inside: Inside, check: str, command: str) -> None:
    (finding,) = [finding for finding in diagnose(seen(inside), Policy()) if finding.check == check]
    assert command in finding.remedy


def test_every_program_that_may_set_the_clock_can_be_kept_from_it() -> None:
    assert {*PROGRAMS, *OTHERS} - {"chronyd"} == set(diagnosis.SWITCH_OFF)


@pytest.mark.parametrize("check", CHECKS)
def test_where_nothing_could_be_looked_at_nothing_is_made_up(check: Callable[[Examination], Finding | None]) -> None:
    assert check(Examination("web", Facts())) is None
    assert check(seen(Inside())) in {None, diagnosis.check_unreachable_sources(seen(Inside()))}


def test_every_section_that_is_named_is_in_the_documentation() -> None:
    files = ("diagnosis.py", "doctor.py", "checks.py", "unnoticed.py")
    source = "".join((ROOT / "src/clockstep/core" / name).read_text() for name in files)
    named = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    written = set(re.findall(r"^## ([a-z-]+)$", (ROOT / "docs/diagnosis.md").read_text(), re.MULTILINE))
    assert named == written
