"""What every answer has to say to a browser: the OWASP Secure Headers list, for an API and for its few pages."""

import re

import httpx

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
PAGES = {"cross-origin-embedder-policy": "require-corp", "x-permitted-cross-domain-policies": "none"}
PHOTO = re.compile(r".*/doctors/\d+/photo/\w+")
PUBLIC = re.compile(r"/\.well-known/jwks\.json|/docs/[\w.-]+|" + PHOTO.pattern)
"""What anybody may keep."""
TELLING = ("server", "x-powered-by")


def lacking(answer: httpx.Response, *, production: bool = False) -> list[str]:
    """What the answer's headers lack, or say too much."""
    headers, path = answer.headers, answer.request.url.path
    page = headers.get("content-type", "").startswith("text/html")
    expected = EVERYWHERE | (PAGES if page else {})
    if answer.is_success and PUBLIC.fullmatch(path):
        wrong = [] if headers.get("cache-control", "").startswith("public, max-age=") else ["cache-control"]
    else:
        expected |= {"cache-control": "no-store"}
        wrong = []
    photo = answer.is_success and PHOTO.fullmatch(path)
    expected |= {"cross-origin-resource-policy": "cross-origin" if photo else "same-origin"}
    if production:
        expected |= {"strict-transport-security": "max-age=63072000; includeSubDomains"}
    wrong += [name for name, value in expected.items() if headers.get(name) != value]
    policy = {
        part.strip().partition(" ")[0]: part.strip() for part in headers.get("content-security-policy", "").split(";")
    }
    if policy.get("default-src") != "default-src 'none'" or policy.get("frame-ancestors") != "frame-ancestors 'none'":
        wrong.append("content-security-policy")
    if page and not {"camera=()", "geolocation=()", "microphone=()"} <= set(
        headers.get("permissions-policy", "").split(", ")
    ):
        wrong.append("permissions-policy")
    if answer.content and "content-type" not in headers:
        wrong.append("content-type")
    return wrong + [name for name in TELLING if name in headers]
