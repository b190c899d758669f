"""The table that the benchmark prints."""

from benchmarks.verdicts import Verdict, at_least, at_most, table, verdict_table


def test_a_target_is_met_at_its_limit() -> None:
    """`at least` and `at most` include the limit; a figure without one judges nothing."""
    assert [at_least("x", value, 1.7).met for value in (1.69, 1.7, 1.71)] == [False, True, True]
    assert [at_most("x", value, 1.5).met for value in (1.49, 1.5, 1.51)] == [True, True, False]
    assert Verdict("x", 3).met is None


def test_a_verdict_is_readable() -> None:
    """Each row says what was measured, the figure with its unit, the target with its direction, and the word."""
    lines = verdict_table(
        [at_least("rate", 1.234, 2), at_most("size", 131, 130, "MB"), Verdict("other", 0.5)]
    ).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["what", "measured", "target", "verdict"]
    assert cells[2:] == [
        ["rate", "1.23", "≥ 2", "MISSED"],
        ["size", "131 MB", "≤ 130 MB", "MISSED"],
        ["other", "0.50", "–", "–"],
    ]


def test_a_table_is_aligned() -> None:
    """Every line of a table is as wide as the others, in Markdown's form."""
    lines = table(("a", "number"), [("long name", "1"), ("b", "1,000,000")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) <= set("|-: ")
