"""The OpenAPI document, as those read it who make clients from it."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

Json = dict[str, Any]


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
