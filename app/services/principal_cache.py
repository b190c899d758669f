"""Who was seen a moment ago: spares the common request its read of the database.

Nothing here is believed unless this process hears of every change (core/notices.py). What changes is forgotten at once;
what is remembered is forgotten after a while all the same.
"""

import time
from collections import OrderedDict

from app.core.metrics import CACHE
from app.core.notices import Notices
from app.services.principal import Principal

MAX_REMEMBERED = 4096
MAX_SESSIONS = 16
EVERYBODY = 0
_HIT, _MISS = CACHE.labels("principal", "hit"), CACHE.labels("principal", "miss")
Entry = tuple[Principal, float]
Session = tuple[int, str]


class PrincipalCache:
    """By the principal's id, then by session and scope. Bounded: whoever was added first goes first."""

    def __init__(self, notices: Notices, *, seconds: float) -> None:
        self._notices = notices
        self._seconds = seconds
        self._known: OrderedDict[int, dict[Session, Entry]] = OrderedDict()
        self._changes = 0
        notices.subscribe("principal", self._hear, on_deaf=self._forget_all)

    def get(self, id_: int, session_id: int, scope: str) -> Principal | None:
        principal = self._fresh(id_, session_id, scope)
        (_MISS if principal is None else _HIT).inc()
        return principal

    def ticket(self) -> int:
        """Taken before the database is read: what changes from then on makes the answer too old to be kept."""
        return self._changes

    def keep(self, principal: Principal, scope: str, *, ticket: int) -> None:
        if ticket != self._changes or not self._notices.listening:
            return
        sessions = self._known.setdefault(principal.id, {})
        if len(sessions) >= MAX_SESSIONS:
            sessions.clear()
        sessions[principal.session_id, scope] = principal, time.monotonic() + self._seconds
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _fresh(self, id_: int, session_id: int, scope: str) -> Principal | None:
        sessions = self._known.get(id_)
        if sessions is None or not self._notices.listening:
            return None
        principal, until = sessions.get((session_id, scope), (None, 0.0))
        return principal if time.monotonic() < until else None

    def _hear(self, said: str) -> None:
        self._changes += 1
        if said == str(EVERYBODY):
            self._known.clear()
        else:
            self._known.pop(int(said), None)

    def _forget_all(self) -> None:
        self._changes += 1
        self._known.clear()
