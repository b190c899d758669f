"""Settings that would open to everybody what is meant for a few."""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

# The largest that are private as a whole: 10.0.0.0/8 and fc00::/7. Wider ones have everybody in them, or half of them.
_WIDEST = {4: 8, 6: 7}
# RFC 6761, 6762, 8375, ICANN's for private use, and services of Kubernetes.
_HOME = ("localhost", "local", "internal", "home.arpa", "svc")


def is_too_wide(text: str) -> bool:
    """Whether it is a network that no private one is as large as."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen < _WIDEST[network.version]


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_plain_to_public(url: str) -> bool:
    """Whether it is an http URL of a host that is not plainly of a private network: an address that is public, or a
    name of several labels that is not kept for private ones."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return ip_address(parts.hostname).is_global
    except ValueError:
        name = parts.hostname.lower().rstrip(".")
        return "." in name and not any(f".{name}".endswith(f".{home}") for home in _HOME)
