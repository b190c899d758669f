"""The folder of metrics, seen by processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

COUNTING = """
import os
from app.core.metrics_files import prepare_multiprocess
prepare_multiprocess()
from prometheus_client import Counter
things = Counter("things", "Things")
things.inc(1)
if child := os.fork():
    things.inc(10)
    os.waitpid(child, 0)
    print(os.getpid(), child)
else:
    things.inc(100)
    os._exit(0)
"""


def test_a_forked_child_counts_for_itself(tmp_path: Path) -> None:
    """What a child counts goes into a file of its own pid, what its parent counts into the parent's."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COUNTING], env=env, check=True, capture_output=True, text=True)
    parent, child = done.stdout.split()
    counted = {
        pid: [value for _, value, *_ in MmapedDict.read_all_values_from_file(str(tmp_path / f"counter_{pid}.db"))]  # type: ignore[no-untyped-call]
        for pid in (parent, child)
    }
    assert counted == {parent: [11.0], child: [100.0]}
