"""The lab's hand in a guest: runs shell scripts there, over a virtio port of its own, without agent or sshd."""

import itertools
import socket
import time
from pathlib import Path

from .errors import LabError
from .run import OUTPUT_SHOWN

_nonces = itertools.count(time.monotonic_ns())


def tell(port: Path, script: str, timeout_s: float) -> str:
    """Run a script by the guest's sh(1), and return what it printed on either stream.

    Raises LabError when it fails, and OSError (TimeoutError, ConnectionError) when no answer comes in time.
    """
    nonce = b"%x" % next(_nonces)
    until = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hand:
        hand.settimeout(timeout_s)
        hand.connect(str(port))
        hand.sendall(nonce + b"\n" + script.encode() + b"\0")
        heard = b""
        while (mark := heard.find(b"\0" + nonce + b" ")) < 0 or not heard.endswith(b"\n"):
            hand.settimeout(max(0.001, until - time.monotonic()))
            chunk = hand.recv(65536)
            if not chunk:
                raise ConnectionError("the guest's QEMU has gone")
            heard += chunk
    said = heard[:mark].rpartition(b"\0")[2].decode(errors="replace")
    if code := int(heard[mark:].split()[1]):
        raise LabError(f"exit {code} from a script in the guest: {said.strip()[-OUTPUT_SHOWN:]}")
    return said
