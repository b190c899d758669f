"""The short way to an access line, beside the long one."""

import io
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as some

from app.config import LogSettings
from app.core.access_line import Answered, access_line, milliseconds
from app.core.context import bind_fields
from app.core.logging import configure_logging, get_logger, write

SECRETS = ["token=hunter2", "Bearer abcdefghijklmnop", "eyJhbGciOi.eyJzdWIi.c2ln", "whsec_abcdef", "password: 'x y'"]
ODD = some.text(alphabet='abc/-._0189é\ud800\u2028\n"\\')
TEXTS = some.text() | some.text(min_size=128) | some.sampled_from(SECRETS) | ODD
VALUES = TEXTS | some.integers() | some.floats() | some.booleans() | some.none() | some.lists(TEXTS) | some.binary()
NAMES = some.sampled_from(["request_id", "trace_id", "user_id", "client_secret", "token_type", "é\n"])
ANSWERED = some.builds(
    Answered,
    method=some.sampled_from(["GET", "HEAD", "PATCH"]) | TEXTS,
    path=TEXTS,
    status=some.integers(100, 599),
    seconds=some.floats(0, 1e6),
    client=some.none() | some.ip_addresses().map(str) | TEXTS,
    at_ns=some.integers(1, 4_000_000_000 * 10**9),
    bound=some.dictionaries(NAMES, VALUES),
)


@pytest.fixture(scope="module")
def stream() -> Any:
    """What the pipeline has written."""
    config = structlog.get_config()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_out": None, "_level": 20, "_json": True, "_process": ""}.items():
            patch.setattr(f"app.core.logging.{name}", value)
        made = io.StringIO()
        configure_logging(LogSettings(format="json"), process="api é", stream=made)
        yield made
    structlog.configure(**config)


@settings(max_examples=200, deadline=None)
@given(answered=ANSWERED)
def test_it_is_the_line_that_the_pipeline_makes(stream: io.StringIO, answered: Answered) -> None:
    """To the byte, whatever a stranger has chosen and whatever is bound."""
    stream.seek(0)
    stream.truncate()
    bind_fields(answered.bound)
    shown = {name: getattr(answered, name) for name in ("path", "status", "client", "at_ns")}
    shown = {"path": answered.path, "status": answered.status, "duration_ms": milliseconds(answered.seconds)} | shown
    get_logger("app.access").info("request", method=answered.method, **shown)
    bind_fields({})
    assert f"{access_line(answered, source='app.access', process='api é')}\n" == stream.getvalue()


def test_the_lines_own_fields_win(stream: io.StringIO) -> None:
    """What is bound under the name of one of them is left out."""
    stream.seek(0)
    stream.truncate()
    answered = Answered("GET", "/", 200, 0.1, None, 1, {"path": "/other", "level": "error", "user_id": 3})
    write(access_line(answered, source="s", process="p"))
    assert '"path": "/", ' in stream.getvalue()
    assert "other" not in stream.getvalue()
    assert "error" not in stream.getvalue()
