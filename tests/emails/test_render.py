"""The words of every mail."""

import re
from html.parser import HTMLParser

import pytest

from app.emails.render import TEMPLATES, MissingVariable, UnknownTemplate, render

ACCOUNT: dict[str, object] = {
    "full_name": "Zoë Żółć",
    "clinic_name": "Riverside Clinic",
    "link": "https://clinic.example/verify?token=abc_DEF-123&lang=en",
    "token": "abc_DEF-123",
    "expires_hours": 24,
    "subject": "News from the clinic",
    "body": "We have moved.\n\nThe new address is Quay 7.",
    "first_day": "Thursday, 24 December 2026",
    "last_day": "Friday, 1 January 2027",
    "reason": "The builders are in.",
    "sign_in_link": "https://clinic.example/sign-in",
    "expires_minutes": 60,
    "news": "Your password has been changed.",
}
APPOINTMENT: dict[str, object] = {
    "patient_name": "José Álvarez",
    "doctor_name": "Dr Łukasz Nowak",
    "specialty": "Cardiology",
    "starts_at_local": "Tuesday 3 March 2026, 14:30",
    "timezone": "Europe/Berlin",
    "clinic_name": "Riverside Clinic",
    "appointment_id": 42,
}
ORDER: dict[str, object] = {
    "patient_name": "José Álvarez",
    "items": "2 x Plaster (2.50 EUR each)",
    "total": "5.00 EUR",
    "clinic_name": "Riverside Clinic",
    "order_id": 4711,
}
UNTIL: dict[str, object] = {"expires_at_local": "Tuesday, 3 March 2026 at 15:00", "timezone": "Europe/Berlin"}
ENDPOINT: dict[str, object] = {
    "full_name": "Zoë Żółć",
    "clinic_name": "Riverside Clinic",
    "host": "hooks.example",
    "endpoint_id": 7,
    "reason": "nothing has succeeded for three days",
}
CONTEXT: dict[str, object] = ACCOUNT | APPOINTMENT | ORDER | UNTIL | ENDPOINT
VARIABLES = {
    "verify_email": {"full_name", "link", "token", "expires_hours", "clinic_name"},
    "webhook_endpoint_disabled": set(ENDPOINT),
    "reset_password": {"full_name", "link", "token", "expires_minutes", "clinic_name"},
    "confirm_email": {"full_name", "link", "token", "expires_hours", "clinic_name"},
    "account_notice": {"full_name", "news", "clinic_name"},
    "account_exists": {"full_name", "clinic_name", "sign_in_link"},
    "announcement": {"full_name", "clinic_name", "subject", "body"},
    "closure": {"full_name", "clinic_name", "subject", "first_day", "last_day", "reason"},
    **{
        f"appointment_{what}": set(APPOINTMENT)
        for what in ("booked", "rescheduled", "cancelled", "reminder")
    },
    "order_placed": set(ORDER | UNTIL),
    **{f"order_{what}": set(ORDER) for what in ("paid", "cancelled", "expired", "refunded")},
}  # fmt: skip


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.hrefs += [value for name, value in attrs if name == "href" and value is not None]


def test_every_promised_mail_exists() -> None:
    """The templates are exactly the ones that the services name."""
    assert set(VARIABLES) == TEMPLATES, "VARIABLES of this file and app/emails/templates/ differ"


@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_each_part_says_all_it_was_given(template: str) -> None:
    """From its documented variables alone each mail makes a one-line subject, a text and a page of HTML."""
    context = {name: CONTEXT[name] for name in VARIABLES[template]}
    mail = render(template, context)
    assert mail.subject == mail.subject.strip()
    assert "\n" not in mail.subject
    assert mail.html.lstrip().startswith("<!DOCTYPE html>")
    for name in VARIABLES[template] - {"link"}:
        # A body is the one value of several lines, and each becomes a paragraph.
        for line in str(context[name]).split("\n"):
            assert line in (mail.subject if name == "subject" else mail.text)
            assert line in mail.html
    assert "{{" not in mail.text + mail.html
    assert "\n\n\n" not in mail.text


@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_a_gap_is_never_sent(template: str) -> None:
    """Each variable left out is an error that names it."""
    for missing in VARIABLES[template]:
        context = {name: value for name, value in CONTEXT.items() if name != missing}
        with pytest.raises(MissingVariable, match=missing):
            render(template, context)


@pytest.mark.parametrize("template", ["nope", "base", "../render", "verify_email.html", ""])
def test_an_unknown_mail_is_told(template: str) -> None:
    """Only the names of mails are templates, neither parts nor paths."""
    with pytest.raises(UnknownTemplate):
        render(template, CONTEXT)


def test_the_verification_can_be_clicked_or_copied() -> None:
    """The text has the link and the bare token, each on a line of its own; the page links to the same address."""
    mail = render("verify_email", CONTEXT)
    lines = mail.text.splitlines()
    assert lines.count(str(ACCOUNT["link"])) == 1
    assert lines.count(str(ACCOUNT["token"])) == 1
    assert Links(mail.html).hrefs == [ACCOUNT["link"]] * 2


@pytest.mark.parametrize(
    "template", ["verify_email", "reset_password", "confirm_email", "account_notice", "account_exists"]
)
def test_a_greeting_without_a_name(template: str) -> None:
    """Where there is no name to say, the greeting is whole without it, in the text and on the page."""
    mail = render(template, CONTEXT | {"full_name": None})
    for part in (mail.text, mail.html):
        assert "Hello," in part
        assert "None" not in part


def test_hours_are_counted_in_english() -> None:
    """One hour, two hours."""
    assert "within the next 1 hour." in render("verify_email", CONTEXT | {"expires_hours": 1}).text
    assert "within the next 2 hours." in render("verify_email", CONTEXT | {"expires_hours": 2}).text


@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_values_are_words_not_markup(template: str) -> None:
    """HTML in a value is shown as text in the page, and left as it is in the text version."""
    evil = "<img src=x onerror=alert(1)> & \"quoted\" 'Co'"
    mail = render(template, dict.fromkeys(CONTEXT, evil))
    assert "img" not in Links(mail.html).tags
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; " in mail.html
    assert evil in mail.text


@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_a_value_cannot_add_lines(template: str) -> None:
    """Line breaks of every kind in a value become spaces, so that the subject stays a header and the text its own."""
    plain = render(template, dict.fromkeys(CONTEXT, "Ann  Bcc: eve@example.com"))
    evil = render(
        template,
        # An admin's body has lines of its own; nobody else's words do.
        dict.fromkeys(CONTEXT, "Ann\r\nBcc: eve@example.com\x00\x0b\x85\u2028") | {"body": "Ann  Bcc: eve@example.com"},
    )
    assert evil.text.count("\n") == plain.text.count("\n")
    assert not re.search(r"[\r\n\x00-\x1f\x85\u2028]", evil.subject)
    assert "Ann Bcc: eve@example.com" in evil.subject


@pytest.mark.parametrize("template", sorted(VARIABLES))
def test_nothing_is_loaded_from_elsewhere(template: str) -> None:
    """The page fetches no image, script or style sheet, follows the reader's light or dark scheme, and is short."""
    html = render(template, CONTEXT).html
    assert not {"img", "script", "link", "iframe"} & set(Links(html).tags)
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html
    assert len(html.encode()) < 20_000
