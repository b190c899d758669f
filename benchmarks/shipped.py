"""`python -m benchmarks.shipped api`: the service without what only developers have installed, as an image has it.

structlog imports rich when it finds it, OpenTelemetry psutil: 80 modules that no production loads.
"""

import runpy
import sys

DEVELOPERS = ("rich", "pygments", "psutil")


def hide() -> None:
    """Let these be as if they were not there, before anything asks for them."""
    sys.modules.update(dict.fromkeys(DEVELOPERS))  # type: ignore[arg-type]  # None is the import system's word for it


if __name__ == "__main__":
    hide()
    runpy.run_module("app", run_name="__main__", alter_sys=True)
