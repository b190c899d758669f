"""`python -m tests.chaos.service NAME`: `python -m app NAME`, except that its workers know the countable jobs, too."""

import sys
from unittest.mock import patch

from app import __main__ as program
from app.core.metrics_files import prepare_multiprocess


def prepare_and_register() -> None:
    """The last step before a command imports its workers; nothing that defines a metric may be imported earlier."""
    prepare_multiprocess()
    import app.tasks.bodies
    from app.services.container import Container
    from app.tasks.attempt import Bodies
    from tests.chaos.bodies import chaos_bodies

    own = app.tasks.bodies.bodies

    def with_countable(container: Container) -> Bodies:
        return {**own(container), **chaos_bodies(container)}

    app.tasks.bodies.bodies = with_countable


if __name__ == "__main__":
    with patch.object(program, "prepare_multiprocess", prepare_and_register):
        sys.exit(program.main())
