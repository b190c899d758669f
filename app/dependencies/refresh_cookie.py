"""The refresh token in a cookie that no script can read, for browsers (decision 0034)."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Request, Response

from app.config import Settings
from app.core.errors import CsrfRefused
from app.dependencies.resources import container_of

SECURE_NAME, PLAIN_NAME = "__Host-frontdesk-refresh", "frontdesk-refresh"
PLAIN_PATH = "/api/v1/auth"
DAY = 86_400


class RefreshCookie:
    """What a request that asked for it does with the cookie; any other request does nothing with it."""

    def __init__(self, request: Request, settings: Settings, *, wanted: bool) -> None:
        self._wanted = wanted and settings.auth.cookie_mode
        self._request = request
        self._days = settings.auth.refresh_token_days
        # __Host- demands Secure, and the whole host as path: no other host and no plain connection can plant one.
        self._secure = settings.base_url.startswith("https://")
        self._name, self._path = (SECURE_NAME, "/") if self._secure else (PLAIN_NAME, PLAIN_PATH)
        if self._wanted and not _from_our_pages(request, settings):
            raise CsrfRefused

    @property
    def token(self) -> str | None:
        return self._request.cookies.get(self._name) if self._wanted else None

    def keep(self, response: Response, token: str | None) -> str | None:
        """What of the refresh token goes into the answer: nothing, when the cookie has it."""
        if not self._wanted or token is None:
            return token
        self._set(response, token, self._days * DAY)
        return None

    def clear(self, response: Response) -> None:
        if self._wanted:
            self._set(response, "", 0)

    def _set(self, response: Response, value: str, max_age: int) -> None:
        response.set_cookie(
            self._name, value, max_age, path=self._path, secure=self._secure, httponly=True, samesite="strict"
        )


def _from_our_pages(request: Request, settings: Settings) -> bool:
    """Whether the browser says that a page of ours, or one that may call us, sent this. Who says nothing is refused.

    The header that asks for the cookie is a proof already: another site's page can't send it without being asked for
    leave first (CORS). This is the second one.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    ours = urlsplit(settings.base_url)
    return origin in {f"{ours.scheme}://{ours.netloc}", *settings.api.cors_origins}


async def get_refresh_cookie(
    request: Request,
    session_cookie: Annotated[
        str | None,
        Header(
            alias="X-Session-Cookie",
            max_length=16,
            description="any value: keep the refresh token in a cookie instead of the answer, where that is turned on",
        ),
    ] = None,
) -> RefreshCookie:
    return RefreshCookie(request, container_of(request).settings, wanted=session_cookie is not None)


RefreshCookieDep = Annotated[RefreshCookie, Depends(get_refresh_cookie)]
