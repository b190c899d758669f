"""Keyset lists: what a client may ask for, read from the query string and checked before any SQL is made.

The grammar is the contract's: `limit`, `cursor`, `sort=field,-field`, `count`, `<field>=v` and `<field>__op=v`.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from app.core.errors import Invalid
from app.core.opaque_tokens import OpaqueTokens

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains"]
EQUALITY: tuple[Operator, ...] = ("eq", "ne", "in")
ORDER: tuple[Operator, ...] = (*EQUALITY, "gt", "gte", "lt", "lte")
TEXT: tuple[Operator, ...] = (*ORDER, "contains")
MAX_IN = 100
MAX_SORTS = 5
# Room for five sort values of 200 characters, four bytes each and in base64.
MAX_CURSOR = 6000
DEFAULT_LIMIT, MAX_LIMIT = 20, 100


@dataclass(frozen=True, slots=True)
class Filterable:
    """A field that a list may be filtered by: the type of its value, and the operators it allows."""

    type: Any
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Sort:
    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page's worth of question. `after` holds the sort values of the last row of the page before."""

    limit: int = DEFAULT_LIMIT
    sort: tuple[Sort, ...] = (Sort("id"),)
    filters: tuple[Filter, ...] = ()
    after: tuple[Any, ...] | None = None
    count: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """`last` holds the sort values of the last row when there may be more; `total` only when it was asked for."""

    rows: Sequence[Any]
    last: tuple[Any, ...] | None
    total: int | None


class Cursors:
    """Opaque, signed cursors; one that was made up, altered or made for another sort order is refused."""

    def __init__(self, tokens: OpaqueTokens) -> None:
        self._tokens = tokens

    def encode(self, scope: str, values: tuple[Any, ...]) -> str:
        data = json.dumps(values, separators=(",", ":"), ensure_ascii=False, default=str).encode()
        return _base64(self._tokens.sign(f"cursor/{scope}", data) + data)

    def decode(self, scope: str, cursor: str) -> list[Any]:
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise _bad_cursor() from None
        # The decoder skips characters that it does not know, and a last character may carry unused bits.
        if _base64(raw) != cursor:
            raise _bad_cursor()
        mac, data = raw[:16], raw[16:]
        if not compare_digest(mac, self._tokens.sign(f"cursor/{scope}", data)):
            raise _bad_cursor()
        values = json.loads(data)
        return values if isinstance(values, list) else []


def _shown_sort(sorts: Iterable[str]) -> Any:
    one = "-?(" + "|".join(sorts) + ")"
    pattern = f"^{one}(,{one}){{0,{MAX_SORTS - 1}}}$"
    return Field(description="`-` for descending", json_schema_extra={"pattern": pattern})


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bad_cursor() -> Invalid:
    said = "The cursor is not one that this list gave out for this sort."
    return Invalid(said, loc=("query", "cursor"), kind="cursor_invalid")


class Listing:
    """What one resource's list allows. `sorts` maps a sortable field to the type of its value; `id` is always one."""

    def __init__(self, name: str, *, filters: Mapping[str, Filterable], sorts: Mapping[str, Any]) -> None:
        self.name = name
        self._sorts = {field: TypeAdapter(kind) for field, kind in sorts.items()}
        self._names: dict[str, tuple[str, Operator]] = {}
        fields: dict[str, Any] = {
            "limit": (Annotated[int, Field(ge=1, le=MAX_LIMIT)], DEFAULT_LIMIT),
            "cursor": (
                Annotated[str | None, Field(max_length=MAX_CURSOR, description="`next_cursor` of the page before")],
                None,
            ),
            "sort": (
                Annotated[str | None, AfterValidator(self._sortable), _shown_sort(self._sorts)],
                None,
            ),
            "count": (Annotated[bool, Field(description="also give `total`")], False),
        }
        for field, allowed in filters.items():
            for operator in allowed.operators:
                name_ = field if operator == "eq" else f"{field}__{operator}"
                self._names[name_] = (field, operator)
                fields[name_] = (_value_type(allowed.type, operator), None)
        self.model: type[BaseModel] = create_model(
            f"{name.title()}Query", __config__=ConfigDict(extra="forbid"), **fields
        )

    def _sortable(self, text: str | None) -> str | None:
        parts = [] if text is None else text.split(",")
        if len(parts) > MAX_SORTS or any(part.removeprefix("-") not in self._sorts for part in parts):
            names = ", ".join(self._sorts)
            raise ValueError(f"must be one to {MAX_SORTS} of {names}, separated by commas, - before one for descending")
        return text

    def parse(self, params: BaseModel, cursors: Cursors) -> PageQuery:
        given = {name: getattr(params, name) for name in params.model_fields_set}
        sort = self._parse_sort(given.get("sort"))
        after = None
        if cursor := given.get("cursor"):
            after = self._restore(sort, cursors.decode(self.scope(sort), cursor))
        filters = tuple(
            Filter(*self._names[name], value)
            for name, value in given.items()
            if name in self._names and value is not None
        )
        return PageQuery(
            limit=given.get("limit", DEFAULT_LIMIT),
            sort=sort,
            filters=filters,
            after=after,
            count=given.get("count", False),
        )

    def scope(self, sort: tuple[Sort, ...]) -> str:
        return self.name + "".join(f"/{'-' if one.descending else ''}{one.field}" for one in sort)

    def _parse_sort(self, text: str | None) -> tuple[Sort, ...]:
        sort: dict[str, Sort] = {}
        for part in (text or "id").split(","):
            field = part.removeprefix("-")
            sort.setdefault(field, Sort(field, part.startswith("-")))
        # The id makes the order total, without which a page could skip or repeat rows.
        sort.setdefault("id", Sort("id", next(reversed(sort.values())).descending))
        return tuple(sort.values())

    def _restore(self, sort: tuple[Sort, ...], values: list[Any]) -> tuple[Any, ...]:
        try:
            return tuple(self._sorts[one.field].validate_python(value) for one, value in zip(sort, values, strict=True))
        except (ValidationError, ValueError):
            raise _bad_cursor() from None


def _value_type(kind: Any, operator: Operator) -> Any:
    if operator != "in":
        return Annotated[kind | None, Field()]
    adapter = TypeAdapter(Annotated[list[kind], Field(max_length=MAX_IN)])
    # On the wire one text or several, in OpenAPI an array of the form `a,b` (routers/openapi.py says so).
    schema = TypeAdapter(Annotated[list[kind], Field(min_length=1, max_length=MAX_IN)]).json_schema()
    items = schema["items"] if "$ref" not in schema["items"] else next(iter(schema["$defs"].values()))
    if "pattern" in items and "format" not in items:
        items["pattern"] = items["pattern"].replace(r"\x00", r",\x00")

    def split(texts: list[str] | None) -> Any:
        return None if texts is None else adapter.validate_python([one for text in texts for one in text.split(",")])

    shown = {"type": "array", "items": items, "minItems": 1, "maxItems": MAX_IN}
    said = Field(description="comma-separated; given several times, the values are taken together")
    return Annotated[list[str] | None, AfterValidator(split), said, WithJsonSchema(shown)]
