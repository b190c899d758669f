"""`python -m deploy.drills [NAME…]` (`make drill ARGS=restore`): try what the runbooks promise, and measure it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deploy.drills.drills import DRILLS, run
from deploy.drills.house import DrillFailed


def main() -> int:
    """Each drill on a service of its own; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.drills", description=__doc__)
    parser.add_argument("drills", nargs="*", metavar="NAME", help=f"of {', '.join(DRILLS)} (default: all)")
    chosen = parser.parse_args().drills or list(DRILLS)
    if unknown := set(chosen) - DRILLS.keys():
        parser.error(f"there is no drill {', '.join(sorted(unknown))}")
    failed = 0
    for name in chosen:
        # PostgreSQL runs as another account when we are root.
        folder = Path(tempfile.mkdtemp(prefix="drill-"))
        folder.chmod(0o755)
        print(f"{name} | {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        try:
            for line in asyncio.run(run(name, folder, int(os.environ.get("PORT", "8200")))):
                print(f"{name} | {line}", flush=True)
            shutil.rmtree(folder)
        except DrillFailed as error:
            failed = 1
            print(f"{name} | FAILED: {error} (kept: {folder})", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
