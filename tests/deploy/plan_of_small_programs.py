"""A supervisor over small real programs: what they do is told by the arguments."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from deploy.local.engines import PostgresEngine, ValkeyEngine
from deploy.local.output import Output
from deploy.local.plan import Plan, Program
from deploy.local.state import State, claim
from deploy.local.supervisor import Supervisor
from tests.ports import free_port

SERVER = """
import http.server, os, signal, subprocess, sys
port, deaf = int(sys.argv[1]), "--deaf" in sys.argv
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "600"])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
    def log_message(self, *arguments): pass
print("listening")
http.server.ThreadingHTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def plan(options: argparse.Namespace, state: State) -> Plan:
    """What the arguments ask for."""
    port = free_port()
    server = (sys.executable, "-u", "-c", SERVER, str(port), *(["--deaf"] if options.deaf else []))
    failing = (sys.executable, "-c", "import sys; print('no settings'); sys.exit(3)")
    engines = (
        ("DATABASE_URL", "postgres", PostgresEngine(state.path, settings={"fsync": "off"})),
        ("REDIS_URL", "redis", ValkeyEngine(state.path)),
    )
    return Plan(
        env=os.environ,
        engines=engines if options.engines else (),
        steps=(Program("migrate", (sys.executable, "-c", f"print('migrating'); exit({options.step})")),),
        programs=(Program("api", failing if options.fail else server, f"http://127.0.0.1:{port}/health/ready"),),
        ready_line=f"ready  http://127.0.0.1:{port}",
    )


async def main() -> int:
    """Run it with a grace of one second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--step", type=int, default=0)
    for name in ("--engines", "--fail", "--deaf"):
        parser.add_argument(name, action="store_true")
    options = parser.parse_args()
    state = claim(options.state, port=1)
    output = Output()
    try:
        state.clean()
        return await Supervisor(plan(options, state), state, output, grace=1.0).run()
    finally:
        state.release()
        output.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
