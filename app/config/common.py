"""What settings of every concern are made of."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from ssl import SSLError, create_default_context
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]
SecretList = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split_commas)]


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Concern(BaseModel):
    """The settings of one concern. A rule that one field alone can't express is a line of `faults`."""

    def faults(self) -> Iterator[str]:
        """What makes these values unfit to start on, anywhere."""
        yield from ()

    def production_faults(self) -> Iterator[str]:
        """What more makes them unfit to start on in production."""
        yield from ()


def is_address(url: str, *schemes: str) -> bool:
    """Whether it is a URL of one of the schemes, with a port that exists if it names one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and port != 0


def ca_faults(name: str, file: Path | None) -> Iterator[str]:
    """What is wrong with a file of authorities."""
    try:
        if file is not None:
            create_default_context(cafile=file)
    except (OSError, SSLError) as error:
        reason = "holds no certificate in PEM" if isinstance(error, SSLError) else f"can't be read: {error.strerror}"
        yield f"{name}: the file {reason}"
