"""`python -m deploy.observe`: Prometheus, and what else is installed, against the service that `make run` runs here."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import ports as local_ports
from deploy.local import state as states
from deploy.local.output import Output
from deploy.local.plan import ROOT, Plan
from deploy.local.ports import PortError
from deploy.local.settings import Settings, SettingsError, port_of, read
from deploy.local.supervisor import Supervisor
from deploy.observe import plan
from deploy.observe.files import HERE, Ports


def chosen_ports(values: Mapping[str, str]) -> Ports:
    """Those of the environment, else the programs' own. Raises SettingsError."""
    default = Ports()
    return Ports(
        prometheus=port_of(values, "PROMETHEUS_PORT", default.prometheus),
        alertmanager=port_of(values, "ALERTMANAGER_PORT", default.alertmanager),
        grafana=port_of(values, "GRAFANA_PORT", default.grafana),
        tempo=port_of(values, "TEMPO_PORT", default.tempo),
        otlp=port_of(values, "OTLP_PORT", default.otlp),
    )


def run(base: Path) -> int:
    """Serve until Ctrl-C; the exit code."""
    settings, ports, programs = Settings.parse(read(ROOT, base)), chosen_ports(os.environ), plan.installed()
    states.locate(base, port=settings.port)
    state = states.hold(base / "observe", port=ports.prometheus)
    if isinstance(state, states.Holder):
        raise states.StateError(f"already running as pid {state.pid}: stop it with `kill {state.pid}`")
    output = Output()
    try:
        state.clean()
        for name in programs:
            port = getattr(ports, name)
            local_ports.check(HERE, port, advice=f"{name.upper()}_PORT={port + 1} make observe")
        made = plan.make(settings, ports, programs, state=state.path)
        return asyncio.run(_supervise(made, state, output))
    finally:
        state.release()
        output.close()


async def _supervise(made: Plan, state: states.State, output: Output) -> int:
    return await Supervisor(made, state, output).run()


def main() -> int:
    """What can't be done is one line on stderr and exit 1."""
    parser = argparse.ArgumentParser(prog="python -m deploy.observe", description=__doc__)
    parser.add_argument("--state", type=Path, default=ROOT / "var", help="of `make run` (default: var/)")
    options = parser.parse_args()
    try:
        return run(options.state)
    except (plan.Missing, PortError, SettingsError, states.StateError) as error:
        print(f"observe | {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
