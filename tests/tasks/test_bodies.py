"""Every message has somebody who does it."""

from importlib import import_module
from pkgutil import iter_modules

from app.core.jobs import JobMessage
from app.schemas import messages
from app.services.container import Container
from app.tasks.bodies import bodies


def accepted() -> set[type[JobMessage]]:
    """The kinds of jobs that the service knows to make."""
    modules = [import_module(f"{messages.__name__}.{module.name}") for module in iter_modules(messages.__path__)]
    found = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    return {one for one in found if issubclass(one, JobMessage) and "name" in vars(one)}


def test_every_message_has_a_body(container: Container) -> None:
    """A job without one would wait for ever, for a release that knows it."""
    assert {one.__name__ for one in accepted() - bodies(container).keys()} == set(), "app/tasks/bodies/ has no line"
    assert len(accepted()) > 15
