"""Nobody learns who has an account by what a refusal costs, counted in rounds of bcrypt and in statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from passlib.hash import bcrypt, bcrypt_sha256
from sqlalchemy import event

from app.core import hashing
from tests.support import API, PASSWORD, World, sign_in


class Cost:
    """The rounds that were computed, and the statements that were run."""

    def __init__(self) -> None:
        self.rounds = 0
        self.statements: list[str] = []


@pytest.fixture
def cost(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    found, fits = Cost(), hashing._fits

    def counted(secret: bytes, hashed: str) -> bool:
        found.rounds += 2 ** (hashing._rounds(hashed) or 0)
        return fits(secret, hashed)

    monkeypatch.setattr(hashing, "_fits", counted)
    with _statements(world, found.statements):
        yield found


@contextmanager
def _statements(world: World, into: list[str]) -> Iterator[None]:
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        into.append(" ".join(statement.split())[:60])

    # The engine of transactions is made of the one of reads, and so are its events.
    engine = world.database.read._engine
    event.listen(engine, "before_cursor_execute", note)
    yield
    event.remove(engine, "before_cursor_execute", note)


async def spent(cost: Cost, client: httpx.AsyncClient, email: str, *, right: bool = False) -> Any:
    cost.rounds, cost.statements[:] = 0, []
    assert (await sign_in(client, email, PASSWORD if right else "a wrong password")).status_code == 400
    return cost.rounds, list(cost.statements)


async def test_every_refused_sign_in_costs_the_same(client: httpx.AsyncClient, world: World, cost: Cost) -> None:
    """An unknown user, a wrong password, an account that is off (the right password, too), one that is deleted, one
    that no password fits, and a hash of another system: the same rounds and the same statements."""
    known = await world.person(password=PASSWORD)
    off = await world.person(password=PASSWORD, is_active=False)
    deleted = await world.person(password=PASSWORD)
    await world.execute("UPDATE users SET deleted_at = now() WHERE id = :id", id=deleted.id)
    nothing = await world.person()
    other = await world.person(password_hash=bcrypt.using(rounds=4).hash(PASSWORD))
    wanted = await spent(cost, client, "nobody@example.com")
    assert wanted[0] == 2**world.container.settings.hashing.rounds
    assert len(wanted[1]) > 1
    for person in (known, off, deleted, nothing, other):
        assert await spent(cost, client, person.email) == wanted, person
    assert await spent(cost, client, off.email, right=True) == wanted


async def test_a_cheaper_hash_is_refused_no_sooner(world: World, cost: Cost) -> None:
    """Whatever is stored, a refusal computes the rounds that the settings say: for nobody, for no hash, and for hashes
    of ours and of another system at a lower cost."""
    hasher = hashing.PasswordHasher(world.container.settings.hashing.model_copy(update={"rounds": 7}))
    ours, others = (scheme.using(rounds=4).hash(PASSWORD) for scheme in (bcrypt_sha256, bcrypt))
    for stored in (None, "!", ours, others, bcrypt_sha256.using(rounds=7).hash(PASSWORD)):
        cost.rounds = 0
        assert not await hasher.verify("a wrong password", stored)
        assert cost.rounds == 2**7, stored
    hasher.close()


async def test_a_taken_address_costs_what_a_free_one_costs(
    client: httpx.AsyncClient, world: World, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registering hashes once, taken or free, and differs by two statements at most; a forgotten password hashes
    nothing and runs the very same statements."""
    person, hashed = await world.person(), []
    make = hashing.PasswordHasher.hash

    async def counted(self: hashing.PasswordHasher, password: str, **options: bool) -> str:
        hashed.append(password)
        return await make(self, password, **options)

    monkeypatch.setattr(hashing.PasswordHasher, "hash", counted)
    found: dict[str, list[str]] = {}
    for path, body in (("register", {"password": PASSWORD, "full_name": "P"}), ("password/forgot", {})):
        for email in (person.email, "nobody@example.com"):
            cost.rounds, cost.statements[:], hashed[:] = 0, [], []
            answer = await client.post(f"{API}/auth/{path}", json={"email": email} | body)
            assert answer.status_code == 202
            assert len(hashed) == (path == "register")
            found[f"{path} {email == person.email}"] = list(cost.statements)
    assert found["password/forgot True"] == found["password/forgot False"]
    assert abs(len(found["register True"]) - len(found["register False"])) <= 2, found


async def test_a_dead_token_costs_what_an_unknown_one_costs(
    client: httpx.AsyncClient, world: World, cost: Cost
) -> None:
    """Verifying, confirming and resetting with a token that was used or never was: the same answer, the same
    statements, and nothing is hashed."""
    person = await world.person()
    tokens = world.container.auth.opaque_tokens
    for purpose, path, body in (
        ("verify_email", "verify-email", {}),
        ("change_email", "confirm-email", {}),
        ("reset_password", "password/reset", {"password": "another horse battery"}),
    ):
        await world.execute(
            "INSERT INTO one_time_tokens (user_id, purpose, token_hash, expires_at, used_at)"
            " VALUES (:id, :purpose, :hash, now() + interval '1 hour', now())",
            id=person.id,
            purpose=purpose,
            hash=tokens.digest(f"used {purpose}"),
        )
        answers = []
        for token in (f"used {purpose}", "never was"):
            cost.rounds, cost.statements[:] = 0, []
            answer = await client.post(f"{API}/auth/{path}", json={"token": token} | body)
            answers.append((answer.status_code, answer.json()["errors"], cost.rounds, list(cost.statements)))
        assert answers[0] == answers[1]
        assert answers[0][0] == 422
