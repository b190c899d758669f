"""`python -m deploy.local run|reset|psql`: Frontdesk on this machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from deploy.local import state as states
from deploy.local.engines import EngineError
from deploy.local.output import Output
from deploy.local.plan import ROOT, check_ports, frontdesk, psql_variables
from deploy.local.ports import PortError
from deploy.local.postgres import binaries
from deploy.local.settings import Settings, SettingsError, read
from deploy.local.supervisor import Supervisor


def run(base: Path) -> int:
    """Serve until Ctrl-C; the exit code."""
    settings = Settings.parse(read(ROOT, base))
    state = states.claim(base, port=settings.port)
    output = Output()
    try:
        output.line("frontdesk", f"state in {state.shown(state.path)}/, Ctrl-C stops everything")
        if ended := state.clean():
            output.line("frontdesk", f"ended {len(ended)} processes that an earlier run had left behind")
        check_ports(settings)
        return asyncio.run(_supervise(settings, state, output))
    finally:
        state.release()
        output.close()


async def _supervise(settings: Settings, state: states.State, output: Output) -> int:
    return await Supervisor(frontdesk(settings, state=state.path), state, output).run()


def psql(base: Path, arguments: list[str]) -> int:
    """Become the psql of the wheel, connected to the database that `run` serves."""
    settings = Settings.parse(read(ROOT, base))
    url = settings.database_url
    if url is None:
        url = states.read_env(states.locate(base, port=settings.port))["DATABASE_URL"]
    os.environ.update(psql_variables(url))
    os.execv(binaries() / "psql", ["psql", *arguments])  # noqa: S606 - no shell is meant


def main() -> int:
    """Parse and dispatch; what can't be done is one line on stderr and exit 1."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--state", type=Path, default=ROOT / "var", help="the state directory (default: var/)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything; one line starting with `ready` says it works")
    commands.add_parser("reset", help="empty the state directory")
    commands.add_parser("psql", help="psql on the running database; further arguments are psql's", add_help=False)
    options, rest = parser.parse_known_args()
    if rest and options.command != "psql":
        parser.error(f"unknown: {' '.join(rest)}")
    try:
        if options.command == "run":
            return run(options.state)
        if options.command == "psql":
            return psql(options.state, rest)
        states.reset(options.state)
    except (EngineError, PortError, SettingsError, states.StateError) as error:
        print(f"frontdesk | {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
