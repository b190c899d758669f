"""Whom an address stands for, as far as limits go."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

SUBSCRIBER_BITS = 64


@lru_cache(maxsize=4096)
def subscriber(address: str) -> str | None:
    """The address, or the /64 of an IPv6 one: whoever has one of these has them all. None for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed.packed, SUBSCRIBER_BITS), strict=False))
