"""What every wire schema keeps to."""

import re
from datetime import UTC, date, datetime
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

T = TypeVar("T")
MAX_ID = 2**63 - 1
MAX_FAULTS = 50
"""As many an answer names."""
_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    _DATE.pattern + r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, source: Any) -> Any:
        """The body without the unknown fields that no answer would name: each would become an error of its own, and
        100,000 of them hold the event loop for most of a second."""
        if not isinstance(source, dict) or len(source) <= len(cls.model_fields) + MAX_FAULTS:
            return source
        names = {field.validation_alias or name for name, field in cls.model_fields.items()}
        unknown = islice((name for name in source if name not in names), MAX_FAULTS)
        return {name: source[name] for name in (*(names & source.keys()), *unknown)}


class Out(BaseModel):
    """A response body, filled from a row or an object."""

    model_config = ConfigDict(from_attributes=True)


class PageOut(Out, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="pass as `cursor` for the next page; null on the last")
    total: int | None = Field(
        default=None, description="only with `count=true`", exclude_if=lambda value: value is None
    )


def storable(value: str) -> str:
    """What PostgreSQL can keep in a text."""
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    return value


def _visible(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return storable(value)


def _whole(value: object) -> object:
    # int() takes "+1", "1_0" and "1.0" as well: one object would have many addresses.
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        raise ValueError("must be a whole number in decimal digits")
    return value


def _number(value: object) -> object:
    # 30.0 is the same number as 30 in JSON, but "30" is a text and true no number.
    if isinstance(value, str | bool):
        raise ValueError("must be a number")  # noqa: TRY004 - what Pydantic expects of a validator
    return value


def _timestamp(value: object) -> object:
    # Pydantic takes numbers as seconds or milliseconds since 1970, too, whichever fits.
    if not isinstance(value, datetime) and not (isinstance(value, str) and _TIMESTAMP.fullmatch(value)):
        said = "must be a date and time as of RFC 3339, like 2026-12-01T09:00:00Z"
        lost = isinstance(value, str) and " " in value and _TIMESTAMP.fullmatch("+".join(value.rsplit(" ", 1)))
        raise ValueError(f"{said}; in a query, + is written %2B" if lost else said)
    return value


def _date(value: object) -> object:
    if not isinstance(value, date) and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("must be a date like 2026-12-01")
    return value


def _utc(value: datetime) -> datetime:
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None
    if not EARLIEST <= value < LATEST:
        raise ValueError(f"must be from {EARLIEST.year} on and before {LATEST.year}")
    return value


def _known_day(value: date) -> date:
    if not EARLIEST.date() <= value < LATEST.date():
        raise ValueError(f"must be from {EARLIEST.year} on and before {LATEST.year}")
    return value


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


def _untagged(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as error:
        faults = [
            InitErrorDetails(type=PydanticCustomError(one["type"], one["msg"]), loc=one["loc"][1:], input=one["input"])
            for one in error.errors(include_url=False)
        ]
        raise ValidationError.from_exception_data(error.title, faults) from None


def unset() -> Any:
    """The default of a PATCH body's field: it may be left out (`model_dump(exclude_unset=True)`), but not be null."""
    return Field(default_factory=lambda: None)


IsWhole = BeforeValidator(_whole)
"""For a number in a path or a query; it goes after the number's bounds, or these are lost to the schema."""
Id = Annotated[int, Field(ge=1, le=MAX_ID), IsWhole]
"""An id in a path or a query; in a body, where numbers are numbers, a `BodyId`."""
IsNumber = BeforeValidator(_number)
"""For a number in a body; it goes after the number's bounds, or these are lost to the schema."""
BodyId = Annotated[int, Field(ge=1, le=MAX_ID), IsNumber]
Untagged = WrapValidator(_untagged)
"""For a union, after its `Discriminator`: its faults are where the body has them, without the tag that Pydantic puts in
between. A `Field(discriminator=…)` is lost beside it."""
Flag = Annotated[bool, Strict()]
ShortText = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}),
    AfterValidator(_visible),
]
LongText = Annotated[
    str, Field(max_length=2000, json_schema_extra={"pattern": r"^[^\x00]*$"}), AfterValidator(storable)
]
Email = Annotated[
    str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(storable), AfterValidator(_email)
]
Instant = Annotated[AwareDatetime, BeforeValidator(_timestamp), AfterValidator(_utc)]
Timestamp = Annotated[datetime, BeforeValidator(_timestamp)]
"""With an offset or without one."""
Day = Annotated[date, BeforeValidator(_date), AfterValidator(_known_day)]
