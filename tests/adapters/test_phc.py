"""The hypervisor's clock by PTP's ioctls: which device it is, what is asked of it, and what comes of that."""

import errno
import subprocess
from pathlib import Path

import pytest

from adapters.node import MILLISECOND, NOW, SECOND, SimKernel, SimPhc, made_up
from clockstep.errors import ReachError
from clockstep.host.phc import MODES, TIME, Device, Phc, PhcError, all_devices, host_devices, kernel_ioctl
from clockstep.host.phc_reference import PhcReference

PRECISE, EXTENDED, SYS_OFFSET = (mode.name for mode in MODES)
HEADER = """#include <linux/ptp_clock.h>
#include <stdio.h>
int main(void) {
    printf("%lu %lu %lu %lu\\n", (unsigned long)PTP_SYS_OFFSET_PRECISE, (unsigned long)PTP_SYS_OFFSET_EXTENDED,
        (unsigned long)PTP_SYS_OFFSET, sizeof(struct ptp_clock_time));
}
"""


@pytest.fixture
def kernel() -> SimKernel:
    return SimKernel()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return host_devices(made_up(tmp_path, "KVM virtual PTP"))[0]


def test_the_numbers_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    (tmp_path / "numbers.c").write_text(HEADER)
    subprocess.run(["gcc", "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    said = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    assert said.split() == [*(str(mode.number) for mode in MODES), str(TIME.size)]
    assert [mode.number for mode in MODES] == [0xC0403D08, 0xC4C03D09, 0x43403D05]


def test_a_network_cards_clock_is_none_of_the_hypervisors(tmp_path: Path) -> None:
    root = made_up(tmp_path, "igb", "e1000e", "KVM virtual PTP", "Virtio PTP type 1/variant 0", "vmclock0")
    assert [device.path.name for device in host_devices(root)] == ["ptp2", "ptp4"]
    assert len(all_devices(root)) == 5


def test_a_machine_without_any_has_none_and_a_name_is_bounded_and_made_visible(tmp_path: Path) -> None:
    assert host_devices(tmp_path) == []
    (device,) = host_devices(made_up(tmp_path, "hyperv\x1b[2J" + "x" * 5000))
    assert len(device.name) < 100
    assert device.name.isprintable()


@pytest.mark.parametrize("mode", [PRECISE, EXTENDED, SYS_OFFSET])
def test_each_ioctl_gives_an_offset_that_the_true_one_is_in(kernel: SimKernel, device: Device, mode: str) -> None:
    kernel.offset = -22 * SECOND
    phc = Phc(device, SimPhc(kernel, {mode}).ioctl)
    offset = phc.offset()
    assert offset.earliest_ns <= -22 * SECOND <= offset.latest_ns
    assert offset.error_ns < 2_000  # the tightest of the brackets
    assert phc.mode == mode


def test_an_error_leads_one_down_and_a_disruption_up_again(kernel: SimKernel, device: Device) -> None:
    sim = SimPhc(kernel, {SYS_OFFSET})
    phc = Phc(device, sim.ioctl)
    phc.offset()
    phc.offset()
    assert sim.asked == [PRECISE, EXTENDED, SYS_OFFSET, SYS_OFFSET]
    sim.modes = {PRECISE}
    phc.rise()
    phc.offset()
    assert sim.asked[4:] == [PRECISE]


def test_a_phc_that_is_gone_is_an_error_and_one_that_is_back_is_read_again(kernel: SimKernel, device: Device) -> None:
    sim = SimPhc(kernel, gone=True)
    phc = Phc(device, sim.ioctl)
    with pytest.raises(PhcError, match="KVM virtual PTP"):
        phc.offset()
    device.path.unlink()
    with pytest.raises(ReachError, match="No such file"):
        phc.offset()
    device.path.touch()
    sim.gone = False
    assert phc.offset().surely_within(10_000)
    assert phc.mode == PRECISE


def test_a_number_that_became_another_clocks_is_not_read_any_more(kernel: SimKernel, tmp_path: Path) -> None:
    root = made_up(tmp_path, "KVM virtual PTP")
    sim = SimPhc(kernel)
    phc = Phc(host_devices(root)[0], sim.ioctl)
    phc.offset()
    (root / "sys/class/ptp/ptp0/clock_name").write_text("mlx5_ptp\n")  # ptp_kvm was unloaded, a card was plugged in
    phc.close()
    with pytest.raises(PhcError, match="it is now mlx5_ptp's"):
        phc.offset()
    (root / "sys/class/ptp/ptp0/clock_name").write_text("KVM virtual PTP\n")
    assert phc.offset().surely_within(10_000)


@pytest.mark.parametrize("seconds", [2**62, 2**63 // SECOND + 1, -1])
def test_what_is_no_time_is_none(kernel: SimKernel, device: Device, seconds: int) -> None:
    sim = SimPhc(kernel, ahead=seconds * SECOND - kernel.true // SECOND * SECOND)
    with pytest.raises(PhcError, match="no time between"):
        Phc(device, sim.ioctl).offset()


def test_a_bracket_across_a_step_back_counts_for_nothing(kernel: SimKernel, device: Device) -> None:
    def stepped(_file: int, number: int, buffer: bytearray) -> None:
        if number == MODES[0].number:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        for place in range((len(buffer) - 16) // TIME.size):
            TIME.pack_into(buffer, 16 + place * TIME.size, NOW // SECOND - place, 0, 0)

    with pytest.raises(PhcError, match="set meanwhile"):
        Phc(device, stepped).offset()


def test_the_kernel_itself_refuses_these_ioctls_on_what_is_no_phc() -> None:
    with Path("/dev/null").open("rb") as file, pytest.raises(OSError, match="Inappropriate ioctl"):
        kernel_ioctl(file.fileno(), MODES[0].number, bytearray(MODES[0].size))


def test_the_reference_says_the_true_time_and_the_hosts_error_is_in_its_own(kernel: SimKernel, device: Device) -> None:
    kernel.offset = -300 * SECOND
    sim = SimPhc(kernel, ahead=37 * SECOND)
    reference = PhcReference(Phc(device, sim.ioctl), kernel, ahead_ns=37 * SECOND, host_error_ns=2 * MILLISECOND)
    said = reference.now()
    assert abs(said.at_ns - kernel.true) <= said.error_ns
    assert 2 * MILLISECOND < said.error_ns < 3 * MILLISECOND
    assert reference.quality().max_error_ns == 2 * MILLISECOND
    assert not PhcReference(Phc(device, sim.ioctl), kernel).quality().synchronised


def test_a_machine_that_stands_still_sees_its_reference_moved_and_a_step_of_its_own_does_not(
    kernel: SimKernel, device: Device
) -> None:
    reference = PhcReference(Phc(device, SimPhc(kernel).ioctl), kernel)
    anchor = reference.anchor()
    kernel.add(40 * SECOND, reset_tick=False)
    kernel.pass_ns(30 * SECOND)
    assert reference.moved_since(anchor) == 0
    kernel.stand_still(5 * SECOND)
    assert abs(reference.moved_since(anchor) - 5 * SECOND) < MILLISECOND


def test_that_a_daemon_on_the_host_slews_its_clock_is_no_move(kernel: SimKernel, device: Device) -> None:
    sim = SimPhc(kernel)
    reference = PhcReference(Phc(device, sim.ioctl), kernel)
    anchor = reference.anchor()
    kernel.pass_ns(30 * SECOND)
    sim.ahead += 25 * MILLISECOND
    assert reference.moved_since(anchor) == 0
