"""One pipeline for every line, whoever writes it."""

import asyncio
import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.config import LogSettings
from app.core.access_log import AccessLog
from app.core.context import Cause, bind_user, bound, current_cause
from app.core.logging import configure_logging, get_logger
from app.core.middleware import BodyLimit, EdgeMiddleware
from app.services.container import Container

LIBRARIES = ["uvicorn.error", "gunicorn.error", "celery", "celery.worker", "arq.worker", "sqlalchemy.engine", "asyncio"]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts the loggers back as they were."""
    monkeypatch.setattr("app.core.logging._out", sys.stdout)
    monkeypatch.setattr("app.core.logging._level", logging.INFO)
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    root.handlers[:], root.level = handlers, level
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(False)
    structlog.configure(**config)


class Log:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(kept: None) -> Log:
    made = Log()
    configure_logging(LogSettings(format="json"), process="test", stream=made.stream)
    return made


@pytest.fixture
def console(kept: None) -> Log:
    made = Log()
    configure_logging(LogSettings(format="console"), process="test", stream=made.stream)
    return made


def test_a_line_of_ours_is_one_object(log: Log) -> None:
    """With the time in UTC, level, event, source, process and its own fields; line breaks do not break the line."""
    get_logger("app.thing").warning("two\nlines", doctor_id=5, at=datetime(2026, 1, 2, tzinfo=UTC))
    (line,) = log.lines
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == UTC.utcoffset(None)
    assert line == {
        "event": "two\nlines",
        "level": "warning",
        "source": "app.thing",
        "process": "test",
        "doctor_id": 5,
        "at": "2026-01-02 00:00:00+00:00",
    }


def test_a_line_is_what_json_dumps_makes(log: Log) -> None:
    """To the byte: with what is not ASCII escaped, halves of surrogate pairs and line separators too."""
    get_logger("app.thing").info(
        'é\u2028\ud800"\\\x00%s {}',
        **{"na\u0000me %s": "x"},
        nested={"list": [1, None, True, {"deep": ("a", 2.50)}], 3: b"bytes"},
        number=1e-7,
        huge=10**30,
        lost=float("nan"),
        flag=False,
        nothing=None,
        of={"set"},
    )
    (text,) = log.text.splitlines()
    assert text == json.dumps(json.loads(text))
    assert json.loads(text)["event"] == 'é\u2028\ud800"\\\x00%s {}'
    assert json.loads(text)["nested"] == {"list": [1, None, True, {"deep": ["a", 2.5]}], "3": "bytes"}


def test_the_timestamp_is_the_time(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """In UTC and microseconds, as `datetime` writes it, where the second, the day and the year change between lines."""
    times = [
        datetime(2027, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(2028, 1, 1, 0, 0, 0, 0, UTC),
        datetime(2028, 2, 29, 9, 5, 7, 1, UTC),
        datetime(2028, 2, 29, 9, 5, 7, 120_000, UTC),
        # The clock was set back.
        datetime(2028, 2, 29, 9, 5, 6, 999_999, UTC),
    ]
    moments = iter((one - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000 + 999 for one in times)
    monkeypatch.setattr("app.core.logging.time_ns", lambda: next(moments))
    for _ in times:
        get_logger("app.thing").info("now")
    written = [one.isoformat(timespec="microseconds").replace("+00:00", "Z") for one in times]
    assert [line["timestamp"] for line in log.lines] == written


async def test_the_line_of_a_request(log: Log) -> None:
    """Has what was asked, by whom, what came of it and how long it took, and the ids that other lines have, too."""

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        bind_user(7)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def fail(request: Request, error: Exception) -> Response:
        raise error

    edge = EdgeMiddleware(answer, on_error=fail, body=BodyLimit(1, 1), uploads={}, hsts=False)
    headers = {"X-Request-ID": "r1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://test") as client:
        await client.get("/path?token=hunter2", headers=headers)
    await asyncio.sleep(0)
    (line,) = log.lines
    assert line.pop("timestamp")
    assert 0 <= line.pop("duration_ms") < 5000
    assert list(line.items()) == [
        ("source", "app.access"),
        ("method", "GET"),
        ("path", "/path"),
        ("status", 204),
        ("client", "127.0.0.1"),
        ("event", "request"),
        ("request_id", "r1"),
        ("trace_id", "a" * 32),
        ("user_id", 7),
        ("process", "test"),
        ("level", "info"),
    ]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_line_of_a_library_has_the_same_form(log: Log, name: str) -> None:
    """Arguments are filled in, extra fields are kept, and the logger's name is the source."""
    logging.getLogger(name).error("lost %s of %d", "one", 2, extra={"color_message": "x", "port": 80})
    (line,) = log.lines
    assert line.pop("timestamp")
    assert line == {"event": "lost one of 2", "level": "error", "source": name, "process": "test", "port": 80}


def test_handlers_that_libraries_brought_are_gone(kept: None) -> None:
    """A logger that was set up before, with handlers of its own, writes each line once, and here."""
    own = io.StringIO()
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    made = Log()
    configure_logging(LogSettings(format="json"), process="test", stream=made.stream)
    logger.error("once")
    assert own.getvalue() == ""
    assert [line["event"] for line in made.lines] == ["once"]


def test_the_level_is_everybodys(kept: None) -> None:
    """Below LOG_LEVEL nothing is written, by us or by a library; access lines of uvicorn never, ours say it all."""
    made = Log()
    configure_logging(LogSettings(format="json", level="WARNING"), process="test", stream=made.stream)
    get_logger("app").info("no")
    logging.getLogger("asyncio").info("no")
    logging.getLogger("uvicorn.access").error("no")
    get_logger("app").error("yes")
    assert [line["event"] for line in made.lines] == ["yes"]


