"""Which addresses a stranger's URL may lead to."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from app.integrations.public_addresses import (
    Address,
    AddressPolicy,
    AddressRefused,
    SystemResolver,
    Unresolvable,
    checked_addresses,
    is_public,
)
from app.integrations.webhook_sender import PinnedBackend, WebhookSender
from tests.receiver import receiver

REFUSED = [
    "0.0.0.0",  # noqa: S104 - not to bind to
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111"]


class Names:
    """A resolver that gives the next answer each time; the last one over and over."""

    def __init__(self, *answers: str) -> None:
        self.answers = [[ip_address(one) for one in answer.split()] for answer in answers]
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:  # noqa: ARG002 - the protocol
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize("text", REFUSED)
async def test_an_address_that_is_not_plainly_public_is_refused(text: str) -> None:
    """Private, local, special, translated and embedded addresses are not called, as a literal or by a name."""
    assert not is_public(ip_address(text))
    for host in (text if ":" not in text else f"[{text}]", "name.example"):
        with pytest.raises(AddressRefused):
            await checked_addresses(Names(text), AddressPolicy([]), scheme="https", host=host, port=443)


@pytest.mark.parametrize("text", PUBLIC)
async def test_a_public_address_is_called_by_https_alone(text: str) -> None:
    """The public internet is open, but not in plain text."""
    policy = AddressPolicy([])
    assert await checked_addresses(Names(text), policy, scheme="https", host="a.example", port=443)
    with pytest.raises(AddressRefused, match="https"):
        await checked_addresses(Names(text), policy, scheme="http", host="a.example", port=80)


async def test_one_bad_address_among_good_ones_is_enough() -> None:
    """A name that leads to a public and a private address is refused: nobody chooses which one is taken."""
    with pytest.raises(AddressRefused):
        await checked_addresses(Names("1.1.1.1 10.0.0.1"), AddressPolicy([]), scheme="https", host="a.b", port=443)


@pytest.mark.parametrize("exception", ["127.0.0.0/8", "127.0.0.1", "Hooks.Internal"])
async def test_what_the_operator_has_named_is_called(exception: str) -> None:
    """Networks and names of the setting are called, by plain http too; their neighbours are not."""
    policy = AddressPolicy([exception])
    assert await checked_addresses(Names("127.0.0.1"), policy, scheme="http", host="hooks.internal", port=80)
    with pytest.raises(AddressRefused):
        await checked_addresses(Names("10.0.0.1"), policy, scheme="http", host="other.internal", port=80)


async def test_a_name_that_changes_between_the_check_and_the_call_leads_nowhere_else() -> None:
    """DNS rebinding: the address that was checked is connected to, and each connection is checked anew."""
    names = Names("127.0.0.1", "169.254.169.254")
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as partner:
        sender = WebhookSender(names, AddressPolicy(["127.0.0.1"]))
        url = f"http://rebinding.example:{partner.port}/hook"
        first = await sender.send(url, headers={}, body=b"{}", seconds=5)
        second = await sender.send(url, headers={}, body=b"{}", seconds=5)
    assert (first.status, second.status) == (200, None)
    assert "not public" in (second.error or "")
    assert names.asked == ["rebinding.example"] * 2, "asked once for each connection, and never by the socket itself"
    assert [one.headers["host"] for one in partner.received] == [f"rebinding.example:{partner.port}"]


class Called(httpcore.AsyncNetworkBackend):
    """A network that notes who is called, and where nobody answers."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.hosts.append(host)
        raise httpcore.ConnectError


async def test_what_is_connected_to_is_what_was_checked() -> None:
    """A name that is public for the check and private a moment later: the public address is called, and no other; the
    name is not looked up again, by us or by the socket."""
    names, network = Names("1.1.1.1", "127.0.0.1"), Called()
    backend = PinnedBackend("https", names, AddressPolicy([]), network)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("rebinding.example", 443, timeout=2)
    assert (network.hosts, names.asked) == (["1.1.1.1"], ["rebinding.example"])


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    """A name with several addresses is reached by the one that answers."""
    async with receiver() as partner:
        backend = PinnedBackend("http", Names("127.0.0.9 127.0.0.1"), AddressPolicy(["127.0.0.0/8"]))
        stream = await backend.connect_tcp("two.example", partner.port, timeout=2)
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        await stream.aclose()


async def test_nobody_answers() -> None:
    """When none of the addresses answers, the last refusal is told."""
    backend = PinnedBackend("http", Names("127.0.0.8 127.0.0.9"), AddressPolicy(["127.0.0.0/8"]))
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("two.example", 9, timeout=2)


async def test_the_systems_resolver() -> None:
    """It knows this machine, and says of a name that there is none that it can't be resolved."""
    resolver = SystemResolver()
    assert ip_address("127.0.0.1") in await resolver.resolve("localhost", 80)
    with pytest.raises(Unresolvable):
        await resolver.resolve("there.is.no.such.name.invalid", 80)
    with pytest.raises(Unresolvable):
        await resolver.resolve("x" * 300, 80)
    resolver.close()
    await asyncio.sleep(0)
