"""Schemathesis on the live service: what `/openapi.json` says is what the service does."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.hostile.process import ROOT, ApiProcess
from tests.support import World

SEED = 20261122
EXAMPLES = 3


async def schemathesis(api: ApiProcess, directory: Path, *arguments: str) -> str:
    """What a run with all checks in all phases found; empty when it found nothing."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(ROOT / "schemathesis.toml"),
        "run",
        f"{api.url}/openapi.json",
        "--checks=all",
        f"--max-examples={EXAMPLES}",
        f"--seed={SEED}",
        "--continue-on-failure",
        "--no-shrink",
        "--warnings=off",
        *arguments,
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert "Stateful" in output, output
    return "" if process.returncode == 0 else output


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_nothing_is_found_as_superadmin(api: ApiProcess, world: World, tmp_path: Path) -> None:
    """Every check in every phase, stateful too, with the rights to everything, finds nothing."""
    superadmin = await world.superadmin()
    for _ in range(3):
        await world.doctor()
    found = await schemathesis(api, tmp_path, "-H", f"Authorization: {superadmin.headers['Authorization']}")
    assert not found, found
    assert await world.scalar("SELECT count(*) FROM users") > 1, "it got nowhere"


async def test_the_document_is_good_to_read(api: ApiProcess) -> None:
    """Operations have short unique names, parameters are never null, and every refusal is a problem."""
    document = (await api.get("/openapi.json")).json()
    paths = {path: item for path, item in document["paths"].items() if path.startswith("/api/v1/")}
    operations = [operation for item in paths.values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and "api_v1" not in name for name in names)
    for operation in operations:
        assert not [one for one in operation.get("parameters", []) if "anyOf" in one["schema"]]
        refusals = [response for status, response in operation["responses"].items() if status[0] in "45"]
        assert refusals
        assert all(list(response["content"]) == ["application/problem+json"] for response in refusals)
    signing_in, flows = paths["/api/v1/auth/token"]["post"], document["components"]["securitySchemes"]
    assert {"200", "400", "401"} <= signing_in["responses"].keys()
    assert "/TokenProblem" in str(signing_in["responses"]["400"])
    assert "mfa_required" in signing_in["responses"]["400"]["description"]
    assert flows["OAuth2PasswordBearer"]["flows"].keys() == {"password", "clientCredentials"}
    assert "409" in paths["/api/v1/jobs/{job_id}/result"]["get"]["responses"]
    assert "415" in paths["/api/v1/doctors/{doctor_id}/photo"]["put"]["responses"]
    assert "/Unready" in str(document["paths"]["/health/ready"]["get"]["responses"]["503"])
    assert "Body_" not in json.dumps(document)
    booked = paths["/api/v1/appointments"]["post"]["responses"]["201"]
    assert {"cancel", "get_appointment", "move"} <= booked["links"].keys()
