"""Passwords that many people have, which are therefore the first to be tried.

`common_passwords.txt.gz` holds those of at least 8 characters from the list of the Django project (20,000 most common
of the breaches that Royce Williams counted, public domain; Django is under the BSD licence), in NFC and lower case.
"""

import gzip
import unicodedata
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("common_passwords.txt.gz")


@cache
def _common() -> frozenset[str]:
    # Read at the first use: 8,000 short texts, 0.8 MB, which a process that sets no password does without.
    return frozenset(gzip.decompress(_FILE.read_bytes()).decode().split("\n"))


def is_common(password: str) -> bool:
    """Whether it is on the list, in whatever case."""
    return folded(password) in _common()


def folded(text: str) -> str:
    """What two texts that differ in case or in the form of their letters have in common."""
    return unicodedata.normalize("NFC", text).casefold()
