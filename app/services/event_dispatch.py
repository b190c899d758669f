"""Which handlers hear of what a transaction records."""

from app.config import EventsSettings
from app.core.events import Dispatcher
from app.services.handlers import event_handlers
from app.services.handlers.outer_events import published


def make_dispatcher(settings: EventsSettings) -> Dispatcher:
    """The service's own, and the way out to other services where that is on."""
    return Dispatcher(published(event_handlers()) if settings.enabled else event_handlers())
