"""`python -m tests.chaos.service NAME`: `python -m app NAME`, except that its workers know the countable jobs, too."""

import os
import select
import sys
import time
from typing import Any
from unittest.mock import patch

from celery import Celery

from app import __main__ as program
from app.core.metrics_files import prepare_multiprocess


def prepare_and_register() -> None:
    """The last step before a command imports its workers; nothing that defines a metric may be imported earlier."""
    prepare_multiprocess()
    import app.tasks.bodies
    import app.tasks.broker
    from app.config import Settings
    from app.services.container import Container
    from app.tasks.attempt import Bodies
    from tests.chaos.bodies import chaos_bodies

    own = app.tasks.bodies.bodies

    def with_countable(container: Container) -> Bodies:
        return {**own(container), **chaos_bodies(container)}

    app.tasks.bodies.bodies = with_countable
    make = app.tasks.broker.make_celery

    def make_celery(settings: Settings) -> Celery:
        celery = make(settings)
        if patience := os.environ.get("CHAOS_VISIBILITY_TIMEOUT"):
            celery.conf.broker_transport_options["visibility_timeout"] = float(patience)
        return celery

    app.tasks.broker.make_celery = make_celery


def sleep(seconds: Any) -> None:
    """libfaketime makes a mistake in clock_nanosleep(2), on which `time.sleep` stands."""
    select.select([], [], [], float(seconds))


if __name__ == "__main__":
    if "FAKETIME" in os.environ:
        time.sleep = sleep
    with patch.object(program, "prepare_multiprocess", prepare_and_register):
        sys.exit(program.main())
