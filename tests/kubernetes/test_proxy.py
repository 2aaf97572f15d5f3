"""The proxy on the way to an API server, as kubectl would find it."""

import pytest

from clockstep.kubernetes.proxy import proxy_of

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("server", "without", "proxied"),
    [
        ("https://api.example.org:6443", "", True),
        ("https://api.example.org:6443", "other.org,10.0.0.0/8", True),
        ("https://api.example.org:6443", "*", False),
        ("https://api.example.org:6443", "example.org", False),
        ("https://api.example.org:6443", ".example.org", False),
        ("https://api.example.org:6443", " *.example.org ", False),
        ("https://example.org", ".example.org", True),
        ("https://notexample.org", "example.org", True),
        ("https://api.example.org:6443", "api.example.org:6443", False),
        ("https://api.example.org:6443", "api.example.org:443", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "10.1.2.3", False),
        ("https://11.1.2.3:6443", "10.0.0.0/8", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("https://localhost:6443", "", False),
        ("http://api.example.org", "", False),
        ("https://[bad", "", False),
    ],
)
def test_a_proxy_is_used_unless_the_host_is_excepted(server: str, without: str, proxied: bool) -> None:
    assert proxy_of(server, {**PROXY, "NO_PROXY": without}) == ("http://proxy:3128" if proxied else None)


def test_variables_in_lower_case_and_a_proxy_without_a_scheme_count_too() -> None:
    assert proxy_of("https://a", {"https_proxy": "p:1"}) == "http://p:1"
    assert proxy_of("http://a", {"http_proxy": "p:1", "no_proxy": "a"}) is None
    assert proxy_of("https://a", {}) is None
