"""`python -m app COMMAND`: every process of the service, and what is run beside it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from app.config import ConfigurationError, Settings, get_settings
from app.core.errors import DomainError
from app.core.memory import rest
from app.core.metrics_files import leave_multiprocess, prepare_multiprocess


def api(_: argparse.Namespace) -> None:
    rest()
    settings = get_settings()
    prepare_multiprocess()
    from app.server import serve  # noqa: PLC0415 - each command loads only what it needs

    serve(settings)


def worker(_: argparse.Namespace) -> None:
    rest()
    get_settings()
    prepare_multiprocess()
    from app.tasks.worker import main  # noqa: PLC0415

    main()


def celery(_: argparse.Namespace) -> None:
    get_settings()
    prepare_multiprocess()
    from app.tasks.celery_app import main  # noqa: PLC0415

    main()


def sandbox(_: argparse.Namespace) -> None:
    settings = get_settings()
    if settings.production:
        raise ConfigurationError(["ENVIRONMENT: the sandbox plays partners for development; not in production"])
    from app.sandbox.server import serve  # noqa: PLC0415

    serve(settings)


def migrate(arguments: argparse.Namespace) -> None:
    from alembic import command  # noqa: PLC0415
    from app.core.logging import configure_logging  # noqa: PLC0415
    from app.services.readiness import alembic_config  # noqa: PLC0415

    configure_logging(get_settings().log, process="migrate")
    config = alembic_config()
    config.attributes["to_head"] = arguments.revision == "head"
    if arguments.revision.startswith("-") or arguments.revision == "base":
        command.downgrade(config, arguments.revision)
    else:
        command.upgrade(config, arguments.revision)


def seed(_: argparse.Namespace) -> None:
    asyncio.run(_seed(get_settings()))


async def _seed(settings: Settings) -> None:
    from app.services.container import build  # noqa: PLC0415
    from app.services.seeding import seed as run  # noqa: PLC0415

    container = build(settings, role="worker", pooled=False)
    try:
        made = await run(settings, container.database, container.hasher)
        await container.keys.ensure()
    finally:
        await container.close()
    account = "made" if made.superadmin else "was there"
    print(
        f"seed: superadmin {settings.first.superadmin_email} {account}, {made.doctors} doctors and "
        f"{made.products} products added"
    )


def keys(arguments: argparse.Namespace) -> None:
    asyncio.run(_keys(get_settings(), arguments))


async def _keys(settings: Settings, arguments: argparse.Namespace) -> None:
    from app.services.container import build  # noqa: PLC0415
    from app.services.key_commands import run  # noqa: PLC0415

    container = build(settings, role="worker", pooled=False)
    try:
        for line in await run(container.keys, container.database, arguments.step, arguments.kid, now=arguments.now):
            print(line)
    finally:
        await container.close()


def reset_second_factor(arguments: argparse.Namespace) -> None:
    _backup_command(_reset_second_factor(get_settings(), arguments.user))


async def _reset_second_factor(settings: Settings, given: str) -> list[str]:
    from app.services.container import build  # noqa: PLC0415
    from app.services.second_factor_commands import reset  # noqa: PLC0415

    container = build(settings, role="worker", pooled=False)
    try:
        return [await reset(container.second_factor, container.database, given)]
    finally:
        await container.close()


def check(_: argparse.Namespace) -> None:
    settings = get_settings()
    print(f"the settings are fit to start on ({settings.environment.value})")


def openapi(arguments: argparse.Namespace) -> None:
    from app.main import create_app  # noqa: PLC0415

    text = json.dumps(create_app(get_settings()).openapi(), indent=2, ensure_ascii=False)
    if arguments.output:
        Path(arguments.output).write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


def jobs(arguments: argparse.Namespace) -> None:
    settings = get_settings()
    from app.tasks.console import run  # noqa: PLC0415

    if code := run(arguments, settings):
        sys.exit(code)


def backup(arguments: argparse.Namespace) -> None:
    from app.services import backup_commands as commands  # noqa: PLC0415

    if arguments.loop:
        _backup_command(commands.keep_backing_up(get_settings()))
    elif arguments.list:
        _backup_command(commands.listing(get_settings()))
    else:
        _backup_command(commands.backup(get_settings()))


def restore(arguments: argparse.Namespace) -> None:
    from app.services import backup_commands as commands  # noqa: PLC0415

    allowed = arguments.allow_unencrypted
    _backup_command(
        commands.restore(get_settings(), arguments.name, replace=arguments.replace, allow_unencrypted=allowed)
    )


def verify_backup(arguments: argparse.Namespace) -> None:
    from app.services import backup_commands as commands  # noqa: PLC0415

    _backup_command(commands.verify(get_settings(), arguments.name, allow_unencrypted=arguments.allow_unencrypted))


def _backup_command(command: Coroutine[Any, Any, list[str] | None]) -> None:
    """Print what it says; whatever fails is one line, and exit code 1."""
    from app.core.logging import configure_logging  # noqa: PLC0415
    from app.services.backup_commands import FAILURES, explained  # noqa: PLC0415

    configure_logging(get_settings().log, process="backup")
    try:
        for line in asyncio.run(command) or ():
            print(line)
    except FAILURES as error:
        print(explained(error), file=sys.stderr)
        sys.exit(1)


def _add_backup_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add(
        "backup", backup, "make a backup of the database in BACKUP_DIRECTORY or BACKUP_BUCKET, and delete old ones"
    )
    how = one.add_mutually_exclusive_group()
    how.add_argument("--loop", action="store_true", help="one every BACKUP_EVERY_HOURS, until SIGTERM")
    how.add_argument("--list", action="store_true", help="name those that are there")
    again = add("restore", restore, "restore a backup into the database of the settings, if that is missing or empty")
    again.add_argument(
        "--replace", metavar="DATABASE", help="its name: if it is not empty, it is moved aside, not deleted"
    )
    sure = add("verify-backup", verify_backup, "restore a backup into a database that is thrown away, and compare")
    for command in (again, sure):
        command.add_argument(
            "name", nargs="?", default="latest", help="as `backup --list` names it (default: the newest)"
        )
        command.add_argument(
            "--allow-unencrypted", action="store_true", help="though BACKUP_KEYS is set: made before there were keys"
        )


def erase_user(arguments: argparse.Namespace) -> None:
    from app.services.personal_data_commands import erase  # noqa: PLC0415

    if (arguments.user is None) is not arguments.again or (arguments.again and arguments.dry_run):
        print("name the account, by id or e-mail, or give --again alone", file=sys.stderr)
        sys.exit(2)
    _backup_command(erase(get_settings(), arguments.user, dry_run=arguments.dry_run))


def export_user(arguments: argparse.Namespace) -> None:
    from app.services.personal_data_commands import export  # noqa: PLC0415

    _backup_command(export(get_settings(), arguments.user, arguments.output))


def _add_personal_data_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add("erase-user", erase_user, "erase one person: cancel what is to come, end sessions, take the name out")
    one.add_argument("user", nargs="?", help="id or e-mail of the account")
    one.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    one.add_argument("--again", action="store_true", help="everybody who was ever erased: after a restore")
    one = add("export-user", export_user, "write everything that is known of one person as JSON")
    one.add_argument("user", help="id or e-mail of the account")
    one.add_argument("--output", type=Path, help="a new file, which only you may read (default: standard output)")


QUEUES, STATUSES = ("io", "cpu"), ("queued", "running", "succeeded", "failed", "cancelled")


def _add_job_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="jobs_command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    listing = add("list", "jobs, the newest first")
    listing.add_argument("--status", choices=STATUSES)
    listing.add_argument("--queue", choices=QUEUES)
    listing.add_argument("--name", help="as in mail.appointment")
    listing.add_argument("--limit", type=int, default=30, help="at most so many (default: 30)")
    add("show", "all that the ledger knows of a job, as JSON").add_argument("id", type=int)
    for name, text in (
        ("retry", "queue failed or cancelled jobs again, with all their attempts before them"),
        ("cancel", "end jobs that are queued or running; what runs is stopped and has no effect any more"),
    ):
        add(name, text).add_argument("id", type=int, nargs="+")
    drain = add("drain", "attempt all that is due, here and now, until nothing is; for when no worker runs")
    drain.add_argument("--queue", choices=QUEUES, help="of this queue alone")
    add("schedules", "what runs by the clock, with its last and next run")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m app",
        description="Frontdesk's processes and commands. Settings: the environment, see .env.example.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("api", api, "serve HTTP on HOST:PORT with API_WORKERS processes, until SIGTERM")
    add("worker", worker, "run I/O jobs (ARQ) and the relay, until SIGTERM; /metrics on WORKER_METRICS_PORT")
    add("celery", celery, "run CPU jobs (Celery prefork), until SIGTERM; /metrics on CELERY_METRICS_PORT")
    add("sandbox", sandbox, "play the payment provider and the marketplace on SANDBOX_PORT; for development alone")
    add("migrate", migrate, "bring the database to the newest revision").add_argument(
        "revision", nargs="?", default="head", help="another revision, or -1 for one step down (default: head)"
    )
    add("seed", seed, "make the first superadmin and six doctors and products where there are none; safe to repeat")
    steps = add("keys", keys, "the keys that sign access tokens: list them, rotate to a new one, retire one at once")
    steps.add_argument("step", choices=("list", "rotate", "retire"), nargs="?", default="list", help="default: list")
    steps.add_argument("kid", nargs="?", default="", help="retire: the key")
    steps.add_argument("--now", action="store_true", help="rotate: sign with the new key at once")
    _add_job_commands(add("jobs", jobs, "look into the job ledger, and repeat, cancel or attempt what is in it"))
    _add_backup_commands(add)
    _add_personal_data_commands(add)
    lost = add(
        "reset-second-factor", reset_second_factor, "turn off the second factor of who is locked out of an account"
    )
    lost.add_argument("user", help="id or e-mail of the account; make sure that it is its owner who asks")
    add("check", check, "say whether the settings are fit to start on, naming every fault")
    add("openapi", openapi, "print the OpenAPI document").add_argument("--output", help="write it to this file instead")
    return top


def main() -> int:
    arguments = parser().parse_args()
    if arguments.run not in {api, worker, celery}:
        leave_multiprocess()
    try:
        # Before the rest is loaded, which takes a second: what is wrong with them is said at once.
        get_settings()
        arguments.run(arguments)
    except (ConfigurationError, DomainError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
