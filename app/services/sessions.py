"""The places where somebody is signed in, as they see and end them."""

from dataclasses import dataclass

from app.config import AuthSettings
from app.core.audit import audit
from app.core.database import ReadSession, WriteSession
from app.core.errors import NotFound
from app.core.listing import Page, PageQuery
from app.crud.auth_sessions import auth_sessions
from app.schemas.sessions import SessionRead
from app.services.principal import Principal


@dataclass(frozen=True, slots=True)
class SessionService:
    settings: AuthSettings

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        """The own sessions that go on, this one marked."""
        live = auth_sessions.of_user(
            principal.id,
            refresh_token_days=self.settings.refresh_token_days,
            session_days=self.settings.session_days,
        )
        page = await auth_sessions.page(read, query, where=live)
        shown = [
            SessionRead(
                id=row.id,
                device=row.user_agent,
                address=row.address,
                created_at=row.created_at,
                last_seen_at=row.last_seen_at,
                current=row.id == principal.session_id,
            )
            for row in page.rows
        ]
        return Page(shown, page.last, page.total)

    async def end(self, session: WriteSession, *, principal: Principal, session_id: int) -> None:
        """End one of the own sessions, with its access tokens; NotFound for anybody else's, and for one that ended."""
        if not await auth_sessions.revoke(session, session_id, user_id=principal.id):
            raise NotFound
        await audit(session, action="session.ended", object_type="session", object_id=session_id)

    async def end_all(self, session: WriteSession, *, principal: Principal) -> None:
        """This one, too."""
        await auth_sessions.revoke_all(session, principal.id)
        await audit(session, action="sessions.ended", object_type="user", object_id=principal.id)
