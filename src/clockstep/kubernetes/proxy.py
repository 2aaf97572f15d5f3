"""Which proxy is on the way to an API server, as kubectl finds it: by HTTPS_PROXY and NO_PROXY (Go's httpproxy)."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def proxy_of(server: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy for a server's address; None for none. Nothing on this host's loopback is asked by one."""
    try:
        address = urlsplit(server)
        host, port = address.hostname or "", address.port
    except ValueError:
        return None  # no address, which is said where it is used
    name = f"{address.scheme}_proxy"
    proxy = environ.get(name) or environ.get(name.upper())
    if not proxy or _is_loopback(host):
        return None
    without = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
    if any(_means(one.strip().lower(), host, port) for one in without):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _means(pattern: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY is this host: by `*`, a domain with all below it, an address or a network."""
    try:
        return ip_address(host) in ip_network(pattern, strict=False)
    except ValueError:
        named, _, of_port = pattern.rpartition(":") if pattern.count(":") == 1 else (pattern, "", "")
    if of_port and of_port != str(port):
        return False
    domain = named.removeprefix("*").removeprefix(".")
    if not domain:
        return pattern == "*"
    return host.endswith(f".{domain}") or host == named
