"""Accounts: registering, the own profile, and what admins do."""

from dataclasses import dataclass
from typing import Any

from app.core.audit import audit, difference
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import Role
from app.core.errors import Conflict, Forbidden, NotFound
from app.core.etag import check_if_match, version_tag
from app.core.events import record
from app.core.hashing import PasswordHasher
from app.core.jobs import enqueue
from app.core.listing import Page, PageQuery
from app.crud.auth_sessions import auth_sessions
from app.crud.users import users
from app.models import User
from app.schemas.events import UserRegistered
from app.schemas.messages.mails import SendAccountExistsMail
from app.schemas.users import ProfileUpdate, Registration, UserCreate, UserUpdate
from app.services.passwords import check_password
from app.services.principal import Principal, require_admin


@dataclass(frozen=True, slots=True)
class UserService:
    hasher: PasswordHasher

    async def registration_hash(self, *, data: Registration) -> str:
        """What `register` stores of the password; Invalid for one that everybody tries. The long part, so it comes
        before any transaction."""
        check_password(data.password, field="password", email=data.email, full_name=data.full_name)
        return await self.hasher.hash(data.password, yields=True)

    async def creation_hash(self, *, principal: Principal, data: UserCreate) -> str:
        """The same for `create`; Forbidden for a role that is not the principal's to give."""
        _check_role(principal, data.role)
        check_password(data.password, field="password", email=data.email, full_name=data.full_name)
        return await self.hasher.hash(data.password)

    async def register(self, session: WriteSession, *, data: Registration, password_hash: str) -> None:
        """Make a client's account and mail its owner; when the e-mail is taken, mail that owner, at the same cost."""
        user = await users.add_if_free(
            session, email=data.email, full_name=data.full_name, password_hash=password_hash, role=Role.CLIENT
        )
        if user is not None:
            record(session, UserRegistered.model_validate(user))
            return
        owner = await users.id_by_email(session, data.email)
        if owner is not None:
            # Never a second verification mail: it could make the owner confirm an account that a stranger has prepared.
            await enqueue(session, SendAccountExistsMail(user_id=owner))

    async def update_profile(
        self, session: WriteSession, *, principal: Principal, data: ProfileUpdate, if_match: str | None
    ) -> User:
        return await self._change(session, principal.id, data.model_dump(exclude_unset=True), if_match)

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        require_admin(principal)
        return await users.page(read, query)

    async def get(self, read: ReadSession, *, principal: Principal, user_id: int) -> AnyRow:
        require_admin(principal)
        user = await users.get(read, user_id)
        if user is None:
            raise NotFound
        return user

    async def create(
        self, session: WriteSession, *, principal: Principal, data: UserCreate, password_hash: str
    ) -> User:
        """An account made by an admin, with a verification mail; Conflict when the e-mail is taken."""
        _check_role(principal, data.role)
        user = await users.add_if_free(
            session, email=data.email, full_name=data.full_name, password_hash=password_hash, role=data.role
        )
        if user is None:
            raise Conflict("Another account has this e-mail.")
        made = {"email": user.email, "full_name": user.full_name, "role": user.role.value}
        await audit(session, action="user.created", object_type="user", object_id=user.id, changes=made)
        record(session, UserRegistered.model_validate(user))
        return user

    async def update(
        self, session: WriteSession, *, principal: Principal, user_id: int, data: UserUpdate, if_match: str | None
    ) -> User:
        """Change an account; turning it off or changing its role ends its sessions."""
        require_admin(principal)
        changes = data.model_dump(exclude_unset=True)
        user = await self._locked(session, principal, user_id)
        if "role" in changes and changes["role"] is not user.role and not principal.is_superadmin:
            raise Forbidden("Only a superadmin may change a role.")
        loses_access = changes.get("is_active") is False or changes.get("role", user.role) is not user.role
        if loses_access and user.id == principal.id:
            raise Conflict("You can't take your own access away.")
        check_if_match(if_match, version_tag(user.version))
        if loses_access:
            await auth_sessions.revoke_all(session, user.id)
        if made := difference(user, changes):
            await audit(session, action="user.updated", object_type="user", object_id=user.id, changes=made)
        return await users.patch(session, user, changes)

    async def delete(self, session: WriteSession, *, principal: Principal, user_id: int, if_match: str | None) -> None:
        """Take an account out of sight and end its sessions; its appointments stay."""
        require_admin(principal)
        user = await self._locked(session, principal, user_id)
        if user.id == principal.id:
            raise Conflict("You can't delete your own account.")
        check_if_match(if_match, version_tag(user.version))
        await auth_sessions.revoke_all(session, user.id)
        await users.soft_delete(session, user)
        await audit(session, action="user.deleted", object_type="user", object_id=user.id)

    async def _locked(self, session: WriteSession, principal: Principal, user_id: int) -> User:
        # Asked again under a lock, or two superadmins who demote each other at once would leave none.
        if principal.is_superadmin and principal.id not in await users.lock_superadmins(session):
            raise Forbidden
        user = await users.lock(session, user_id)
        if user is None:
            raise NotFound
        if user.role is not Role.CLIENT and not principal.is_superadmin and user.id != principal.id:
            raise Forbidden("Only a superadmin may change staff accounts.")
        return user

    async def _change(self, session: WriteSession, user_id: int, changes: dict[str, Any], if_match: str | None) -> User:
        user = await users.lock(session, user_id)
        if user is None:
            raise NotFound
        check_if_match(if_match, version_tag(user.version))
        return await users.patch(session, user, changes)


def _check_role(principal: Principal, role: Role) -> None:
    require_admin(principal)
    if role is not Role.CLIENT and not principal.is_superadmin:
        raise Forbidden("Only a superadmin may give this role.")