def test_a_warning_is_a_line(log: Log) -> None:
    """What Python warns of goes through the pipeline, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in log.lines[0]["event"]


def test_a_traceback_is_part_of_its_line(log: Log) -> None:
    """An exception is one field of one object, with the place and the message."""
    try:
        int("broken")
    except ValueError:
        get_logger("app").exception("failed")
        logging.getLogger("celery").exception("failed")
    for line in log.lines:
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("invalid literal for int() with base 10: 'broken'")
        assert line["level"] == "error"


async def test_fields_are_bound_at_the_edge_and_gone_after_it(log: Log) -> None:
    """Inside `bound` every line carries the request and, once known, the user, in this task and no other."""
    logger = get_logger("app")

    async def request(number: int) -> None:
        with bound(Cause(request_id=f"r{number}", traceparent="00-1")):
            await asyncio.sleep(0)
            bind_user(number)
            await asyncio.sleep(0)
            logging.getLogger("sqlalchemy.engine").error("inside")
            assert current_cause() == Cause(request_id=f"r{number}", traceparent="00-1", user_id=number)

    await asyncio.gather(*(request(number) for number in range(1, 4)))
    with suppress(RuntimeError), bound(Cause(request_id="r9"), job_id=9):
        with bound(Cause(request_id="r10", user_id=10), attempt=2):
            logger.info("nested")
        logger.info("inner is gone")
        raise RuntimeError
    logger.info("outside")
    assert [(line.get("request_id"), line.get("user_id"), line.get("job_id")) for line in log.lines] == [
        ("r1", 1, None), ("r2", 2, None), ("r3", 3, None), ("r10", 10, 9), ("r9", None, 9), (None, None, None),
    ]  # fmt: skip
    assert current_cause() == Cause()


def leak(logger_name: str) -> None:
    """Write a secret in every way that a line has."""
    ours, theirs = get_logger(logger_name), logging.getLogger(logger_name)
    ours.error("password=hunter2", api_key="hunter2", nested={"headers": [("authorization", "hunter2")]})
    ours.error("redis://:hunter2@host", error=ValueError("token=hunter2"))
    theirs.error("connect to %s", "postgresql://u:hunter2@db/x", extra={"cookie": "hunter2"})
    theirs.error("args %r", {"password": "hunter2"})
    try:
        int("Authorization: Bearer hunter2")
    except ValueError as error:
        ours.exception("failed")
        theirs.exception("failed: %s", error)
        ours.error("as a field", exc_info=error)


@pytest.mark.parametrize("name", ["app.thing", *LIBRARIES])
def test_no_secret_leaks_into_json(log: Log, name: str) -> None:
    """Through our loggers and the libraries', in messages, arguments, fields and tracebacks."""
    leak(name)
    assert len(log.lines) == 7
    assert "hunter2" not in log.text


def test_no_secret_leaks_into_a_terminal(console: Log) -> None:
    """The pretty form hides what the JSON form hides, tracebacks included."""
    leak("app.thing")
    assert "'Authorization: Bearer ***" in console.text
    assert "hunter2" not in console.text


def test_the_console_is_for_people(console: Log) -> None:
    """A line starts with the time and the level, and fields follow as `name=value`; no colours into a file."""
    get_logger("app").info("started", port=8000)
    assert "started" in console.text
    assert "port=8000" in console.text
    assert "\x1b" not in console.text
    with pytest.raises(json.JSONDecodeError):
        assert console.lines


def test_auto_means_json_when_nobody_looks(kept: None) -> None:
    """LOG_FORMAT=auto writes JSON unless the stream is a terminal."""
    made = Log()
    configure_logging(LogSettings(), process="test", stream=made.stream)
    get_logger("app").info("started")
    assert made.lines[0]["event"] == "started"


async def test_what_a_failed_statement_was_given_stays_out(log: Log, container: Container) -> None:
    """Neither the parameters nor the row that PostgreSQL quotes are written, only the statement and the constraint."""
    statement = text("INSERT INTO users (email, full_name, password_hash, role) VALUES (:email, 'P', '!', 'none')")
    given = {"email": "hunter2@example.com"}
    with pytest.raises(IntegrityError) as failure:
        async with container.database.session_scope() as session:
            await session.execute(statement, given)
    get_logger("app").error("unhandled error", exc_info=failure.value)
    assert "INSERT INTO users" in log.text
    assert "ck_users_role" in log.text
    assert "hunter2" not in log.text


async def test_the_lines_of_requests_are_written_together(log: Log) -> None:
    """Once the loop comes round, each with the time and the fields of its own request; below the level none is."""
    access = AccessLog("app.access")

    def note(number: int) -> None:
        access.note({"method": "GET", "path": f"/{number}"}, method="GET", status=200, seconds=0)

    for number in range(3):
        with bound(Cause(request_id=f"r{number}")):
            note(number)
    before = datetime.now(UTC)
    assert log.lines == []
    await asyncio.sleep(0)
    assert [(line["request_id"], line["path"]) for line in log.lines] == [("r0", "/0"), ("r1", "/1"), ("r2", "/2")]
    assert all(datetime.fromisoformat(line["timestamp"]) < before for line in log.lines)
    note(3)
    await asyncio.sleep(0)
    assert "request_id" not in log.lines[3]
    configure_logging(LogSettings(format="json", level="WARNING"), process="test", stream=log.stream)
    note(4)
    await asyncio.sleep(0)
    assert len(log.lines) == 4
