"""The NTP server that the guests follow: a chronyd on loopback that never touches this machine's clock (-x)."""

import socket
import struct
from contextlib import closing
from pathlib import Path

from .cache import Say
from .daemon import environment
from .minimal import chronyd
from .places import Account
from .processes import start, wait_for

CONFIG = """\
local stratum 1
port {port}
bindaddress 127.0.0.1
allow 127.0.0.0/8
cmdport 0
bindcmdaddress /
pidfile {folder}/run/chronyd.pid
"""


def start_server(folder: Path, account: Account, port: int, say: Say) -> None:
    """Start it and wait until it answers. Raises LabError with its log when it doesn't."""
    config = folder / "run/chronyd.conf"
    config.write_text(CONFIG.format(port=port, folder=folder))
    command = [*chronyd(say), "-x", "-d", "-U", "-u", account.name, "-f", str(config)]
    log = folder / "chronyd.log"
    process = start(command, account, log, environment(folder, account))
    wait_for(lambda: answers(port), process, log, 10)


def answers(port: int) -> bool:
    """Whether an NTP server on loopback answers a client's request (RFC 5905, mode 3) as synchronised."""
    request = struct.pack("!B47x", 0b00_100_011)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(0.5)
        try:
            client.connect(("127.0.0.1", port))
            client.send(request)
            reply = client.recv(512)
        except OSError:
            return False
    return len(reply) >= 48 and reply[0] >> 6 != 3
