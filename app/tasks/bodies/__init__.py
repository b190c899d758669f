"""Which service carries out which message: one file a concern."""

from app.services.container import Container
from app.tasks.attempt import Bodies
from app.tasks.bodies.accounts import account_bodies
from app.tasks.bodies.catalogue import catalogue_bodies
from app.tasks.bodies.housekeeping import housekeeping_bodies
from app.tasks.bodies.mails import mail_bodies
from app.tasks.bodies.notifications import notification_bodies
from app.tasks.bodies.orders import order_bodies
from app.tasks.bodies.outer_events import outer_event_bodies
from app.tasks.bodies.payments import payment_bodies
from app.tasks.bodies.photos import photo_bodies
from app.tasks.bodies.reports import report_bodies
from app.tasks.bodies.webhooks import webhook_bodies


def bodies(container: Container) -> Bodies:
    """Every job of the service, whichever queue it runs on."""
    return {
        **mail_bodies(container.mails),
        **account_bodies(container.account_mails),
        **report_bodies(container.reports, container.revenue),
        **photo_bodies(container.photos),
        **notification_bodies(container.notifications),
        **outer_event_bodies(container.outer_events),
        **housekeeping_bodies(container.housekeeping),
        **order_bodies(container.orders, container.mails),
        **payment_bodies(container.payments),
        **catalogue_bodies(container.catalogue),
        **webhook_bodies(container.inbox, container.webhook_endpoints),
    }
