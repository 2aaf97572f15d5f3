"""A guest agent that is not one, for a real guest's real channel: it answers libvirt's handshake, and then nonsense.

Run in a guest as `python3 lying_agent.py MODE`, instead of qemu-ga.
"""

import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

PORT = "/dev/virtio-ports/org.qemu.guest_agent.0"
SECOND = 10**9
TIMES: dict[str, Callable[[], object]] = {
    "before-1970": lambda: -5 * SECOND,
    "after-2262": lambda: 2**63 - 1 + 10**12,
    "no-number": lambda: "noon",
    "different-each-time": lambda: random.randrange(10**18, 2 * 10**18),
}


def answer(mode: str, asked: dict[str, Any]) -> bytes:
    if asked["execute"] == "guest-sync":
        return reply(asked["arguments"]["id"])
    if mode == "garbage":
        return bytes(random.randrange(256) for _ in range(3000)) + b"\n"
    if mode == "megabytes":
        return b'{"return": "' + b"x" * 30_000_000 + b'"}\n'
    return reply(TIMES[mode]() if asked["execute"] == "guest-get-time" else {})


def reply(value: object) -> bytes:
    return json.dumps({"return": value}).encode() + b"\n"


def main() -> None:
    port = os.open(PORT, os.O_RDWR)
    print("listening", flush=True)  # noqa: T201
    pending = b""
    while True:
        pending += os.read(port, 65536)
        *lines, pending = pending.split(b"\n")
        for line in lines:
            if asked := line.strip(b"\xff \r"):
                rest = answer(sys.argv[1], json.loads(asked))
                while rest:
                    rest = rest[os.write(port, rest[:16384]) :]


main()
