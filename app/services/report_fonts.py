"""Fonts for PDF: which one can show which character.

reportlab ships Bitstream Vera alone, 283 glyphs of Western and some Central European Latin. So a wider font is looked
for among the system's, DejaVu Sans first (`fonts-dejavu-core` in Debian): Latin, Greek and Cyrillic in full. Chinese,
Japanese and Korean are embedded from a CJK font where there is one (`fonts-droid-fallback`); otherwise the document
names Adobe's standard CJK fonts, which the reader's program supplies or shows as empty boxes. What no font shows loses
its accents (`ǎ` → `a`), or is replaced visibly. Not done: right-to-left order and joined letters (Arabic, Hindi).
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab  # type: ignore[import-untyped, unused-ignore]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped, unused-ignore]
from reportlab.pdfbase.cidfonts import UnicodeCIDFont  # type: ignore[import-untyped, unused-ignore]
from reportlab.pdfbase.ttfonts import TTFError, TTFont  # type: ignore[import-untyped, unused-ignore]

_ROOTS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/Library/Fonts"),
    Path("/System/Library/Fonts/Supplemental"),
    Path("C:/Windows/Fonts"),
    Path(reportlab.__file__).parent / "fonts",
)
# Regular and bold, the widest coverage first; Vera ends the list because it is always there.
_TEXT_FACES = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
    ("Arial.ttf", "Arial Bold.ttf"),
    ("arial.ttf", "arialbd.ttf"),
    ("Vera.ttf", "VeraBd.ttf"),
)
_CJK_FACES = ("DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc")
_CID_FACES = {"han": "STSong-Light", "kana": "HeiseiKakuGo-W5", "hangul": "HYGothic-Medium"}
_BMP_END = 0xFFFF
# No line of a page holds more characters than this; it bounds the work that a very long name makes.
_LONGEST_LINE = 200
_LATIN = str.maketrans({"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "ẞ": "SS", "ə": "e", "Ə": "E", "’": "'", "‘": "'"})


@dataclass(frozen=True)
class Fonts:
    """The fonts of one document: names registered with reportlab, and the characters that each can show."""

    regular: str
    bold: str
    coverage: frozenset[int]
    cjk: str | None
    cjk_coverage: frozenset[int]

    def runs(self, text: str, *, bold: bool = False) -> list[tuple[str, str]]:
        """Pieces of one line as (font name, text): every character is one that its font has."""
        line = " ".join(unicodedata.normalize("NFC", text).split())
        pieces = [piece for character in line for piece in self._placed(character, bold=bold)]
        return [(font, "".join(part for _, part in run)) for font, run in groupby(pieces, key=lambda piece: piece[0])]

    def markup(self, text: str, *, bold: bool = False) -> str:
        """One line as platypus markup, with everything that could be markup escaped."""
        return "".join(f'<font name="{font}">{escape(part)}</font>' for font, part in self.runs(text, bold=bold))

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Width of one line in points."""
        return sum(self.run_width(font, part, size) for font, part in self.runs(text, bold=bold))

    def run_width(self, font: str, text: str, size: float) -> float:
        """Width in points of a piece that `runs` made."""
        return float(pdfmetrics.stringWidth(text, font, size))

    def clipped(self, text: str, size: float, limit: float) -> str:
        """The line, ended by an ellipsis where it would pass `limit` points."""
        if len(text) <= _LONGEST_LINE and self.width(text, size) <= limit:
            return text
        text = text[:_LONGEST_LINE]
        while text and self.width(f"{text}…", size) > limit:
            text = text[:-1]
        return f"{text.rstrip()}…"

    def _placed(self, character: str, *, bold: bool) -> Iterator[tuple[str, str]]:
        base = self.bold if bold else self.regular
        if ord(character) in self.coverage:
            yield base, character
        elif unicodedata.category(character) in {"Cc", "Cf", "Mn"}:
            return  # invisible by itself
        elif self.cjk is not None and ord(character) in self.cjk_coverage:
            yield self.cjk, character
        elif (script := _cjk_script(character)) is not None:
            yield _standard_cjk(script), character
        else:
            plain = unicodedata.normalize("NFKD", character.translate(_LATIN))
            yield base, "".join(part for part in plain if ord(part) in self.coverage) or self._replacement

    @property
    def _replacement(self) -> str:
        return "\N{REPLACEMENT CHARACTER}" if ord("\N{REPLACEMENT CHARACTER}") in self.coverage else "?"


@cache
def load_fonts() -> Fonts:
    """Find and register the fonts, once a process. A system without any gets Vera, never an error."""
    found = _find({name for pair in _TEXT_FACES for name in pair} | set(_CJK_FACES))
    return choose_fonts(found)


def choose_fonts(found: dict[str, Path]) -> Fonts:
    """The best of the font files at hand, by file name; Vera must be among them."""
    for regular, bold in _TEXT_FACES:
        faces = [_registered(found[name]) for name in (regular, bold) if name in found]
        if len(faces) == 2 and faces[0] is not None and faces[1] is not None:
            break
    else:
        raise LookupError("no font, not even the one that reportlab ships")
    (regular_name, regular_glyphs), (bold_name, bold_glyphs) = faces[0], faces[1]
    cjk = next((face for name in _CJK_FACES if name in found and (face := _registered(found[name]))), None)
    return Fonts(
        regular=regular_name,
        bold=bold_name,
        coverage=regular_glyphs & bold_glyphs,
        cjk=cjk[0] if cjk else None,
        cjk_coverage=cjk[1] if cjk else frozenset(),
    )


def _find(names: set[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in _ROOTS:
        for path in root.rglob("*.tt[fc]"):
            if path.name in names:
                found.setdefault(path.name, path)
    return found


def _registered(path: Path) -> tuple[str, frozenset[int]] | None:
    try:
        font = TTFont(path.stem, str(path))
    except (TTFError, OSError):
        return None  # a damaged file, or outlines that reportlab can't embed
    pdfmetrics.registerFont(font)
    # Beyond the BMP reportlab writes a ToUnicode map that readers reject: shown, but neither found nor copied.
    return path.stem, frozenset(point for point in font.face.charToGlyph if point <= _BMP_END)


def _cjk_script(character: str) -> str | None:
    name = unicodedata.name(character, "")
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return "kana"
    if name.startswith("HANGUL"):
        return "hangul"
    if name.startswith(("CJK", "IDEOGRAPHIC", "FULLWIDTH")) and ord(character) <= _BMP_END:
        return "han"
    return None


@cache
def _standard_cjk(script: str) -> str:
    name = _CID_FACES[script]
    pdfmetrics.registerFont(UnicodeCIDFont(name))
    return name
