"""Where traces go."""

from collections.abc import Iterator

from pydantic import Field

from app.config.common import Concern, is_address


class TelemetrySettings(Concern):
    """Traces over OTLP/HTTP; off without an endpoint."""

    endpoint: str = Field(default="", description="base address of the collector, as http://collector:4318")
    sample_ratio: float = Field(default=0.05, ge=0, le=1, description="part of the requests that are traced")
    timeout: float = Field(default=5, gt=0, description="seconds for one export")
    queue: int = Field(default=4096, ge=512, description="spans that wait for export; more drop the oldest")

    def faults(self) -> Iterator[str]:
        if self.endpoint and not is_address(self.endpoint, "http", "https"):
            yield "TELEMETRY_ENDPOINT: must be of the form http://host:port"
