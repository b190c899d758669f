"""Programs that sign in for themselves: made by a superadmin, known by a secret that is shown once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.core.access_tokens import AccessTokens
from app.core.audit import audit
from app.core.context import current_cause
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.errors import Conflict, InvalidClient, InvalidScope, NotFound
from app.core.etag import check_if_match, version_tag
from app.core.listing import Page, PageQuery
from app.core.opaque_tokens import OpaqueTokens
from app.core.rate_limit import FailureLimit
from app.core.scopes import Scope, join, known, parse
from app.crud.service_accounts import service_accounts
from app.models import ServiceAccount
from app.schemas.auth import TokenPair
from app.schemas.service_accounts import ServiceAccountCreate
from app.services.principal import Principal, account_of, client_id, require_superadmin
from app.services.signing_keys import SigningKeyService

MAX_SECRETS = 2
"""Living ones: the old and the new, while a program is moved from one to the other."""
MAX_CLAIMED = 100
"""Characters of a client id that failures are counted by; a true one is shorter."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What somebody says to be a service account."""

    client_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class ServiceAccountView:
    """An account as superadmins see it; `secret` on the day it is made."""

    id: int
    client_id: str
    name: str
    scopes: list[Scope]
    secrets: Sequence[Any]
    created_at: datetime
    version: int
    secret: str = ""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret in the only moment in which it is known."""

    id: int
    created_at: datetime
    secret: str


@dataclass(frozen=True, slots=True)
class ServiceAccountService:
    opaque_tokens: OpaqueTokens
    access_tokens: AccessTokens
    keys: SigningKeyService
    failures: FailureLimit

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        require_superadmin(principal)
        page = await service_accounts.page(read, query)
        return Page(await self._shown(read, page.rows), page.last, page.total)

    async def get(self, read: ReadSession, *, principal: Principal, account_id: int) -> ServiceAccountView:
        require_superadmin(principal)
        row = await service_accounts.get(read, account_id)
        if row is None:
            raise NotFound
        return (await self._shown(read, [row]))[0]

    async def create(
        self, session: WriteSession, *, principal: Principal, data: ServiceAccountCreate
    ) -> ServiceAccountView:
        """A new account and its first secret, which is told here and never again."""
        require_superadmin(principal)
        account = await service_accounts.add(session, ServiceAccount(name=data.name, scopes=list(data.scopes)))
        made = await self._new_secret(session, account.id)
        changes = {"name": data.name, "scopes": list(data.scopes)}
        await audit(
            session,
            action="service_account.created",
            object_type="service_account",
            object_id=account.id,
            changes=changes,
        )
        return replace(_shown(account, [made]), secret=made.secret)

    async def delete(
        self, session: WriteSession, *, principal: Principal, account_id: int, if_match: str | None
    ) -> None:
        """Its tokens end at once."""
        require_superadmin(principal)
        account = await self._locked(session, account_id)
        check_if_match(if_match, version_tag(account.version))
        await service_accounts.soft_delete(session, account)
        await audit(session, action="service_account.deleted", object_type="service_account", object_id=account_id)

    async def add_secret(self, session: WriteSession, *, principal: Principal, account_id: int) -> NewSecret:
        """A second secret beside the first; Conflict when there are two already."""
        require_superadmin(principal)
        account = await self._locked(session, account_id)
        if await service_accounts.count_secrets(session, account_id) >= MAX_SECRETS:
            raise Conflict("There are two secrets already; delete the one that is no longer used.")
        made = await self._new_secret(session, account_id)
        await service_accounts.raise_version(session, account)
        await audit(
            session,
            action="service_account.secret_added",
            object_type="service_account",
            object_id=account_id,
            changes={"number": made.id},
        )
        return made

    async def delete_secret(
        self, session: WriteSession, *, principal: Principal, account_id: int, secret_id: int
    ) -> None:
        """The tokens that were got with it end at once."""
        require_superadmin(principal)
        account = await self._locked(session, account_id)
        if not await service_accounts.revoke_secret(session, account_id=account_id, secret_id=secret_id):
            raise NotFound
        await service_accounts.raise_version(session, account)
        await audit(
            session,
            action="service_account.secret_deleted",
            object_type="service_account",
            object_id=account_id,
            changes={"number": secret_id},
        )

    async def sign_in(
        self, read: ReadSession, session: WriteSession, *, credentials: ClientCredentials | None, scope: str
    ) -> TokenPair:
        """An access token alone. InvalidClient unless it is a living secret of that account, RateLimited after repeated
        failures; InvalidScope for a scope that it has not."""
        if credentials is None:
            raise InvalidClient
        claimed, address = f"client:{credentials.client_id[:MAX_CLAIMED]}", current_cause().address or ""
        await self.failures.check(claimed, address)
        account_id = account_of(credentials.client_id)
        row = None
        if account_id is not None:
            digest = self._hash(credentials.secret)
            row = await service_accounts.by_secret(read, account_id=account_id, secret_hash=digest)
        if row is None:
            await self.failures.record(claimed, address)
            await self._refused(read, session, account_id)
            raise InvalidClient
        given, wanted = known(" ".join(row.scopes)), parse(scope)
        if not wanted <= given:
            raise InvalidScope("The service account does not have this scope.")
        await audit(session, action="service_account.signed_in", object_type="service_account", object_id=row.id)
        await self.keys.ensure()
        granted = join(wanted or given)
        token, lifetime = self.access_tokens.issue(
            user_id=-row.id, session_id=row.secret_id, role="service", scope=granted
        )
        return TokenPair(access_token=token, expires_in=lifetime, scope=granted)

    async def _refused(self, read: ReadSession, session: WriteSession, account_id: int | None) -> None:
        """Record it when there is such an account. A guess costs no hash here: a stranger who names nobody would fill
        the record as fast as it can be written."""
        if account_id is not None and await service_accounts.get(read, account_id) is not None:
            await audit(session, action="service_account.refused", object_type="service_account", object_id=account_id)

    async def _new_secret(self, session: WriteSession, account_id: int) -> NewSecret:
        secret = self.opaque_tokens.new()
        row = await service_accounts.add_secret(session, account_id=account_id, secret_hash=self._hash(secret))
        return NewSecret(row.id, row.created_at, secret)

    def _hash(self, secret: str) -> bytes:
        # 256 random bits need no slow hash, which exists for what people think up; keyed, so that whoever can write to
        # the table can't make up a secret.
        return self.opaque_tokens.keyed("service-account-secret", secret)

    async def _locked(self, session: WriteSession, account_id: int) -> ServiceAccount:
        account = await service_accounts.lock(session, account_id)
        if account is None:
            raise NotFound
        return account

    async def _shown(self, read: ReadSession, rows: Sequence[AnyRow]) -> list[ServiceAccountView]:
        secrets = await service_accounts.secrets(read, [row.id for row in rows])
        return [_shown(row, [one for one in secrets if one.account_id == row.id]) for row in rows]


def _shown(account: Any, secrets: Sequence[Any]) -> ServiceAccountView:
    return ServiceAccountView(
        id=account.id,
        client_id=client_id(account.id),
        name=account.name,
        scopes=sorted(known(" ".join(account.scopes))),
        secrets=secrets,
        created_at=account.created_at,
        version=account.version,
    )
