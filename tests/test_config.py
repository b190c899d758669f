"""Settings: where they come from, and what the service refuses to start on."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from app.__main__ import parser
from app.config import ConfigurationError, Environment, Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / ".env.example"
COMMANDS = [
    "api",
    "worker",
    "celery",
    "sandbox",
    "migrate",
    "seed",
    "keys",
    "jobs",
    "backup",
    "restore",
    "verify-backup",
    "erase-user",
    "export-user",
    "reset-second-factor",
    "check",
    "openapi",
]
# What a command can't do without.
NEEDED = {"jobs": ["list"], "erase-user": ["1"], "export-user": ["1"], "reset-second-factor": ["1"]}
DATABASE = "postgresql+asyncpg://frontdesk:s3cr3t-in-the-url@db.example.org/frontdesk"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": DATABASE,
    "AUTH_SECRET_KEY": "a-long-random-key-that-nobody-else-has-0123456789",
    "FIRST_SUPERADMIN_PASSWORD": "a password of our own",
    "API_ALLOWED_HOSTS": "clinic.example.org, www.clinic.example.org",
    "PUBLIC_URL": "https://clinic.example.org",
    "MAIL_BACKEND": "smtp",
    "MAIL_HOST": "smtp.example.org",
    "MAIL_SENDER": "The clinic <desk@clinic.example.org>",
    "PAYMENTS_URL": "https://api.payments.example.org",
    "PAYMENTS_API_KEY": "a key of our own",
    "PAYMENTS_WEBHOOK_SECRETS": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "MARKETPLACE_URL": "https://api.marketplace.example.org",
    "MARKETPLACE_API_KEY": "a key of our own",
    "MARKETPLACE_WEBHOOK_SECRETS": "0123456789abcdef0123456789abcdef",
}


def variables() -> dict[str, object]:
    """Every setting's variable and default."""
    found: dict[str, object] = {}
    for concern, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            found |= {f"{concern}_{name}".upper(): value for name, value in field.default}
        else:
            found[concern.upper()] = field.default
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without settings."""
    for name in (*variables(), "SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, with a database in it."""
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    return monkeypatch


def faults() -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        load_settings()
    return refusal.value.faults


