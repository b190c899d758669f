"""Mails from templates: `<name>.subject.txt`, `<name>.txt` and `<name>.html` become one rendered mail."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

_DIRECTORY = Path(__file__).parent / "templates"
_SUBJECT = ".subject.txt"

TEMPLATES = frozenset(path.name.removesuffix(_SUBJECT) for path in _DIRECTORY.glob(f"*{_SUBJECT}"))
"""The names that `render` knows."""


class UnknownTemplate(LookupError):
    """There is no mail of this name."""


class MissingVariable(ValueError):
    """The context lacks something that the template says."""


@dataclass(frozen=True)
class RenderedMail:
    """One mail's words. The subject is a single line, safe as a header."""

    subject: str
    text: str
    html: str


def render(template: str, context: Mapping[str, object]) -> RenderedMail:
    """Fill the template. Values are escaped in HTML, and every value becomes one line, so that nobody's name can add a
    paragraph or a header of its own.

    Raises `UnknownTemplate`, and `MissingVariable` rather than leave a gap.
    """
    if template not in TEMPLATES:
        raise UnknownTemplate(template)
    try:
        subject, text, html = (
            _environment.get_template(f"{template}{suffix}").render(context) for suffix in (_SUBJECT, ".txt", ".html")
        )
    except UndefinedError as error:
        raise MissingVariable(f"{template}: {error.message}") from error
    return RenderedMail(subject=_one_line(subject), text=text.strip() + "\n", html=html)


def _one_line(text: str) -> str:
    return " ".join("".join(" " if _breaks(character) else character for character in text).split())


def _finalize(value: object) -> object:
    return _one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breaks(character: str) -> bool:
    # Control characters, line and paragraph separators; a surrogate (Cs) can't be encoded at all.
    return unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"}


def _is_html(name: str | None) -> bool:
    return name is not None and name.endswith(".html")


# Compiled on first use and kept: templates don't change under a running process.
_environment = Environment(
    loader=FileSystemLoader(_DIRECTORY),
    autoescape=_is_html,  # noqa: S701 - on for HTML, off for text alone
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
