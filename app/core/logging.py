"""One log pipeline for our code and for every library: JSON lines, or colours in a terminal."""

import logging
import sys
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]  # typeshed has no C
from time import time_ns
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.config import LogSettings
from app.core.context import merge_fields
from app.core.redaction import redact_event
from app.core.timestamp import timestamp

# Their own lines repeat ours: the access log and the job log are written by us.
_QUIET = {"uvicorn.access": logging.CRITICAL, "arq": logging.WARNING, "celery.worker.strategy": logging.WARNING}
_QUIET |= {"celery.app.trace": logging.WARNING, "httpx": logging.WARNING, "fontTools": logging.WARNING}


# It would quote what an insurer has said of a patient.
_QUIET |= {"zeep.xsd.types.simple": logging.CRITICAL}


def _drop_color_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # uvicorn sends every message twice, once with colours.
    event.pop("color_message", None)
    return event


def _add_timestamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = timestamp(event.pop("at_ns", None) or time_ns())
    return event


def _shared(process: str) -> list[Processor]:
    def add_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return [merge_fields, add_process, structlog.stdlib.add_log_level, _add_timestamp]


# What `json.dumps(event, default=str)` makes anew for every line, a fifth of the time a line takes. Nothing is in a
# ring: redaction has cut the depth.
_chunks = c_make_encoder(None, str, encode_basestring_ascii, None, ": ", ", ", False, False, True)


def _to_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return "".join(_chunks(event, 0))


def _renderers(*, console: bool, colours: bool) -> list[Processor]:
    form: Processor = _to_json
    if console:
        form = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    # The traceback becomes text before it is redacted, whoever shows it.
    return [structlog.processors.format_exc_info, redact_event, form]


_out: TextIO = sys.stdout
_level = logging.INFO
_json = True
_process = ""


def is_logged(level: int) -> bool:
    """Whether lines of this level are written."""
    return level >= _level


def is_json() -> bool:
    """Whether lines are JSON."""
    return _json


def process_name() -> str:
    """What lines say of this process."""
    return _process


def write(lines: str) -> None:
    """Write these at once, ends and all."""
    _out.write(lines)
    _out.flush()


def configure_logging(settings: LogSettings, *, process: str, stream: TextIO | None = None) -> None:
    """Send everything that this process logs through one pipeline to `stream` (standard output)."""
    global _out, _level, _json, _process  # noqa: PLW0603 - one pipeline per process
    _out = out = stream or sys.stdout
    console = settings.format == "console" or (settings.format == "auto" and out.isatty())
    _json, _process = not console, process
    shared, renderers = _shared(process), _renderers(console=console, colours=console and out.isatty())
    _level = level = logging.getLevelNamesMapping()[settings.level]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                _drop_color_message,
                *shared,
                structlog.stdlib.add_logger_name,
            ],
            processors=[_as_ours, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def _as_ours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    event["source"] = event.pop("logger", None)
    return event


def get_logger(name: str) -> Any:
    """A logger whose lines say where they come from."""
    return structlog.get_logger(source=name)
