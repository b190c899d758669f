"""The service that is measured is the one that is shipped."""

import subprocess
import sys
from pathlib import Path

from benchmarks.shipped import DEVELOPERS

ROOT = Path(__file__).resolve().parents[2]
LOADED = """
import re, sys
from importlib.metadata import packages_distributions
found = packages_distributions()
from benchmarks.shipped import hide
hide()
import app.__main__, app.main
tops = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
print("\\n".join({re.sub("[-_.]+", "-", one).lower() for top in tops for one in found.get(top, ())}))
"""


def test_nothing_is_loaded_that_only_developers_have() -> None:
    """Every package that the API has loaded is in requirements.txt, and nothing is hidden that is."""
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= locked | {"setuptools"}, "a venv has setuptools by itself"
    assert locked.isdisjoint(DEVELOPERS)
