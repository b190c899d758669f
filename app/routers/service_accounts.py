"""Programs that sign in for themselves."""

from typing import Annotated, Any

from fastapi import Depends, Response

from app.core.listing import PageQuery
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, ServiceAccounts
from app.dependencies.session import IfMatch, IfNoneMatch, Read, SuperadminUser, Write
from app.routers.responses import PathId, conditional, created, paged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.service_accounts import (
    SERVICE_ACCOUNTS,
    SecretOnce,
    ServiceAccountCreate,
    ServiceAccountOnce,
    ServiceAccountRead,
)

router = Router(prefix="/service-accounts", tags=["identity"])


@router.get("", response_model=PageOut[ServiceAccountRead])
async def list_service_accounts(
    query: Annotated[PageQuery, Depends(page_query(SERVICE_ACCOUNTS))],
    principal: SuperadminUser,
    accounts: ServiceAccounts,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Superadmins only."""
    return paged(await accounts.page(read, principal=principal, query=query), query, SERVICE_ACCOUNTS, cursors)


@router.post("", status_code=201, response_model=ServiceAccountOnce)
async def create_service_account(
    data: ServiceAccountCreate,
    principal: SuperadminUser,
    _: Annotated[None, Idempotent],
    accounts: ServiceAccounts,
    session: Write,
    response: Response,
) -> Any:
    """Superadmins only. The secret is shown in this answer, and never again."""
    made = await accounts.create(session, principal=principal, data=data)
    return created(response, made, "service-accounts")


@router.get("/{account_id}", response_model=ServiceAccountRead)
async def get_service_account(
    account_id: PathId,
    principal: SuperadminUser,
    accounts: ServiceAccounts,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Superadmins only."""
    return conditional(response, await accounts.get(read, principal=principal, account_id=account_id), if_none_match)


@router.delete("/{account_id}", status_code=204, response_class=Response)
async def delete_service_account(
    account_id: PathId, principal: SuperadminUser, accounts: ServiceAccounts, session: Write, if_match: IfMatch = None
) -> None:
    """Superadmins only. Its tokens stop working at once."""
    await accounts.delete(session, principal=principal, account_id=account_id, if_match=if_match)


@router.post("/{account_id}/secrets", status_code=201, response_model=SecretOnce)
async def add_secret(
    account_id: PathId,
    principal: SuperadminUser,
    _: Annotated[None, Idempotent],
    accounts: ServiceAccounts,
    session: Write,
) -> Any:
    """Superadmins only. A second secret, so that a program can be moved to it; a third is 409."""
    return await accounts.add_secret(session, principal=principal, account_id=account_id)


@router.delete("/{account_id}/secrets/{secret_id}", status_code=204, response_class=Response)
async def delete_secret(
    account_id: PathId, secret_id: PathId, principal: SuperadminUser, accounts: ServiceAccounts, session: Write
) -> None:
    """Superadmins only. The tokens that were got with it stop working at once."""
    await accounts.delete_secret(session, principal=principal, account_id=account_id, secret_id=secret_id)
