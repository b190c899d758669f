"""What the Ingress of deploy/kubernetes lets the public reach."""

from pathlib import Path

import httpx

from tests.deploy.kustomize import build

FOLDER = Path(__file__).resolve().parents[2] / "deploy/kubernetes/overlays/production"


async def test_the_public_reaches_what_is_public_and_nothing_else(client: httpx.AsyncClient) -> None:
    """Each path of the Ingress is answered by the program; metrics, health and documentation are under none of them."""
    (ingress,) = (one for one in build(FOLDER) if one["kind"] == "Ingress")
    (rule,) = ingress["spec"]["rules"]
    prefixes = [one["path"] for one in rule["http"]["paths"] if one["pathType"] == "Prefix"]
    exact = [one["path"] for one in rule["http"]["paths"] if one["pathType"] == "Exact"]
    for path in exact:
        assert (await client.get(path)).status_code == 200, path
    for path in ("/metrics", "/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
        assert path not in exact
        assert not any(f"{path}/".startswith(f"{prefix}/") for prefix in prefixes)
    assert prefixes == ["/api/v1"]
