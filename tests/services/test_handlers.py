"""The table of who acts on which event."""

from app.core.enums import EventName
from app.core.events import Event
from app.schemas import events
from app.services.handlers import event_handlers
from app.services.handlers.webhooks import announce


def test_every_event_has_a_row() -> None:
    """One without fails the transaction that records it, the first time that it happens."""
    known = {one for one in vars(events).values() if isinstance(one, type) and issubclass(one, Event)}
    concrete = {one for one in known if "name" in vars(one)}
    assert {one.__name__ for one in concrete - event_handlers().keys()} == set(), "app/services/handlers/__init__.py"
    assert len(concrete) > 5


def test_partners_may_subscribe_to_what_is_announced() -> None:
    """To exactly that: a name that nobody announces promises what never comes."""
    announced = {event.name for event, handlers in event_handlers().items() if announce in handlers}
    assert announced == set(EventName), "EventName (app/core/enums.py) and the rows with announce differ"
