"""`python -m benchmarks.dark api`: the service without telemetry, to measure what telemetry costs.

No metric is kept and no request is timed; traces and log lines are off by settings. It is no way to run the service.
"""

import sys
from typing import Any

from benchmarks.shipped import hide

hide()
from prometheus_client import values  # noqa: E402 - what is hidden is hidden first


class NoValue:
    """A metric's value that nobody keeps."""

    _multiprocess = False

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing to open."""

    def inc(self, *_: Any) -> None:
        """Nothing to add to."""

    def set(self, *_: Any, **__: Any) -> None:
        """Nothing to set."""

    def set_exemplar(self, *_: Any) -> None:
        """Nothing to set."""

    def get(self) -> float:
        return 0.0

    def get_exemplar(self) -> None:
        return None


values.ValueClass = NoValue  # before any metric is made


def main() -> int:
    from app import __main__ as app  # noqa: PLC0415 - its metrics are made when it is imported
    from app.core.access_log import AccessLog  # noqa: PLC0415

    AccessLog.note = lambda *_, **__: None  # type: ignore[method-assign]
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
