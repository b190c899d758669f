"""What every operation answers beside its success, said once for all of them, and the document made good to read."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.routers.openapi_headers import add_headers, described
from app.routers.openapi_tidy import (
    open_to_anyone,
    operations,
    short_names,
    tidy_parameters,
    tidy_schemas,
    whole_bounds,
)
from app.routers.openapi_webhooks import webhooks
from app.routers.problems import MEDIA_TYPE
from app.schemas.auth import TOKEN_FORMS
from app.schemas.problem import Problem, TokenProblem, Unready

Json = dict[str, Any]
_WRITES = {"post", "put", "patch", "delete"}
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTIONS = {
    "400": "the body can't be read: `bad_request`",
    "401": "not signed in: `invalid_token`",
    "403": "`forbidden`",
    "404": "`not_found`, also for another user's object",
    "408": "the body took too long to arrive: `request_timeout`",
    "409": "`conflict`, or a narrower code",
    "412": "the object has changed: `precondition_failed`",
    "413": "`body_too_large`",
    "415": "the body is in a content coding: `unsupported_media_type`",
    "422": "`validation_error`, or a narrower code",
    "429": "`rate_limited`, with `Retry-After` in seconds",
    "503": "`unavailable`, with `Retry-After` in seconds",
    "4XX": "any other refusal",
    "5XX": "a fault of ours",
}


def _statuses(method: str, path: str, operation: Json) -> list[str]:
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
        wanted += ["400", "408", "413", "415"]
    return sorted(wanted)


def _add_problems(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for kind in (Problem, TokenProblem, Unready):
        schemas[kind.__name__] = kind.model_json_schema(ref_template=_REFERENCE)
        schemas |= schemas[kind.__name__].pop("$defs")
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path, method, operation in operations(document):
        model = TokenProblem if path.endswith("/auth/token") else Problem
        content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
        responses = operation["responses"]
        responses.pop("422", None)
        for status in _statuses(method, path, operation):
            responses.setdefault(status, {"description": _DESCRIPTIONS[status]})
        for status, response in responses.items():
            if status[0] in "45":
                response.setdefault("content", content)


def _name_operations(document: Json) -> None:
    """`list_doctors` in place of `list_doctors_api_v1_doctors_get`: what generated clients call their methods."""
    for path, method, operation in operations(document):
        suffix = re.sub(r"\W", "_", path) + "_" + method
        operation["operationId"] = operation["operationId"].removesuffix(suffix).replace("-", "_")


def _describe_sign_in(document: Json) -> None:
    for kind in TOKEN_FORMS:
        document["components"]["schemas"][kind.__name__] = kind.model_json_schema(ref_template=_REFERENCE)
    forms = [{"$ref": _REFERENCE.format(model=kind.__name__)} for kind in TOKEN_FORMS]
    for path, _, operation in operations(document):
        if path.endswith("/auth/token"):
            content = {"application/x-www-form-urlencoded": {"schema": {"oneOf": forms}}}
            operation["requestBody"] = {"content": content, "required": True}
    flows = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]
    flows["password"]["refreshUrl"] = flows["password"]["tokenUrl"]
    flows["clientCredentials"] = {name: flows["password"][name] for name in ("tokenUrl", "scopes")}


def _link(document: Json) -> None:
    """From what was made to what may be done with it: its id is the last parameter of those paths."""
    for path, method, operation in operations(document):
        made = operation["responses"].get("201") or operation["responses"].get("202") or {}
        content = made.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
        if method != "post" or not content.endswith("Read"):
            continue
        home = "/api/v1/jobs" if content.endswith("/JobRead") else path
        outer = {name: f"$request.path.{name}" for name in _names(home)}
        made["links"] = {
            other["operationId"]: {
                "operationId": other["operationId"],
                "parameters": outer | {_names(other_path)[-1]: "$response.body#/id"},
            }
            for other_path, _, other in operations(document)
            if other_path.startswith(home + "/{") and len(_names(other_path)) == len(outer) + 1
        }


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def install(app: FastAPI) -> None:
    """Make `app.openapi()` agree with what the service answers."""

    def openapi() -> Json:
        if app.openapi_schema:
            return app.openapi_schema
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            servers=[{"url": "/"}],
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        document["webhooks"], sent = webhooks(_REFERENCE)
        document["components"]["schemas"] = sent | document["components"]["schemas"]
        _name_operations(document)
        tidy_parameters(document)
        _describe_sign_in(document)
        tidy_schemas(document)
        _add_problems(document)
        _link(document)
        document["components"]["headers"] = described()
        for path, _, operation in operations(document):
            add_headers(path, operation)
        open_to_anyone(document)
        whole_bounds(document)
        app.openapi_schema = short_names(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
