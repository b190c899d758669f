"""What partners get from us, in the OpenAPI document: one operation for each event, with what its body says."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from app.core.enums import EventName
from app.core.events import Event
from app.schemas import events as happenings

Json = dict[str, Any]
_HEADERS = {
    "webhook-id": "the same however often it is sent",
    "webhook-timestamp": "of this attempt, in seconds since 1970",
    "webhook-signature": "`v1,` and the signature, one for each live secret, separated by spaces",
}
_ANSWERS = {"2XX": "taken", "410": "not wanted any more: the endpoint is turned off", "default": "it is sent again"}


def _announced(base: type[Event] = Event) -> Iterator[type[Event]]:
    """The kinds of event that partners may subscribe to."""
    for kind in base.__subclasses__():
        if kind.__module__ == happenings.__name__ and getattr(kind, "name", None) in list(EventName):
            yield kind
        yield from _announced(kind)


def _body(kind: type[Event]) -> type[BaseModel]:
    at = (datetime, Field(description="when it happened"))
    fields: Any = {"type": (Literal[kind.name], ...), "timestamp": at, "data": (kind, ...)}
    model: type[BaseModel] = create_model(f"{kind.__name__}Webhook", **fields)
    return model


def webhooks(reference: str) -> tuple[Json, Json]:
    """The `webhooks` of the document, and the schemas that they refer to by `reference`."""
    operations: Json = {}
    schemas: Json = {}
    parameters = [
        {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
        for name, said in _HEADERS.items()
    ]
    for kind in sorted(_announced(), key=lambda one: one.name):
        schema = _body(kind).model_json_schema(ref_template=reference, mode="serialization")
        schemas |= schema.pop("$defs") | {schema["title"]: schema}
        operations[kind.name] = {
            "post": {
                "tags": ["webhooks"],
                "summary": f"To partners: {kind.name}",
                "description": "To whoever subscribed by `POST /webhook-endpoints`, signed as Standard Webhooks.",
                "operationId": "on_" + kind.name.replace(".", "_"),
                "security": [],
                "parameters": parameters,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": reference.format(model=schema["title"])}}},
                },
                "responses": {status: {"description": said} for status, said in _ANSWERS.items()},
            }
        }
    return operations, schemas
