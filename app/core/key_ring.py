"""The signing keys that a process knows at this moment."""

import time
from collections.abc import Sequence
from typing import Any

from app.core.errors import Unavailable
from app.core.signing_keys import SigningKey


class KeyRing:
    """Replaced as a whole; `version` rises whenever it says something else than before."""

    def __init__(self, keys: Sequence[SigningKey] = ()) -> None:
        self._keys: dict[str, SigningKey] = {}
        self.version = 0
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        fresh = {key.kid: key for key in keys}
        if fresh != self._keys:
            self._keys = fresh
            self.version += 1

    def get(self, kid: str) -> SigningKey | None:
        """Whatever is known under that name, for a reload that need not read it again."""
        return self._keys.get(kid)

    @property
    def can_sign(self) -> bool:
        return any(key.private is not None for key in self._keys.values())

    def signing(self) -> SigningKey:
        """The youngest key whose time has come; Unavailable while there is none."""
        now = time.time()
        able = [key for key in self._keys.values() if key.private is not None]
        if not able:
            raise Unavailable("Nobody can sign in right now; try again.")
        begun = [key for key in able if key.signs_from <= now]
        # A clock behind the database's must not leave the only key unused.
        return max(begun, key=_signs_from) if begun else min(able, key=_signs_from)

    def verifying(self, kid: object) -> SigningKey | None:
        key = self._keys.get(kid) if isinstance(kid, str) else None
        return key if key is not None and time.time() < key.verifies_until else None

    def public(self) -> list[dict[str, Any]]:
        """The key set: the next key before it signs, the present one, and old ones until their last token expires."""
        now = time.time()
        living = [key for key in self._keys.values() if now < key.verifies_until]
        return [key.jwk for key in sorted(living, key=_signs_from, reverse=True) if key.jwk is not None]


def _signs_from(key: SigningKey) -> float:
    return key.signs_from
