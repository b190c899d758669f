"""Which addresses a stranger's URL may lead to, and how its name is resolved.

A URL that somebody gives us makes us the one who calls: from inside, past the firewall. So only addresses of the public
internet are called, and whatever else the operator has named (decision 0057).
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
RESOLVE_SECONDS = 5.0
_RESOLVER_THREADS = 32

# IANA's registries of special addresses: this host, private, shared (CGNAT), loopback, link-local with the clouds'
# metadata, protocols, documentation, 6to4 relays, benchmarks, multicast, reserved, broadcast.
_REFUSED = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # Teredo and other protocols, documentation, 6to4: what lies inside of GLOBAL_IPV6 and is not plain unicast.
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
]
# All other IPv6 is refused by not being in here: loopback, IPv4-mapped and -compatible, NAT64, local, link-local,
# multicast, and whatever IANA has not given out yet.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
# Names that never lead to the public internet (RFC 6761, 6762, 8375, and ICANN's for private use): refused even where
# the name has no address yet.
_PRIVATE_NAMES = ("localhost", "local", "internal", "home.arpa")


class AddressRefused(Exception):
    """The URL leads to an address that is not called."""


class Unresolvable(Exception):
    """The name has no address, or its servers do not answer."""


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Every address of the name; Unresolvable when there is none."""


class SystemResolver:
    """The system's resolver, on threads of its own: names whose servers are silent hold up nobody else's work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolver")

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.run_in_executor(
                    self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                )
        except (OSError, TimeoutError, UnicodeError) as error:
            raise Unresolvable(f"{host} can't be resolved") from error
        # A scope (fe80::1%eth0) is cut off: it says nothing about whether the address is public.
        return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class AddressPolicy:
    """`exceptions` are networks in CIDR form and host names that are allowed whatever they are."""

    def __init__(self, exceptions: Sequence[str]) -> None:
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for text in exceptions:
            try:
                self._networks.append(ip_network(text, strict=False))
            except ValueError:
                self._hosts.add(text.lower())

    @property
    def has_exceptions(self) -> bool:
        return bool(self._networks or self._hosts)

    def is_exception(self, host: str, address: Address) -> bool:
        return host.lower() in self._hosts or any(address in network for network in self._networks)

    def allows(self, host: str, address: Address) -> bool:
        return is_public(address) or self.is_exception(host, address)


def is_public(address: Address) -> bool:
    """Whether it is a plain address of the public internet, with no other address hidden in it."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return False
    return not any(address.version == network.version and address in network for network in _REFUSED)


def is_private_name(host: str) -> bool:
    """Whether the name is, or lies below, one that is kept for private networks."""
    name = "." + host.lower().rstrip(".")
    return any(name.endswith("." + private) for private in _PRIVATE_NAMES)


async def checked_addresses(
    resolver: Resolver, policy: AddressPolicy, *, scheme: str, host: str, port: int
) -> Sequence[Address]:
    """The addresses of `host`, all of them fit to be called; AddressRefused when a single one is not.

    Plain http goes to the operator's exceptions alone.
    """
    if scheme != "https" and not policy.has_exceptions:
        raise AddressRefused("must be an https address")
    if is_private_name(host) and not policy.has_exceptions:
        raise AddressRefused("leads to an address that is not public")
    try:
        addresses: Sequence[Address] = [ip_address(host.strip("[]"))]
    except ValueError:
        addresses = await resolver.resolve(host, port)
    if not addresses:
        raise Unresolvable(f"{host} has no address")
    for address in addresses:
        if not policy.allows(host, address):
            raise AddressRefused("leads to an address that is not public")
        if scheme != "https" and not policy.is_exception(host, address):
            raise AddressRefused("must be an https address")
    return addresses
