"""The pages a person may open: a greeting, the targets of the links in mails, and the documentation."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from app.core.errors import NotFound
from app.dependencies.resources import SettingsDep
from app.routers.route import BASE_PATH

router = APIRouter(include_in_schema=False)
_PAGES = Path(__file__).parent / "html"
_LANDING = (_PAGES / "landing.html").read_text(encoding="utf-8")
_LINK = (_PAGES / "link.html").read_text(encoding="utf-8")
_PASSWORD_FIELD = (_PAGES / "password_field.html").read_text(encoding="utf-8")
_DOCS = (_PAGES / "docs.html").read_text(encoding="utf-8")
# Beside what every answer has (core/middleware.py): a document alone can be embedded, or ask for a device.
_HEADERS = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in (
            *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen", "geolocation"),
            *("gyroscope", "hid", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
            *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
        )
    ),
    "X-Permitted-Cross-Domain-Policies": "none",
}
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
    return HTMLResponse(page, headers=_HEADERS | {"Content-Security-Policy": policy})


def _link(
    *,
    title: str,
    button: str,
    call: str,
    done: str,
    dead: str = "This link has been used already or has expired.",
    fields: str = "",
) -> HTMLResponse:
    """The target of a link in a mail. It reads the token from the fragment, which no server and no log ever sees, and
    posts it when the person clicks. What differs is outside of the script, whose digest the policy names."""
    return _page(
        _LINK, title=title, fields=fields, button=button, call=f"{BASE_PATH}/auth/{call}", done=done, dead=dead
    )


@router.get("/")
async def landing(settings: SettingsDep) -> HTMLResponse:
    links = '<a href="/docs">API documentation</a>' if settings.docs_served else ""
    return _page(_LANDING, docs=links)


@router.get("/verify-email")
async def verify_email() -> HTMLResponse:
    return _link(
        title="Confirm your e-mail",
        button="Confirm",
        call="verify-email",
        done="Thank you, your e-mail is confirmed.",
    )


@router.get("/reset-password")
async def reset_password() -> HTMLResponse:
    return _link(
        title="Choose a new password",
        fields=_PASSWORD_FIELD,
        button="Set it",
        call="password/reset",
        done="Your new password is set. You are signed out everywhere; sign in with it.",
    )


@router.get("/confirm-email")
async def confirm_email() -> HTMLResponse:
    return _link(
        title="Confirm your new e-mail",
        button="Confirm",
        call="confirm-email",
        done="Thank you, your account has its new e-mail.",
        dead="This link has been used already, has expired, or its address belongs to another account.",
    )


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
