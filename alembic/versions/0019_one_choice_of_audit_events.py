"""what is pruned of the audit record is chosen once

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# A choice with a limit that locks its rows may be made again for each row of the outer table when it stands in an IN,
# and gives others each time: more than the batch. An array is made once.
_PRUNE = """
CREATE OR REPLACE FUNCTION prune_audit_events(days bigint, batch bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET frontdesk.pruning = 'on' AS $$
DECLARE
    removed bigint;
BEGIN
    IF days IS NULL OR days < 30 THEN
        RAISE EXCEPTION 'audit events are kept for at least 30 days' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM public.audit_events WHERE id {chosen} (
        SELECT id FROM public.audit_events WHERE at < now() - make_interval(days => least(days, 36500)::integer)
        ORDER BY at LIMIT batch FOR UPDATE SKIP LOCKED
    {end};
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$
"""


def upgrade() -> None:
    op.execute(_PRUNE.format(chosen="= ANY (ARRAY", end="))"))


def downgrade() -> None:
    op.execute(_PRUNE.format(chosen="IN", end=")"))
