"""Access tokens as an attacker would make them: anything in any place, signed by whoever."""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from app.core.enums import KeyAlgorithm
from app.core.signing_keys import SigningKey, new_key_pair, read_private, read_public
from app.services.container import Container
from tests.support import API, Person, assert_problem

ME = f"{API}/users/me"


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def as_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def new_key(algorithm: str) -> SigningKey:
    """A key of somebody's own, which signs at no time when it is put into a ring with others."""
    pair = new_key_pair(KeyAlgorithm(algorithm))
    private, public = read_private(pair.private), read_public(pair.jwk)
    return SigningKey(pair.kid, algorithm, public, private, time.time() + 86400, float("inf"), pair.jwk)


def signed(header: Any, claims: Any, key: SigningKey) -> str:
    """Whatever header and claims say (JSON values, or bytes as they are), the signature is the one of this key."""
    message = f"{encoded(as_json(header))}.{encoded(as_json(claims))}"
    return f"{message}.{encoded(jwt.get_algorithm_by_name(key.algorithm).sign(message.encode(), key.private))}"


@dataclass(frozen=True)
class Target:
    """A service, and somebody whose access token is good there."""

    client: httpx.AsyncClient
    container: Container
    person: Person

    @property
    def good(self) -> str:
        return self.person.headers["Authorization"].removeprefix("Bearer ")

    @property
    def key(self) -> SigningKey:
        """The one that the service signs with."""
        return self.container.keys.ring.signing()

    @property
    def header(self) -> dict[str, Any]:
        return dict(jwt.get_unverified_header(self.good))

    @property
    def claims(self) -> dict[str, Any]:
        return dict(jwt.decode(self.good, options={"verify_signature": False}))

    def with_header(self, by: SigningKey | None = None, /, **members: Any) -> str:
        """A token with these members in its header (without those that are `...`), all else as it should be."""
        return signed(_without_gaps(self.header | members), self.claims, by or self.key)

    def with_claims(self, /, **members: Any) -> str:
        """A token with these claims (without those that are `...`), all else as it should be."""
        return signed(self.header, _without_gaps(self.claims | members), self.key)

    async def ask(self, token: str | bytes) -> httpx.Response:
        bearer = b"Bearer " + (token if isinstance(token, bytes) else token.encode())
        return await self.client.get(ME, headers={b"Authorization": bearer})

    async def accepts(self, token: str) -> None:
        answer = await self.ask(token)
        assert (answer.status_code, answer.json().get("id")) == (200, self.person.id), answer.text

    async def refuses(self, token: str | bytes) -> None:
        """As the contract has it, twice (nothing of it is remembered), while the good token goes on to work."""
        for _ in range(2):
            assert_refused(await self.ask(token))
        await self.accepts(self.good)


def _without_gaps(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ...}


def assert_refused(answer: httpx.Response) -> None:
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"