def named(lines: list[str]) -> set[str]:
    return {line.partition(":")[0] for line in lines}


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m app …` in this working directory, with no settings but these."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**kept, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_setting_is_named_by_its_concern_and_its_field(given: pytest.MonkeyPatch) -> None:
    """`DATABASE_POOL_SIZE` is `database.pool_size`, also where the field's name has underscores of its own."""
    given.setenv("DATABASE_POOL_SIZE", "3")
    given.setenv("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "7.5")
    given.setenv("API_CORS_ORIGINS", "https://a.example, https://b.example,")
    settings = load_settings()
    assert settings.database.pool_size == 3
    assert settings.database.idle_in_transaction_timeout == 7.5
    assert settings.api.cors_origins == ["https://a.example", "https://b.example"]
    assert settings.database.pool_overflow == 0


def test_the_environment_beats_the_file_and_the_file_beats_the_secrets_folder(
    given: pytest.MonkeyPatch, folder: Path
) -> None:
    """Each of the three sources gives what no better one gives, field by field within one concern."""
    secrets = folder / "secrets"
    secrets.mkdir()
    kept = {"port": "1", "auth_issuer": "secret", "auth_audience": "secret", "redis_url": "redis://s/1"}
    for name, value in kept.items():
        (secrets / name).write_text(value + "\n")
    (folder / ".env").write_text("PORT=2\nAUTH_ISSUER=file\nCLINIC_NAME='The file'\n")
    given.setenv("SECRETS_DIR", str(secrets))
    given.setenv("PORT", "3")
    settings = load_settings()
    assert settings.port == 3
    assert (settings.auth.issuer, settings.auth.audience) == ("file", "secret")
    assert settings.redis.url.get_secret_value() == "redis://s/1"
    assert settings.clinic.name == "The file"


def test_an_empty_variable_is_one_that_is_not_given(given: pytest.MonkeyPatch, folder: Path) -> None:
    """`PORT=` in the environment leaves the default, so that compose files may pass variables through."""
    given.setenv("PORT", "")
    (folder / ".env").write_text("HASHING_ROUNDS=\n")
    assert load_settings().port == 8000
    assert load_settings().hashing.rounds == 12


def test_a_variable_of_somebody_else_named_like_a_concern_is_not_ours(given: pytest.MonkeyPatch) -> None:
    """A login shell sets MAIL to a mailbox; the service starts all the same."""
    given.setenv("MAIL", "/var/mail/nobody")
    given.setenv("LOG", "verbose")
    assert load_settings().mail.backend == "file"


def test_a_secrets_folder_that_is_not_there_is_a_fault(given: pytest.MonkeyPatch) -> None:
    """A mistyped SECRETS_DIR is named instead of being passed over."""
    given.setenv("SECRETS_DIR", "/no/such/folder")
    assert named(faults()) == {"SECRETS_DIR"}


def test_settings_of_one_own_are_fit_for_production(given: pytest.MonkeyPatch) -> None:
    """With every default that is a danger replaced, nothing is found, and production's own defaults are on."""
    for name, value in PRODUCTION.items():
        given.setenv(name, value)
    settings = load_settings()
    assert settings.environment is Environment.PRODUCTION
    assert settings.verified_email_required
    assert not settings.docs_served
    assert settings.api.allowed_hosts == ["clinic.example.org", "www.clinic.example.org"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "true"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "postgresql://db/frontdesk"),
        ("DATABASE_URL", "postgresql+asyncpg://db:port/frontdesk"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("JOBS_BROKER_URL", "rabbitmq:5672"),
        ("JOBS_BROKER_URL", "unix:///run/redis.sock"),
        ("AUTH_SECRET_KEY", ""),
        ("AUTH_SECRET_KEY", "x" * 31),
        ("FIRST_SUPERADMIN_PASSWORD", ""),
        ("FIRST_SUPERADMIN_PASSWORD", "x" * 11),
        ("API_ALLOWED_HOSTS", "*"),
        ("API_ALLOWED_HOSTS", ""),
        ("API_ALLOWED_HOSTS", "clinic.example.org,*"),
        ("API_ALLOWED_HOSTS", ","),
        ("API_CORS_ORIGINS", "*"),
        ("API_TRUSTED_PROXIES", "*"),
        ("API_TRUSTED_PROXIES", "10.0.0.1, 0.0.0.0/0"),
        ("API_TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
        ("API_TRUSTED_PROXIES", "::/0"),
        ("WEBHOOKS_ALLOW_PRIVATE", "0.0.0.0/0"),
        ("WEBHOOKS_ALLOW_PRIVATE", "hooks.internal,::/0"),
        ("STORAGE_ENDPOINT", "http://s3.example.org"),
        ("STORAGE_ENDPOINT", "http://93.184.215.14:9000"),
        ("STORAGE_PUBLIC_ENDPOINT", "http://files.example.org"),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "http://clinic.example.org"),
        ("MAIL_BACKEND", "file"),
        ("MAIL_HOST", ""),
        ("MAIL_SENDER", ""),
        ("HASHING_ROUNDS", "11"),
        ("JOBS_HEARTBEAT", "16"),
        ("DATABASE_URL", f"{DATABASE}?sslmode=require"),
        ("DATABASE_URL", f"{DATABASE}?ssl=true"),
        ("DATABASE_URL", f"{DATABASE}?ssl=verify-full&sslrootcert=/etc/ours.pem"),
        ("DATABASE_URL", f"{DATABASE}?ssl=verify-ca"),
        ("DATABASE_DIRECT_URL", f"{DATABASE}?sslmode=require"),
        ("DATABASE_REPLICA_URL", f"{DATABASE}?sslmode=require"),
        ("DATABASE_CA_FILE", "/no/such/file.pem"),
        ("REDIS_CA_FILE", str(EXAMPLE)),
        ("JOBS_BROKER_CA_FILE", str(ROOT)),
        ("CLINIC_TIMEZONE", "Mars/Olympus"),
        ("PAYMENTS_URL", ""),
        ("PAYMENTS_URL", "http://api.payments.example.org"),
        ("PAYMENTS_API_KEY", ""),
        ("PAYMENTS_WEBHOOK_SECRETS", ""),
        ("PAYMENTS_WEBHOOK_SECRETS", ","),
        ("PAYMENTS_WEBHOOK_SECRETS", "whsec_not base64"),
        ("PAYMENTS_WEBHOOK_SECRETS", "whsec_c2hvcnQ="),
        ("MARKETPLACE_URL", "ftp://files.example.org"),
        ("MARKETPLACE_API_KEY", ""),
        ("MARKETPLACE_WEBHOOK_SECRETS", ""),
        ("MARKETPLACE_WEBHOOK_SECRETS", "short"),
        ("PORT", "65536"),
    ],
)
def test_production_refuses_what_is_not_fit(given: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One danger in settings that are otherwise fit is found, named by its variable, and nothing else is."""
    for variable, good in PRODUCTION.items():
        given.setenv(variable, good)
    given.setenv(name, value)
    assert named(faults()) == {name}


@pytest.mark.parametrize("secret", ["MAIL_USERNAME", "MAIL_PASSWORD"])
def test_a_password_does_not_go_over_the_network_in_clear_text(given: pytest.MonkeyPatch, secret: str) -> None:
    """Credentials at a mail server elsewhere take TLS in production; on this machine they don't."""
    for variable, value in (PRODUCTION | {secret: "hunter2", "MAIL_SECURITY": "none"}).items():
        given.setenv(variable, value)
    assert named(faults()) == {"MAIL_SECURITY"}
    given.setenv("MAIL_HOST", "127.0.0.1")
    load_settings()


def test_private_networks_are_fit_for_production(given: pytest.MonkeyPatch) -> None:
    """Networks and hosts of one's own may be named, a relay without credentials too; development may do anything."""
    own = {
        "API_TRUSTED_PROXIES": "10.0.0.0/8,fc00::/7,172.30.0.0/24,10.0.0.1",
        "WEBHOOKS_ALLOW_PRIVATE": "10.0.0.0/8,hooks.internal",
        "STORAGE_PUBLIC_ENDPOINT": "https://files.example.org",
        "MAIL_SECURITY": "none",
    }
    for variable, value in (PRODUCTION | own).items():
        given.setenv(variable, value)
    for endpoint in ("http://minio:9000", "http://minio.storage.svc:9000", "http://10.0.0.7:9000", "http://[fd00::7]"):
        given.setenv("STORAGE_ENDPOINT", endpoint)
        load_settings()
    given.setenv("ENVIRONMENT", "development")
    given.setenv("API_TRUSTED_PROXIES", "0.0.0.0/0")
    given.setenv("STORAGE_ENDPOINT", "http://s3.example.org")
    load_settings()


def test_all_faults_are_named_at_once(given: pytest.MonkeyPatch) -> None:
    """Values of the wrong type and values that are not fit for production come in one refusal."""
    given.delenv("DATABASE_URL")
    given.setenv("ENVIRONMENT", "production")
    given.setenv("DEBUG", "1")
    given.setenv("PORT", "eight thousand")
    given.setenv("AUTH_ACCESS_TOKEN_SECONDS", "soon")
    given.setenv("MAIL_PORT", "0")
    given.setenv("API_ALLOWED_HOSTS", "*")
    assert named(faults()) == {
        "PORT", "AUTH_ACCESS_TOKEN_SECONDS", "MAIL_PORT", "DATABASE_URL", "DEBUG", "AUTH_SECRET_KEY",
        "FIRST_SUPERADMIN_PASSWORD", "API_ALLOWED_HOSTS", "PUBLIC_URL", "MAIL_BACKEND", "MAIL_SENDER",
        "PAYMENTS_URL", "PAYMENTS_API_KEY", "PAYMENTS_WEBHOOK_SECRETS",
        "MARKETPLACE_URL", "MARKETPLACE_API_KEY", "MARKETPLACE_WEBHOOK_SECRETS",
    }  # fmt: skip


def test_no_value_is_in_a_refusal(given: pytest.MonkeyPatch) -> None:
    """Whatever is wrong, the text names variables and reasons and never what they were set to."""
    wrong = {
        "ENVIRONMENT": "production",
        "DATABASE_URL": "mysql://frontdesk:hunter2-db@db/frontdesk",
        "REDIS_URL": "http://:hunter2-redis@redis",
        "AUTH_SECRET_KEY": "hunter2-key",
        "FIRST_SUPERADMIN_PASSWORD": "hunter2",
        "CLINIC_TIMEZONE": "hunter2/zone",
        "PORT": "hunter2-port",
        "LOG_LEVEL": "hunter2-level",
        "JOBS_BROKER_URL": "hunter2-broker",
        "DEBUG": "hunter2-debug",
        "MAIL_PASSWORD": "hunter2-mail",
        "PAYMENTS_WEBHOOK_SECRETS": "hunter2-secret",
        "MARKETPLACE_WEBHOOK_SECRETS": "hunter2-other",
    }
    for name, value in wrong.items():
        given.setenv(name, value)
    with pytest.raises(ConfigurationError) as refusal:
        load_settings()
    assert "hunter2" not in str(refusal.value)
    assert len(refusal.value.faults) > 8
    assert refusal.value.__cause__ is None


def test_settings_keep_their_secrets_to_themselves(given: pytest.MonkeyPatch) -> None:
    """No secret is in the printed form of the settings, which ends up in tracebacks."""
    given.setenv("AUTH_SECRET_KEY", "hunter2-key")
    given.setenv("MAIL_PASSWORD", "hunter2-mail")
    given.setenv("MARKETPLACE_WEBHOOK_SECRETS", "hunter2-new,hunter2-old")
    shown = repr(load_settings())
    assert "hunter2" not in shown
    assert "s3cr3t-in-the-url" not in shown
    assert "frontdesk-admin" not in shown


def test_check_says_that_settings_are_fit() -> None:
    """`python -m app check` ends with 0 and one line, without starting anything."""
    told = run("check", **PRODUCTION)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "the settings are fit to start on (production)\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_starts_on_settings_that_are_not_fit(command: str) -> None:
    """Every command refuses with 2 and all faults on stderr; stdout stays empty."""
    told = run(command, *NEEDED.get(command, []), ENVIRONMENT="production", PORT="x", DEBUG="1")
    assert (told.returncode, told.stdout) == (2, "")
    lines = told.stderr.splitlines()
    assert lines[0] == "the settings can't be used:"
    assert {"PORT", "DEBUG", "DATABASE_URL", "AUTH_SECRET_KEY"} < named([line.removeprefix("  - ") for line in lines])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` works before any setting is made."""
    with pytest.raises(SystemExit) as end:
        parser().parse_args([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m app {command}")


def test_the_commands_are_the_contracts() -> None:
    """`python -m app --help` lists every command of the contract and no other; an unknown one is refused."""
    told = run("--help")
    assert told.returncode == 0
    assert re.findall(r"^    ([\w-]+)(?: |$)", told.stdout, re.MULTILINE) == COMMANDS
    assert run("serve").returncode == 2


def example() -> dict[str, str]:
    pairs = re.findall(r"^#([A-Z][A-Z_]*)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_the_example_lists_every_setting_and_no_other() -> None:
    """`.env.example` and the code name the same settings."""
    assert set(example()) == set(variables()), ".env.example and app/config differ"


def test_the_examples_values_are_the_defaults(given: pytest.MonkeyPatch, folder: Path) -> None:
    """Every value in `.env.example`, taken literally, is what holds without it."""
    bare = load_settings()
    (folder / ".env").write_text("\n".join(f"{name}={value!r}" for name, value in example().items()))
    assert load_settings() == bare
    given.delenv("DATABASE_URL")
    unset = {name for name, value in variables().items() if value in ("", None, [], SecretStr(""))}
    assert {name for name, value in example().items() if value == ""} == unset


def test_the_example_explains_every_setting() -> None:
    """Above each setting of `.env.example` stands one line that says what it means."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"#[A-Z][A-Z_]*=", line):
            assert re.match(r"# [^-].{8,}", before), f"{line} is not explained"
    assert max(map(len, lines)) <= 120
