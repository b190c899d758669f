"""What the image's build makes of libraries: each module once (docs/decisions/0101)."""

import subprocess
import sys
from pathlib import Path

from deploy.docker import compile as image_compile


def test_a_loaded_module_is_byte_code_and_others_stay_source(tmp_path: Path) -> None:
    """What has byte code works without its source, and says where an error was; what was never loaded keeps its source,
    and so does a package that reads its own.
    """
    sources = {
        "library/__init__.py": "from library.used import fail as fail",
        "library/used.py": "from pathlib import Path\nassert (Path(__file__).parent / 'data.txt').exists()\n"
        "def fail():\n    import library.late\n    raise ValueError(library.late.WHY)\n",
        "library/late.py": "WHY = 'late'",
        "anyio/__init__.py": "",
        "own.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "library/data.txt").write_text("data")

    def run(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={})

    assert run("import library, anyio, own").returncode == 0
    saved = image_compile.leave_byte_code(tmp_path)
    gone = ("library/__init__.py", "library/used.py", "own.py")
    assert saved == sum(len(sources[name]) for name in gone)
    assert {name for name in sources if not (tmp_path / name).exists()} == set(gone)
    failed = run("import library, own; library.fail()").stderr
    assert "used.py" in failed
    assert "line 5, in fail" in failed
    assert failed.endswith("ValueError: late\n")
