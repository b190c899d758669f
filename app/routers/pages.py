"""The pages a person may open: a greeting, the targets of the links in mails, and the documentation."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from app.core.errors import NotFound
from app.dependencies.resources import SettingsDep

router = APIRouter(include_in_schema=False)
_PAGES = Path(__file__).parent / "html"
_LANDING = (_PAGES / "landing.html").read_text(encoding="utf-8")
_VERIFY = (_PAGES / "verify_email.html").read_text(encoding="utf-8")
_RESET = (_PAGES / "reset_password.html").read_text(encoding="utf-8")
_CONFIRM = (_PAGES / "confirm_email.html").read_text(encoding="utf-8")
_DOCS = (_PAGES / "docs.html").read_text(encoding="utf-8")
_SWAGGER_UI = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def _sources(page: str, tag: str) -> str:
    """The CSP hashes of the page's inline `tag` elements."""
    parts = page.split(f"<{tag}>")[1:]
    digests = (sha256(part.split(f"</{tag}>")[0].encode()).digest() for part in parts)
    return " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests) or "'none'"


def _page(page: str, *, scripts: str = "", styles: str = "", images: str = "'none'", **values: str) -> HTMLResponse:
    """`page` under a policy that lets nothing run but its own inline elements, and the sources named here."""
    policy = (
        f"default-src 'none'; style-src {styles or _sources(page, 'style')}; "
        f"script-src {_sources(page, 'script')} {scripts}; img-src {images}; "
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


@router.get("/reset-password")
async def reset_password() -> HTMLResponse:
    return _page(_RESET)


@router.get("/confirm-email")
async def confirm_email() -> HTMLResponse:
    return _page(_CONFIRM)


@router.get("/docs")
async def docs(settings: SettingsDep) -> HTMLResponse:
    """Swagger UI, from this service alone."""
    if not settings.docs_served:
        raise NotFound
    # It sets styles from its script.
    return _page(_DOCS, scripts="'self'", styles="'self' 'unsafe-inline'", images="'self' data:")


@router.get("/docs/{name}")
async def docs_file(name: str, settings: SettingsDep) -> FileResponse:
    if not settings.docs_served or name not in _SWAGGER_UI:
        raise NotFound
    headers = {"Cache-Control": "public, max-age=3600"}
    return FileResponse(_PAGES / "swagger-ui" / name, media_type=_SWAGGER_UI[name], headers=headers)
