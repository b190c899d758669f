"""The two pages a person may open: a greeting, and the target of the link in the verification mail."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.dependencies.resources import SettingsDep

router = APIRouter(include_in_schema=False)
_PAGES = Path(__file__).parent / "html"
_LANDING = (_PAGES / "landing.html").read_text(encoding="utf-8")
_VERIFY = (_PAGES / "verify_email.html").read_text(encoding="utf-8")


def _sources(page: str, tag: str) -> str:
    """The CSP hashes of the page's inline `tag` elements."""
    parts = page.split(f"<{tag}>")[1:]
    digests = (sha256(part.split(f"</{tag}>")[0].encode()).digest() for part in parts)
    return " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests) or "'none'"


def _page(page: str, **values: str) -> HTMLResponse:
    policy = (
        f"default-src 'none'; style-src {_sources(page, 'style')}; script-src {_sources(page, 'script')}; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    for name, value in values.items():
        page = page.replace("{{" + name + "}}", value)
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


@router.get("/")
async def landing(settings: SettingsDep) -> HTMLResponse:
    links = '<a href="/docs">API documentation</a>' if settings.docs_served else ""
    return _page(_LANDING, docs=links)


@router.get("/verify-email")
async def verify_email() -> HTMLResponse:
    """Reads the token from the fragment, which no server and no log ever sees, and posts it when the person clicks."""
    return _page(_VERIFY)
