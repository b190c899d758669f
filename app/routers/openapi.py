"""What every operation answers beside its success, said once for all of them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.routers.problems import MEDIA_TYPE
from app.schemas.problem import Problem

_WRITES = {"post", "put", "patch", "delete"}
_DESCRIPTIONS = {
    "401": "not signed in: `invalid_token`",
    "403": "`forbidden`",
    "404": "`not_found`, also for another user's object",
    "408": "the body took too long to arrive: `request_timeout`",
    "409": "`conflict`, or a narrower code",
    "412": "the object has changed: `precondition_failed`",
    "413": "`body_too_large`",
    "422": "`validation_error`, or a narrower code",
    "429": "`rate_limited`, with `Retry-After` in seconds",
    "503": "`unavailable`, with `Retry-After` in seconds",
    "4XX": "any other refusal",
    "5XX": "a fault of ours",
}


def _statuses(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    names = {parameter["name"].lower() for parameter in operation.get("parameters", [])}
    wanted = ["422", "429", "503", "4XX", "5XX"]
    if operation.get("security"):
        wanted += ["401", "403"]
    if "{" in path:
        wanted.append("404")
    if "if-match" in names:
        wanted.append("412")
    if "if-none-match" in names:
        operation["responses"]["304"] = {"description": "the client has it already"}
    if method in _WRITES:
        wanted += ["409"]
    if "requestBody" in operation:
        wanted += ["408", "413"]
    return sorted(wanted)


def install(app: FastAPI) -> None:
    """Make `app.openapi()` agree with what the service answers."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        schemas = document["components"]["schemas"]
        whole = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= whole.pop("$defs")
        schemas["Problem"] = whole
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                operation["responses"].pop("422", None)
                for status in _statuses(method, path, operation):
                    operation["responses"].setdefault(
                        status, {"description": _DESCRIPTIONS[status], "content": content}
                    )
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
