"""What FastAPI writes into the OpenAPI document differently from what is meant, put right."""

import json
import re
from collections.abc import Iterator
from typing import Any

from app.schemas.base import MAX_ID

Json = dict[str, Any]


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def tidy_parameters(document: Json) -> None:
    """A parameter is there or not, never null; a list is written `a,b`, and its items have the name of their schema."""
    schemas = document["components"]["schemas"]
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            schema.pop("title", None)
            schema.pop("description", None)
            kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
            schema |= kinds[0] if kinds else {}
            if schema.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
                name = schema["items"].get("title")
                if name in schemas and schemas[name].get("enum") == schema["items"].get("enum"):
                    schema["items"] = {"$ref": f"#/components/schemas/{name}"}


def tidy_schemas(document: Json) -> None:
    """A property is called by its name alone; a form is described where it is sent."""
    for name, schema in list(document["components"]["schemas"].items()):
        for one in schema.get("properties", {}).values():
            one.pop("title", None)
        if name.startswith("Body_"):
            document["components"]["schemas"].pop(name)


def whole_bounds(part: Any) -> None:
    """The bounds of whole numbers are whole: FastAPI's model of the document has floats, which round 2^63 - 1 up."""
    if isinstance(part, dict):
        for bound in ("minimum", "maximum"):
            if part.get("type") == "integer" and isinstance(part.get(bound), float):
                part[bound] = min(int(part[bound]), MAX_ID)
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            whole_bounds(one)


def open_to_anyone(document: Json) -> None:
    """What has no security asks for none: said, so that it does not look forgotten."""
    for _, _, operation in operations(document):
        operation.setdefault("security", [])


def short_names(document: Json) -> Json:
    """`AppointmentPage` in place of `PageOut_AppointmentRead_`, which is also its title."""
    text = re.sub(r"PageOut(?:_(\w+?)Read_|\[(\w+?)Read\])", r"\1\2Page", json.dumps(document))
    renamed: Json = json.loads(text)
    return renamed
