"""Signing up, in and out."""

from typing import Annotated, Any

from fastapi import Body, Form, Response
from pydantic import AfterValidator, Field

from app.core.errors import Invalid, InvalidGrantRequest, UnsupportedGrant
from app.dependencies.client import ClientCredentialsDep
from app.dependencies.idempotency import Idempotent
from app.dependencies.refresh_cookie import RefreshCookieDep
from app.dependencies.resources import Auth, EmailChanges, Passwords, ServiceAccounts, Users
from app.dependencies.session import DeviceDep, Read, Write
from app.routers.new_passwords import HashedRegistration
from app.routers.route import Router
from app.schemas.auth import EmailVerification, ForgottenPassword, Logout, PasswordReset, TokenPair
from app.schemas.base import storable
from app.schemas.users import Registered

router = Router(prefix="/auth", tags=["identity"])
BODY_LIMIT = 64 * 1024
"""Strangers write here. The longest that could be right has 16 KiB: a password of 256 characters, typed decomposed and
percent-encoded; what is longer than a field may be is still told so."""
# RFC 6749, 5.1; every answer has the first of them, but here it is a promise.
_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_OTHER_PAGE: dict[str, Any] = {"description": "`csrf_refused`: another site's page asked with the cookie"}
FormText = Annotated[Annotated[str, Field(max_length=4096)] | None, Form()]
UserName = Annotated[Annotated[str, Field(max_length=4096), AfterValidator(storable)] | None, Form()]


@router.post("/register", status_code=202)
async def register(
    hashed: HashedRegistration,
    _: Annotated[None, Idempotent],
    users: Users,
    session: Write,
) -> Registered:
    """Make an account. The answer is the same when the e-mail has one already; then its owner gets a mail instead."""
    await users.register(session, data=hashed.data, password_hash=hashed.password_hash)
    return Registered(email=hashed.data.email)


@router.post("/verify-email", status_code=204, response_class=Response)
async def verify_email(data: EmailVerification, auth: Auth, session: Write) -> None:
    """Confirm an e-mail with the token that was mailed to it; a token works once."""
    await auth.verify_email(session, token=data.token)


@router.post("/password/forgot", status_code=202)
async def forgot_password(data: ForgottenPassword, passwords: Passwords, session: Write) -> Registered:
    """Have a link mailed that sets a new password. The answer is the same when the e-mail has no account."""
    await passwords.forgot(session, email=data.email)
    return Registered(email=data.email)


@router.post("/password/reset", status_code=204, response_class=Response)
async def reset_password(data: PasswordReset, passwords: Passwords, read: Read, session: Write) -> None:
    """Set a new password with the token that was mailed; it works once, and every session ends."""
    await passwords.reset(read, session, token=data.token, password=data.password)


@router.post("/confirm-email", status_code=204, response_class=Response)
async def confirm_email(data: EmailVerification, changes: EmailChanges, session: Write) -> None:
    """Make the address that this token was mailed to the account's."""
    await changes.confirm(session, token=data.token)


@router.post(
    "/token",
    responses={
        400: {"description": "`invalid_grant`, `mfa_required`, or another of RFC 6749's refusals"},
        401: {"description": "`invalid_client`, with `WWW-Authenticate: Basic`"},
        403: _OTHER_PAGE,
    },
)
async def token(
    auth: Auth,
    read: Read,
    session: Write,
    device: DeviceDep,
    service_accounts: ServiceAccounts,
    credentials: ClientCredentialsDep,
    response: Response,
    cookie: RefreshCookieDep,
    grant_type: FormText = None,
    username: UserName = None,
    password: FormText = None,
    refresh_token: FormText = None,
    scope: FormText = None,
    otp: FormText = None,
) -> TokenPair:
    """Sign in (`grant_type=password` with `username` and `password`), stay so (`refresh_token`), or sign in as a
    service account (`client_credentials`, with HTTP Basic). RFC 6749. `scope` narrows what the tokens may do.

    An account with a second factor needs `otp` as well: without it the refusal of a right password is `mfa_required`.

    A refresh token is spent by its use. Used again within 30 s it gives the same successor; later it ends the session.
    """
    response.headers.update(_NOT_KEPT)
    match grant_type:
        case "password":
            if not username or not password:
                raise InvalidGrantRequest("username and password are needed.")
            pair = await auth.sign_in(
                read, session, email=username, password=password, device=device, scope=scope or "", otp=otp
            )
        case "refresh_token":
            if not (refresh_token := refresh_token or cookie.token):
                raise InvalidGrantRequest("refresh_token is needed, or with X-Session-Cookie its cookie.")
            pair = await auth.refresh(session, refresh_token=refresh_token)
        case "client_credentials":
            return await service_accounts.sign_in(read, session, credentials=credentials, scope=scope or "")
        case None | "":
            raise InvalidGrantRequest("grant_type is needed, in a form (application/x-www-form-urlencoded).")
        case _:
            raise UnsupportedGrant
    return pair.model_copy(update={"refresh_token": cookie.keep(response, pair.refresh_token)})


@router.post("/logout", status_code=204, response_class=Response, responses={403: _OTHER_PAGE})
async def logout(
    auth: Auth,
    session: Write,
    response: Response,
    cookie: RefreshCookieDep,
    data: Annotated[Logout | None, Body()] = None,
) -> None:
    """End the session of this refresh token: its access tokens stop working at once."""
    token = data.refresh_token if data else cookie.token
    if not token:
        raise Invalid("is needed", loc=("body", "refresh_token"), kind="missing")
    await auth.sign_out(session, refresh_token=token)
    cookie.clear(response)
