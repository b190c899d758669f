"""docs/security.md names tests that are there, for every requirement it has to answer."""

import re

from tests.named_tests import ROOT, faults_of

ROWS = re.compile(r"^\| (?P<name>(?:\d+\.\d+\.\d+|API\d+)\b[^|]*)\|(?P<cells>.*)\|$", re.MULTILINE)
ASVS = [
    *("1.2.4", "1.5.2", "2.3.3", "2.3.4", "2.4.1", "4.1.3", "6.2.8", "6.2.9", "6.3.1", "6.3.8", "7.4.1", "7.4.2"),
    *("8.2.1", "8.2.2", "8.2.3", "9.1.2", "9.2.2", "10.4.5", "13.4.5", "16.5.3"),
]
API_RISKS = [f"API{number}" for number in range(1, 11)]


def faults(document: str) -> list[str]:
    """The tests stand in the last cell of each row."""
    found = {row["name"].split()[0]: row["cells"].rpartition("|")[2] for row in ROWS.finditer(document)}
    return [f"{name}: no row" for name in (*ASVS, *API_RISKS) if name not in found] + faults_of(found)


def test_every_requirement_is_held_by_tests_that_are_there() -> None:
    """No row is missing or empty, and each test that it names exists."""
    assert faults((ROOT / "docs" / "security.md").read_text(encoding="utf-8")) == []


def test_the_check_sees_what_is_missing() -> None:
    """A row without a test, a test that is gone and a requirement without a row are each named."""
    document = "| 1.2.4 | words | - |\n| API1 x | `tests/test_security_map.py::test_nowhere` |\n"
    found = faults(document)
    assert "1.2.4: no test" in found
    assert "API1: tests/test_security_map.py::test_nowhere is not there" in found
    assert "16.5.3: no row" in found
