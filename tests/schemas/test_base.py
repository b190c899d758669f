"""Bodies of many faults: what is refused costs little, whoever sent it."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

import app.schemas
from app.schemas.base import MAX_FAULTS, In
from app.schemas.notifications import NotificationCreate
from app.schemas.orders import OrderCreate
from app.schemas.users import Registration
from tests.support import API, assert_problem

MANY = 5_000


def bodies(base: type[In] = In) -> Iterator[type[In]]:
    for module in pkgutil.iter_modules(app.schemas.__path__):
        importlib.import_module(f"app.schemas.{module.name}")
    for one in base.__subclasses__():
        yield one
        yield from bodies(one)


BODIES = {one.__name__: one for one in bodies()}


def unknown(count: int) -> dict[str, Any]:
    return {f"unknown{number}": number for number in range(count)}


def faults(kind: Any, body: object) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(body)
    return caught.value.errors(include_url=False)


@pytest.mark.parametrize("name", sorted(BODIES))
def test_unknown_fields_are_not_counted_out(name: str) -> None:
    """Of 5,000 unknown fields no more than an answer names become an error; what the fields themselves lack is said."""
    found = faults(BODIES[name], unknown(MANY))
    extra = [one["loc"][-1] for one in found if one["type"] == "extra_forbidden"]
    assert extra == list(unknown(MAX_FAULTS))
    assert {one["type"] for one in found} <= {"extra_forbidden", "missing"}


def test_the_faults_that_are_named_stay_the_same() -> None:
    """Up to 50 unknown fields, and the first 50 of more, are told in one order and form, with what the rest of the body
    lacks before them and its good fields where they were."""
    good = {"email": "pat@example.com", "password": "long enough", "full_name": "Pat"}
    extra = {"msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
    for count in (1, MAX_FAULTS, MAX_FAULTS + 1, MANY):
        named = [{**extra, "loc": (f"unknown{number}",), "input": number} for number in range(min(count, MAX_FAULTS))]
        assert faults(Registration, {**unknown(count), **good}) == named
        bad = {**unknown(count), **good, "email": 1}
        assert faults(Registration, bad) == [
            {"type": "string_type", "loc": ("email",), "msg": "Input should be a valid string", "input": 1},
            *named,
        ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (NotificationCreate, {"template": "announcement", "subject": "a", "context": unknown(MANY), "audience": {}}),
        (
            NotificationCreate,
            {"template": "closure", "subject": "a", "context": {}, "audience": {"role": 1} | unknown(MANY)},
        ),
        (OrderCreate, {"items": [unknown(MANY)]}),
    ],
)
def test_fields_within_fields_are_not_counted_out(kind: Any, body: dict[str, Any]) -> None:
    """The same goes for an object in an object, in a list, and for each side of a choice."""
    assert MAX_FAULTS <= len(faults(kind, body)) <= 2 * (MAX_FAULTS + 10)


@pytest.mark.parametrize("name", sorted(BODIES))
def test_every_list_in_a_body_has_an_end(name: str) -> None:
    """A list names the most it may have, past which nothing of it is looked at; no body has names that are free."""

    def look(schema: Any) -> None:
        if isinstance(schema, dict):
            assert schema.get("type") != "array" or "maxItems" in schema, schema
            assert not schema.get("additionalProperties"), schema
            for one in schema.values():
                look(one)
        elif isinstance(schema, list):
            for one in schema:
                look(one)

    look(BODIES[name].model_json_schema())


async def test_a_stranger_is_told_of_50_faults(client: httpx.AsyncClient) -> None:
    """A registration of 3,000 unknown fields is 422 and names 50 faults; past 64 KiB it is not read."""
    answer = await client.post(f"{API}/auth/register", json=unknown(3_000))
    assert len(assert_problem(answer, 422, "validation_error")["errors"]) == MAX_FAULTS
    assert_problem(await client.post(f"{API}/auth/register", json=unknown(5_000)), 413, "body_too_large")
