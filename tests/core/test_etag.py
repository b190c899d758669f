"""Entity tags and preconditions (RFC 9110)."""

import pytest

from app.core.errors import PreconditionFailed
from app.core.etag import check_if_match, content_tag, none_match, version_tag


@pytest.mark.parametrize("header", [None, "*", " * ", '"5"', '"4", "5"', '"4","5" , "6"', 'W/"4", "5"', '"a,b", "5"'])
def test_a_change_passes_when_the_present_version_was_seen(header: str | None) -> None:
    """Without the header, with `*`, or with the present tag anywhere in the list."""
    check_if_match(header, version_tag(5))


@pytest.mark.parametrize("header", ['"4"', 'W/"5"', "5", '"5', "", '""', '"55"', '"4", W/"5"', "*5", "garbage"])
def test_a_change_is_refused_when_another_version_was_seen(header: str) -> None:
    """Another version, a weak tag (the comparison is strong), or something that is no tag."""
    with pytest.raises(PreconditionFailed):
        check_if_match(header, version_tag(5))


@pytest.mark.parametrize(
    ("header", "known"),
    [(None, False), ("*", True), ('"5"', True), ('W/"5"', True), ('"4", W/"5"', True), ('"4"', False), ("5", False)],
)
def test_what_the_client_has_is_not_sent_again(header: str | None, known: bool) -> None:
    """`If-None-Match` compares weakly."""
    assert none_match(header, version_tag(5)) is known


def test_the_tag_of_content_follows_the_content() -> None:
    """The same bytes have the same strong tag, others another one."""
    assert content_tag(b"a") == content_tag(b"a") != content_tag(b"b")
    assert content_tag(b"a").startswith('"')
