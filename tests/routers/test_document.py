"""The OpenAPI document, as those read it who make clients from it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI

from app.core.enums import EventName
from app.core.events import Event
from app.schemas.base import MAX_ID
from app.schemas.problem import CODES
from app.services.handlers import event_handlers

Json = dict[str, Any]
HAPPENED: Json = {
    "id": 1,
    "doctor_id": 2,
    "patient_id": 3,
    "email": "pat@example.com",
    "full_name": "Pat",
    "role": "client",
    "starts_at": "2027-01-04T09:00:00Z",
    "ends_at": "2027-01-04T09:30:00Z",
    "reason": "requested",
    "total": {"amount": 1250, "currency": "EUR"},
    "status": "cancelled",
}
# JSON Schema 2020-12, as far as the service uses it, and OpenAPI's own word.
KEYWORDS = {
    *("$ref", "type", "const", "enum", "title", "description", "default", "examples", "format", "discriminator"),
    *("properties", "required", "additionalProperties", "items", "minItems", "maxItems", "anyOf", "oneOf"),
    *("minLength", "maxLength", "pattern", "minimum", "maximum"),
}


@pytest.fixture
def document(session_app: FastAPI) -> Json:
    return session_app.openapi()


def operations(document: Json) -> Iterator[Json]:
    for item in document["paths"].values():
        yield from item.values()


def test_a_file_is_bytes_to_every_generator(document: Json) -> None:
    """The first media type of a file is the one that generators take as bytes; others they read as text."""
    answers = [response for one in operations(document) for response in one["responses"].values()]
    files = [list(one["content"]) for one in answers if "'format': 'binary'" in str(one.get("content"))]
    assert all(kinds[0] == "application/octet-stream" for kinds in files)
    assert {"application/pdf", "text/csv", "image/webp"} <= {kind for kinds in files for kind in kinds}


def schemas(part: Any) -> Iterator[Json]:
    """Every schema of the document, and every schema in one."""
    if isinstance(part, list):
        for one in part:
            yield from schemas(one)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "schema":
                yield from within(value)
            elif key == "schemas":
                for one in value.values():
                    yield from within(one)
            else:
                yield from schemas(value)


def within(schema: Json) -> Iterator[Json]:
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for one in inner:
        yield from within(one)


def test_schemas_say_what_schemas_can_say(document: Json) -> None:
    """No word of a library is taken for a keyword, which readers would ignore, and no choice is between anything."""
    assert {key for one in schemas(document) for key in one} <= KEYWORDS
    assert not [one for one in schemas(document) if {} in one.get("anyOf", [])]


def test_bounds_are_exact(document: Json) -> None:
    """The bounds of whole numbers are whole, and the largest id is the largest that there is, not one more."""
    bounds = [one[key] for one in schemas(document) for key in ("minimum", "maximum") if key in one]
    assert {type(one) for one in bounds} == {int}
    assert max(bounds) == MAX_ID


def test_schemas_are_called_what_they_are(document: Json) -> None:
    """Generators name a class by title or by name: they are one. A closed set of values is one class wherever it is."""
    named = document["components"]["schemas"]
    assert [name for name, one in named.items() if one.get("title") != name] == []
    listed = document["paths"]["/api/v1/appointments"]["get"]["parameters"]
    (statuses,) = [one["schema"] for one in listed if one["name"] == "status__in"]
    assert statuses["items"] == {"$ref": "#/components/schemas/AppointmentStatus"}
    assert "photo" in named["DoctorRead"]["required"]
    assert "refresh_token" not in named["RefreshGrant"]["required"]


def test_what_is_open_to_anyone_says_so(document: Json) -> None:
    """Every operation names its security, be it none; and the document says where it is, and under which licence."""
    assert all("security" in one for one in operations(document))
    assert document["paths"]["/api/v1/doctors"]["get"]["security"] == []
    assert document["servers"] == [{"url": "/"}]
    assert document["info"]["license"]["identifier"] == "MIT"


def test_headers_that_matter_are_named(document: Json) -> None:
    """Of a file its name, of a refusal what would help, of a limit its window."""
    result = document["paths"]["/api/v1/jobs/{job_id}/result"]["get"]["responses"]
    assert "Content-Disposition" in result["200"]["headers"]
    assert "WWW-Authenticate" in result["403"]["headers"]
    assert "Allow" in result["4XX"]["headers"]
    assert all("RateLimit-Policy" in one["headers"] for one in result.values())
    assert "Retry-After" in document["paths"]["/api/v1/appointments"]["post"]["responses"]["409"]["headers"]


def test_partners_find_what_they_get(document: Json) -> None:
    """Each event that is announced has its schema, and what is sent of it fits."""
    assert document["webhooks"].keys() == set(EventName)
    sent = [kind for kind in event_handlers() if kind.name in document["webhooks"]]
    assert len(sent) == len(EventName)
    for kind in sent:
        event: Event = kind.model_validate(HAPPENED)
        body = document["webhooks"][kind.name]["post"]["requestBody"]["content"]["application/json"]["schema"]
        said = {"type": kind.name, "timestamp": "2026-11-25T16:00:00Z", "data": event.payload()}
        jsonschema.validate(said, body | {"components": document["components"]})
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(said | {"data": {}}, body | {"components": document["components"]})


def test_every_code_is_in_the_table(document: Json) -> None:
    """What a client may switch on is in the document and in docs/api.md, all of it."""
    table = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8").partition("### Limits")[0]
    told = {
        code
        for row in re.findall(r"^\| \d{3} \| ([^|]*) \|", table, re.MULTILINE)
        for code in row.strip("`").split("`, `")
    }
    assert told == set(CODES)
    assert all(
        code in document["components"]["schemas"]["Problem"]["properties"]["code"]["description"] for code in CODES
    )
