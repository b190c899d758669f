"""The figures of the utilisation report, reckoned by hand from rows at its edges."""

from datetime import UTC, date, datetime, timedelta

from tests.support import World

APPOINTMENT = """
    INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at, status)
    VALUES (:doctor, :patient, :starts_at, :ends_at, :status)
"""
SATURDAY, SUNDAY = date(2026, 3, 28), date(2026, 3, 29)


async def test_figures_of_a_weekend_with_a_missing_hour(world: World) -> None:
    """Days are the clinic's; the end is out; what was cancelled is counted and takes no time; time off is not
    available; a doctor who was deleted is listed for what was booked, and one without anything is not."""
    night = await world.doctor(full_name="A night")
    sunday = [{"weekday": 6, "start": "09:00", "end": "12:00"}]
    away = await world.doctor(full_name="B away", hours=sunday)
    gone = await world.doctor(full_name="C gone")
    await world.doctor(full_name="D gone before", deleted_at=datetime(2026, 1, 1, tzinfo=UTC))
    patient = await world.person()

    async def book(doctor_id: int, starts_at: str, *, minutes: int = 30, status: str = "booked") -> None:
        start = datetime.fromisoformat(starts_at)
        values = {"starts_at": start, "ends_at": start + timedelta(minutes=minutes), "status": status}
        await world.execute(APPOINTMENT, doctor=doctor_id, patient=patient.id, **values)

    await book(night, "2026-03-27T22:30:00+00:00")  # before it begins
    await book(night, "2026-03-27T23:00:00+00:00", status="completed")  # midnight in Berlin
    await book(night, "2026-03-28T12:00:00+00:00", minutes=60, status="cancelled")
    await book(night, "2026-03-28T23:30:00+00:00", status="no_show")  # half past midnight, on Sunday
    await book(night, "2026-03-29T22:00:00+00:00", minutes=45)  # midnight, an hour earlier: the end
    await book(gone, "2026-03-28T08:00:00+00:00")
    await world.execute("UPDATE doctors SET deleted_at = now() WHERE id = :id", id=gone)
    off = (datetime(2026, 3, 29, 8, tzinfo=UTC), datetime(2026, 3, 29, 9, tzinfo=UTC))
    await world.execute(
        "INSERT INTO time_off (doctor_id, starts_at, ends_at) VALUES (:id, :s, :e)", id=away, s=off[0], e=off[1]
    )

    report = await world.container.reports.utilisation(SATURDAY, SUNDAY + timedelta(days=1))
    found = {
        one.full_name: (one.available_minutes, one.booked_minutes, one.appointments, one.completed, one.cancelled)
        for one in report.doctors
    }
    assert found == {
        "A night": (24 * 60 + 23 * 60, 60, 3, 1, 1),
        "B away": (120, 0, 0, 0, 0),
        "C gone": (0, 30, 1, 0, 0),
    }
    assert report.no_show == 1
    days = {one.day: (one.available_minutes, one.booked_minutes) for one in report.days}
    assert days == {SATURDAY: (24 * 60, 60), SUNDAY: (23 * 60 + 120, 30)}
