"""The page on scaling says what its figures give."""

from benchmarks import scaling


def test_the_page_follows_from_the_figures_that_it_states() -> None:
    """Whoever changes a figure, an assumption or the formula writes the tables anew."""
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert scaling.rewritten(page, scaling.stated(page)) == page


def test_every_figure_is_one_that_is_measured() -> None:
    """The rows by which the figures are found are there in the benchmarks' pages, and the mix is a whole."""
    assert scaling.measured().keys() == scaling.MEASURED.keys()
    assert abs(sum(scaling.MIX.values()) - 1) < 1e-9


def test_twice_the_rate_needs_twice_the_cores() -> None:
    """Cores grow with the rate and shrink with what a core does; there is always a node to spare."""
    figures = dict.fromkeys(scaling.MEASURED, 100.0)
    one, two = scaling.need(figures, 1000), scaling.need(figures, 2000)
    assert abs(two.api_cores - 2 * one.api_cores) < 1e-9
    assert abs(one.api_cores - 1000 / 100 / scaling.LOAD) < 1e-9
    assert scaling.need(figures, 1).nodes == 2
    assert one.euros < two.euros
