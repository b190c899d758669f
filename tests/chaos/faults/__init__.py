"""Every fault, one file a kind."""

from tests.chaos.faults import clocks, engines, frozen, kills, poison, rivals, versions
from tests.chaos.scene import Fault

PARTS = (kills, frozen, poison, engines, rivals, clocks, versions)
FAULTS: tuple[Fault, ...] = tuple(fault for part in PARTS for fault in part.FAULTS)
