"""Every fault, one file a kind."""

from tests.chaos.faults import kills
from tests.chaos.scene import Fault

FAULTS: tuple[Fault, ...] = (*kills.FAULTS,)
