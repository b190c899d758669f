"""What a process of the API has loaded."""

import json
import os
from pathlib import Path

import pytest

from tests.hostile.process import ROOT, ApiProcess
from tests.support import API

# Of other processes, of partners that nobody has set, of what is loaded where it is used: tens of MB, and of seconds.
NOT_OF_THE_API = {
    "aiobotocore", "aiohttp", "alembic", "arq", "botocore", "celery", "fontTools", "gql", "grpc", "gunicorn", "kombu",
    "lxml", "openpyxl", "PIL", "reportlab", "uvicorn_worker", "zeep",
}  # fmt: skip
TELL = """
import atexit, json, pathlib, sys
atexit.register(lambda: pathlib.Path("modules.json").write_text(json.dumps(sorted(sys.modules))))
"""


@pytest.mark.usefixtures("settings")
async def test_a_process_of_the_api_loads_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    """Neither for its start nor for requests: known, unknown, refused, and those for its metrics and its pages."""
    (tmp_path / "sitecustomize.py").write_text(TELL)
    api = ApiProcess(tmp_path, {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))})
    try:
        await api.start()
        for path in ("/health/ready", "/metrics", f"{API}/doctors", f"{API}/users/me", f"{API}/nothing", "/docs"):
            assert (await api.get(path)).status < 500
    finally:
        api.stop()
    loaded = {name.partition(".")[0] for name in json.loads((tmp_path / "modules.json").read_text())}
    assert "fastapi" in loaded
    assert loaded & NOT_OF_THE_API == set()
