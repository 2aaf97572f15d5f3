"""KVM where a trial boot proves it, else TCG. That /dev/kvm exists says nothing: it may not boot an ordinary kernel."""

import os
import select
import subprocess
import time

from .errors import LabError
from .image import Image
from .places import KVM_NODE, Account
from .run import find, run

TRIAL_S = 5.0
ALIVE = b"Linux version"


def may_open(account: Account) -> bool:
    """Whether this account may read and write /dev/kvm."""
    try:
        run(account.command(["sh", "-c", f"test -r {KVM_NODE} && test -w {KVM_NODE}"]))
    except LabError:
        return False
    return True


def kvm_works(image: Image, account: Account, trial_s: float = TRIAL_S) -> bool:
    """Whether QEMU boots this image's kernel under KVM, run by this account; found out in at most `trial_s` seconds."""
    if not may_open(account):
        return False
    command = [find("qemu-system-x86_64") or "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256"]
    command += ["-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-kernel", str(image.kernel)]
    command += ["-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    trial = subprocess.Popen(
        account.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        return _says(trial, ALIVE, time.monotonic() + trial_s)
    finally:
        trial.kill()
        trial.wait()


def _says(process: subprocess.Popen[bytes], wanted: bytes, until: float) -> bool:
    output = process.stdout
    assert output
    said = b""
    while (left := until - time.monotonic()) > 0 and select.select([output], [], [], left)[0]:
        chunk = os.read(output.fileno(), 4096)
        said += chunk
        if wanted in said:
            return True
        if not chunk:
            return False
    return False
