"""Free ports on loopback, so that several labs fit on one machine."""

import socket
from contextlib import ExitStack, closing


def free_tcp_port() -> int:
    """A TCP port that was free a moment ago."""
    return _free(socket.SOCK_STREAM)


def free_tcp_ports(count: int) -> list[int]:
    """So many TCP ports, all different, that were free a moment ago."""
    with ExitStack() as held:
        probes = [held.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def free_udp_port() -> int:
    """A UDP port that was free a moment ago."""
    return _free(socket.SOCK_DGRAM)


def _free(kind: socket.SocketKind) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
