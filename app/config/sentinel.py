"""`redis+sentinel://user:password@host:port,host:port/service/number`: who knows where the primary is."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

SCHEME = "redis+sentinel"
PORT = 26379


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The sentinels, what they call the primary, and how to sign in at it and at them."""

    addresses: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None
    own_password: str | None


def is_sentinel(url: str) -> bool:
    return url.startswith(f"{SCHEME}://")


def parse_sentinels(url: str) -> Sentinels:
    """Raises ValueError, which says nothing of the address."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, number = parts.path.removeprefix("/").partition("/")
    if parts.scheme != SCHEME or not service or (number and not number.isdigit()):
        raise ValueError("no service, or a database that is no number")
    (own, *_) = parse_qs(parts.query).get("sentinel_password", [""])
    return Sentinels(
        addresses=tuple(_address(host) for host in hosts.split(",")),
        service=unquote(service),
        database=int(number or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        own_password=own or None,
    )


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("a sentinel without a host, or with a port that none is")
    return parts.hostname, parts.port or PORT
