#!/usr/bin/env python3
"""Whether the process in this container turns: asks `/health/live` on the port of whichever role answers.

Standard library alone, so that a probe every few seconds costs nothing. Exit code 0 or 1.
"""

import os
import sys
import urllib.request
from urllib.error import URLError

PORTS = {"PORT": "8000", "WORKER_METRICS_PORT": "9000", "CELERY_METRICS_PORT": "10000"}


def main() -> int:
    said = []
    for variable, default in PORTS.items():
        url = f"http://127.0.0.1:{os.environ.get(variable) or default}/health/live"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return 0 if answer.status == 200 else 1
        except (URLError, OSError) as error:
            said.append(f"{url}: {error}")
    print("\n".join(said), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
