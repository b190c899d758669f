"""`python -m app erase-user|export-user`: what they do, and what they say to whoever typed them."""

import os
from contextlib import aclosing
from pathlib import Path

from app.config import Settings
from app.core.database_address import DatabaseAddress
from app.crud.personal_data import ERASED, KEPT
from app.services.appointments import AppointmentService
from app.services.backups import make_backup_storage, patient_database
from app.services.data_export import DataExportService
from app.services.erasure import Erased, ErasureService
from app.services.orders import OrderService


async def erase(settings: Settings, given: str | None, *, dry_run: bool) -> list[str]:
    """Erase one account; without one, everybody who was erased before, after a restore."""
    address = DatabaseAddress.direct(settings.database)
    database, store = patient_database(settings, address), make_backup_storage(settings)
    try:
        service = ErasureService(
            database, store, AppointmentService(settings.clinic.zone), OrderService(settings.orders)
        )
        if given is not None:
            return _lines(await service.erase(given, dry_run=dry_run), dry_run=dry_run)
        done = await service.erase_again()
        again = [one.user_id for one in done if any(one.counts.values())]
        return [f"{len(done)} accounts are on the list of the erased; {len(again)} were here and are erased again"]
    finally:
        await store.close()
        await database.close()


def _lines(done: Erased, *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    lines = [
        f"account {done.user_id}: {would}erased; appointments cancelled: {done.appointments}, orders: {done.orders}"
    ]
    lines += [f"  {table}: {number} {ERASED[table][0]}" for table, number in done.counts.items() if number]
    lines += ["  nothing else was left of it"] if not any(done.counts.values()) else []
    lines.append(
        f"stays: {', '.join(table for table in KEPT if table in _OF_PEOPLE)} (docs/data-protection.md says why)"
    )
    if done.left:
        lines.append(f"{done.left} jobs about the account are running: repeat this in a minute")
    return lines


_OF_PEOPLE = ("orders", "order_items", "payments", "notifications", "webhook_endpoints")


async def export(settings: Settings, given: str, output: Path | None) -> list[str]:
    """Write what is known of one account to `output`, which only this account may read, or give it as lines."""
    database = patient_database(settings, DatabaseAddress.direct(settings.database))
    try:
        async with aclosing(DataExportService(database).pieces(given)) as pieces:
            if output is None:
                return ["".join([piece async for piece in pieces]).rstrip("\n")]
            size = 0
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                async for piece in pieces:
                    size += file.write(piece)
        return [f"{output}: {size} characters"]
    finally:
        await database.close()
