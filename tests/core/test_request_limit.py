"""Requests are counted by class and caller: exactly within a process, over all of them by Redis."""

from typing import ClassVar

import pytest
from limits.aio.storage import RedisStorage

from app.config import RedisSettings
from app.core.addresses import subscriber
from app.core.context import Cause, bound, current_cause
from app.core.rate_limit import Allowance, FailureLimit
from app.core.redis import make_pool
from app.core.request_limit import Kind, RequestLimits, kind_of
from app.services.container import Container
from tests.core.test_rate_limit import refuses
from tests.support import eventually

AMOUNTS: dict[Kind, int] = {"read": 5, "write": 3, "auth": 0}
KINDS: tuple[Kind, ...] = ("read", "write")


def storage(url: str, made: type[RedisStorage] = RedisStorage) -> RedisStorage:
    pool = make_pool(RedisSettings.model_validate({"url": url, "timeout": 0.2}))
    return made("async+" + url, implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]


@pytest.fixture
def url(container: Container) -> str:
    return container.settings.redis.url.get_secret_value()


def limits_on(url: str, amounts: dict[Kind, int] = AMOUNTS, *, now: float = 1_800_000_030.0) -> RequestLimits:
    """In a window that does not end."""
    return RequestLimits(storage(url), amounts, clock=lambda: now)


async def exceeded(limits: RequestLimits, kind: Kind, caller: str = "user:1") -> bool:
    standing = await limits.hit(kind, caller)
    assert standing is not None
    assert 1 <= standing.reset <= 60
    return standing.exceeded


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/api/v1/users/me", "read"),
        ("HEAD", "/api/v1/doctors", "read"),
        ("GET", "/api/v1/auth/sessions", "read"),
        ("POST", "/api/v1/auth/token", "auth"),
        ("POST", "/api/v1/auth/password/forgot", "auth"),
        ("DELETE", "/api/v1/auth/mfa/totp", "auth"),
        ("POST", "/api/v1/appointments", "write"),
        ("BREW", "/api/v1/appointments", "write"),
        ("POST", "/api/v1/webhook-endpoints", "write"),
        ("POST", "/api/v1/webhooks/payments", None),
        ("POST", "/api/v1/webhooks/events/1/replay", "write"),
        ("GET", "/health/ready", None),
        ("GET", "/metrics", None),
        ("GET", "/", None),
    ],
)
def test_every_request_has_its_class(method: str, path: str, kind: Kind | None) -> None:
    """What reads, what writes, what signs in; probes, metrics and partners' webhooks are never limited."""
    assert kind_of(method, path) == kind


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_the_limit_is_exact_within_a_process(url: str, kind: Kind) -> None:
    """As many as allowed pass, the next one does not; another caller and another class have their own."""
    limits = limits_on(url)
    told = [await exceeded(limits, kind) for _ in range(AMOUNTS[kind] + 2)]
    assert told == [False] * AMOUNTS[kind] + [True] * 2
    assert not await exceeded(limits, kind, "user:2")
    assert not await exceeded(limits, "write" if kind == "read" else "read")
    assert await limits.hit("auth", "user:1") is None


async def test_writes_are_counted_over_all_processes(url: str) -> None:
    """Two processes together allow what one does, to the last request."""
    first, second = limits_on(url), limits_on(url)
    told = [await exceeded(limits, "write") for limits in (first, second, first, second)]
    assert told == [False, False, False, True]


async def test_reads_become_known_to_other_processes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process has counted, the other one knows a moment later, without waiting for Redis in a request."""
    monkeypatch.setattr("app.core.request_limit.SYNC_EVERY", 0)
    amounts: dict[Kind, int] = {"read": 1000, "write": 0, "auth": 0}
    first, second = limits_on(url, amounts), limits_on(url, amounts)
    for _ in range(900):
        await first.hit("read", "user:1")

    async def knows() -> bool:
        await first.hit("read", "user:1")
        standing = await second.hit("read", "user:1")
        return standing is not None and standing.used > 900

    assert await eventually(knows)


class Watched(RedisStorage):
    """Notes on whose behalf it was told something."""

    causes: ClassVar[list[Cause]] = []

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.causes.append(current_cause())
        return await super().incr(key, expiry, amount)


async def test_what_is_told_belongs_to_no_request(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of all callers are told outside of the request that found it was time: its trace has none of them."""
    monkeypatch.setattr("app.core.request_limit.SYNC_EVERY", 0)
    limits = RequestLimits(storage(url, Watched), AMOUNTS, clock=lambda: 1_800_000_030.0)

    async def told() -> bool:
        return bool(Watched.causes)

    with bound(Cause(request_id="r-1", user_id=1)):
        await limits.hit("read", "user:1")
        assert await eventually(told)
    assert set(Watched.causes) == {Cause()}


async def test_without_redis_this_process_counts() -> None:
    """With Redis gone requests go on, and too many of them are still refused."""
    limits = limits_on("redis://127.0.0.1:1/0")
    assert [await exceeded(limits, "write") for _ in range(4)] == [False, False, False, True]
    assert [await exceeded(limits, "read") for _ in range(6)] == [False] * 5 + [True]


async def test_a_new_minute_begins_anew(url: str) -> None:
    """When the window is over, everybody may again."""
    now = 1_800_000_030.0
    limits = RequestLimits(storage(url), AMOUNTS, clock=lambda: now)
    for kind in KINDS:
        for _ in range(6):
            await limits.hit(kind, "user:1")
        assert await exceeded(limits, kind)
    now += 60
    for kind in KINDS:
        assert not await exceeded(limits, kind)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("testclient", None),
        ("", None),
    ],
)
def test_an_address_stands_for_a_subscriber(address: str, whose: str | None) -> None:
    """An IPv6 address counts with its whole /64: who has one of these has them all."""
    assert subscriber(address) == whose


async def test_many_accounts_from_one_address_are_one_attack(url: str) -> None:
    """Spraying: an address that has failed often enough waits for every account, another address does not."""
    failures = FailureLimit(storage(url), amount=3, window=60, allowance=Allowance(3, address=5))
    for number in range(5):
        assert not await refuses(failures, "fresh@example.com", "2001:db8::1")
        await failures.record(f"pat{number}@example.com", "2001:db8::1")
    assert await refuses(failures, "fresh@example.com", "2001:db8::2")
    assert not await refuses(failures, "fresh@example.com", "2001:db8:1::1")


async def test_an_attack_from_everywhere_leaves_the_owner_a_way_in(url: str) -> None:
    """An account that fails from many addresses makes each one's allowance small, and nobody's nothing."""
    allowance = Allowance(10, attack=20, attacked=3)
    failures = FailureLimit(storage(url), amount=10, window=60, allowance=allowance)
    for number in range(5):
        for _ in range(4):
            assert not await refuses(failures, "pat@example.com", f"203.0.113.{number}")
            await failures.record("pat@example.com", f"203.0.113.{number}")
    assert await refuses(failures, "pat@example.com", "203.0.113.0")
    for _ in range(3):
        assert not await refuses(failures, "pat@example.com", "198.51.100.1")
        await failures.record("pat@example.com", "198.51.100.1")
    assert await refuses(failures, "pat@example.com", "198.51.100.1")
    assert not await refuses(failures, "sam@example.com", "203.0.113.0")
