"""webhook endpoints that a service account has made

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A service account is an id below zero, which no user has. The version before knows that an owner may be gone.
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE webhook_endpoints DROP CONSTRAINT fk_webhook_endpoints_created_by_users"
    )


def downgrade() -> None:
    # What a service account has made becomes the first user's: somebody has to be its owner.
    op.execute("UPDATE webhook_endpoints SET created_by = (SELECT min(id) FROM users) WHERE created_by < 0")
    op.execute(
        "ALTER TABLE webhook_endpoints ADD CONSTRAINT fk_webhook_endpoints_created_by_users "
        "FOREIGN KEY (created_by) REFERENCES users (id) NOT VALID"
    )
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE webhook_endpoints VALIDATE CONSTRAINT fk_webhook_endpoints_created_by_users"
    )
