"""What a PromQL expression asks for: metrics, labels and the values they are compared with."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<range>\[[^\]]*\])
      | (?P<number>(?:0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?:ms|[smhdwy])?)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},=<>@])""",
    re.VERBOSE | re.IGNORECASE,
)
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"})


@dataclass
class Selector:
    """A metric and the labels that it is asked for by."""

    metric: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Asked:
    selectors: list[Selector] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)
    """Labels in `by (…)` and their like."""


def asked(expression: str) -> Asked:
    """Raises ValueError for what is no PromQL token."""
    tokens = list(_tokens(expression))
    found, place = Asked(), 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name" and text in _LABEL_LISTS:
            end = tokens.index(("sign", ")"), place)
            found.grouped |= {name for kind, name in tokens[place:end] if kind == "name"} - {text}
            place = end
        elif kind == "name" and text.lower() not in _WORDS and following != "(" and not _groups_first(tokens, place):
            selector = Selector(text)
            found.selectors.append(selector)
            if following == "{":
                end = tokens.index(("sign", "}"), place)
                inside = tokens[place + 2 : end]
                for one in range(0, len(inside), 4):
                    label, sign, value = (text for _, text in inside[one : one + 3])
                    selector.matchers.append((label, sign, value[1:-1]))
                place = end
        place += 1
    return found


def _groups_first(tokens: list[tuple[str, str]], place: int) -> bool:
    """Whether this is the operator of `sum by (…) (…)`."""
    return place + 1 < len(tokens) and tokens[place + 1] in (("name", "by"), ("name", "without"))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None or match.lastgroup is None:
            raise ValueError(f"no PromQL at {expression[place : place + 20]!r}")
        place = match.end()
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()
