"""The clinic's partners that this process has.

Their libraries (gql, zeep, grpc) take seconds to load, so only those are loaded whose address is set.
"""

from dataclasses import dataclass

from app.config import Settings
from app.integrations.circuit_shared import Circuits
from app.integrations.clinic_partners import Directory, Insurer, Laboratory


@dataclass(frozen=True, slots=True)
class ClinicPartners:
    """Those that are set; None for the rest."""

    directory: Directory | None = None
    insurer: Insurer | None = None
    laboratory: Laboratory | None = None

    async def close(self) -> None:
        for partner in (self.directory, self.insurer, self.laboratory):
            if partner is not None:
                await partner.close()


def make_clinic_partners(settings: Settings, circuits: Circuits) -> ClinicPartners:
    directory: Directory | None = None
    insurer: Insurer | None = None
    laboratory: Laboratory | None = None
    if settings.directory.url:
        from app.integrations.directory import DirectoryClient  # noqa: PLC0415 - see above

        directory = DirectoryClient(settings.directory, circuits=circuits)
    if settings.insurer.url:
        from app.integrations.insurer import InsurerClient  # noqa: PLC0415

        insurer = InsurerClient(settings.insurer, circuits=circuits)
    if settings.laboratory.url:
        from app.integrations.laboratory import LaboratoryClient  # noqa: PLC0415

        laboratory = LaboratoryClient(settings.laboratory, circuits=circuits)
    return ClinicPartners(directory, insurer, laboratory)
