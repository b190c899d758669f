"""docs/integrations.md names the test behind each row of its fault tables, and every fault that is tested has a row."""

from tests.integrations.test_faults import FAULTS
from tests.named_tests import NAMED, ROOT, faults_of

BEGIN, END = "## The fault table", "## The sandbox"


def rows(document: str) -> dict[str, str]:
    """The last cell of each row, by its first, of the tables between the two headings."""
    part = document.partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return {first: others[-1] for first, *others in lines if others[-1] != "held by"}


def faults(document: str) -> list[str]:
    found = rows(document)
    cases = {
        case for cell in found.values() for path, _, case in NAMED.findall(cell) if path.endswith("test_faults.py")
    }
    missing = [f"{name}: no row" for name in FAULTS if name not in cases]
    unknown = [f"{case}: no such fault" for case in cases if case and case not in FAULTS]
    return missing + unknown + faults_of(found)


def test_every_row_is_held_by_a_test_that_is_there() -> None:
    """No fault is without a row, no row without a test, and each test that is named exists."""
    document = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    assert len(rows(document)) > len(FAULTS)
    assert faults(document) == []


def test_the_check_sees_what_is_missing() -> None:
    """A row without a test, a test and a fault that are gone, and a fault without a row are each named."""
    here, gone = "tests/test_fault_table.py", "tests/integrations/test_faults.py"
    table = f"| silent | - |\n| lost | `{here}::test_nowhere` |\n| odd | `{gone}::test_a_payments_life[moon]` |\n"
    found = faults(f"{BEGIN}\n{table}{END}\n")
    assert "silent: no test" in found
    assert f"lost: {here}::test_nowhere is not there" in found
    assert "moon: no such fault" in found
    assert "latency: no row" in found
