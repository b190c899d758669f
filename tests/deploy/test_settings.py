"""What the user has asked for, and what the app is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.plan import frontdesk, psql_variables
from deploy.local.settings import Settings, SettingsError, read


def test_the_environment_beats_the_file_and_empty_means_not_given(tmp_path: Path) -> None:
    """`.env` may quote, comment and export; an empty value is a default."""
    (tmp_path / ".env").write_text("# ours\nexport PORT=8100\nHOST='::1' # loopback\nREDIS_URL=\nDATABASE_URL=a\n")
    values = read(tmp_path, tmp_path / "var", {"DATABASE_URL": "b", "LOG_FORMAT": ""})
    assert values == {"PORT": "8100", "HOST": "::1", "DATABASE_URL": "b"}


def test_the_address_of_an_embedded_engine_is_not_taken_for_a_foreign_one(tmp_path: Path) -> None:
    """A shell that has read an earlier `run/env` starts everything all the same."""
    (tmp_path / "postgres.password").write_text("secret")
    ours, foreign = (
        "postgresql+asyncpg://frontdesk:secret@/frontdesk?host=/x",
        "postgresql+asyncpg://me:other@db/frontdesk",
    )
    assert read(tmp_path, tmp_path, {"DATABASE_URL": ours}) == {}
    assert read(tmp_path, tmp_path, {"DATABASE_URL": foreign}) == {"DATABASE_URL": foreign}


def test_metrics_ports_follow_the_port() -> None:
    """A second run beside the first needs one variable."""
    settings = Settings.parse({"PORT": "8100", "CELERY_METRICS_PORT": "7000"})
    assert (settings.worker_metrics_port, settings.celery_metrics_port) == (9100, 7000)
    assert (settings.sandbox_port, Settings.parse({"PORT": "63000"}).sandbox_port) == (11100, 60000)
    with pytest.raises(SettingsError, match="WORKER_METRICS_PORT=66000"):
        Settings.parse({"PORT": "65000"})
    with pytest.raises(SettingsError, match="PORT=eight"):
        Settings.parse({"PORT": "eight"})


def test_the_ready_line_never_shows_a_password_of_the_user() -> None:
    """The development default is printed, the user's own is not."""
    assert Settings.parse({}).ready_line == (
        "ready  http://127.0.0.1:8000  docs http://127.0.0.1:8000/docs  sign in as admin@example.com / frontdesk-admin"
    )
    line = Settings.parse({"FIRST_SUPERADMIN_EMAIL": "me@example.org", "FIRST_SUPERADMIN_PASSWORD": "hush"}).ready_line
    assert line.endswith("sign in as me@example.org / (your FIRST_SUPERADMIN_PASSWORD)")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - the promise is about it
        ("::", "http://[::1]:80"),
        ("desk.local", "http://desk.local:80"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(host: str, address: str) -> None:
    """An address to listen on is not always one to go to."""
    assert Settings.parse({"HOST": host, "PORT": "80"}).address == address


def test_given_engines_are_not_started_and_given_values_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both addresses there is no engine, and a directory that the user chose stays the user's."""
    monkeypatch.delenv("MAIL_DIRECTORY", raising=False)
    given = {"DATABASE_URL": "postgresql+asyncpg://db/x", "REDIS_URL": "redis://r/0", "MAIL_DIRECTORY": "/mail"}
    plan = frontdesk(Settings.parse(given), state=tmp_path)
    assert plan.engines == ()
    assert plan.env["DATABASE_URL"] == given["DATABASE_URL"]
    assert "MAIL_DIRECTORY" not in plan.env
    assert plan.env["STORAGE_DIRECTORY"] == str(tmp_path / "storage")
    names = ["migrate", "seed", "api", "worker", "celery", "sandbox"]
    assert [program.name for program in (*plan.steps, *plan.programs)] == names


def test_partners_are_played_by_the_sandbox_unless_they_are_given(tmp_path: Path) -> None:
    """Without addresses both partners are the sandbox; with both given it is not started and the addresses are kept."""
    engines = {"DATABASE_URL": "postgresql+asyncpg://db/x", "REDIS_URL": "redis://r/0", "PORT": "8100"}
    plan = frontdesk(Settings.parse(engines), state=tmp_path)
    assert plan.env["PAYMENTS_URL"] == plan.env["MARKETPLACE_URL"] == "http://127.0.0.1:11100"
    own = {"PAYMENTS_URL": "https://pay.example.org", "MARKETPLACE_URL": "https://shop.example.org"}
    plan = frontdesk(Settings.parse(engines | own), state=tmp_path)
    assert "sandbox" not in [program.name for program in plan.programs]
    assert "PAYMENTS_URL" not in plan.env


def test_psql_finds_the_same_database() -> None:
    """An address for SQLAlchemy is translated for the tools of PostgreSQL, socket directory and escapes included."""
    assert psql_variables("postgresql+asyncpg://me:p%40ss@/shop?host=/run/x") == {
        "PGHOST": "/run/x",
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "shop",
    }
    assert psql_variables("postgresql+asyncpg://me@db:5433/shop")["PGPORT"] == "5433"
