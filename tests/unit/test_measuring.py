"""The tests' coverage survives what they do to processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.workers import PATIENCE, ROOT

INTERRUPTED = """
import signal
from wink_tasks.core.kinds import are_models

class Alarm(Exception):
    pass

def ring(*_):
    raise Alarm

signal.signal(signal.SIGALRM, ring)
for n in range(1000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + n * 1e-7)
        while True:
            are_models([])
    except Alarm:
        pass
print("came to its end")
"""


def test_an_exception_out_of_a_signal_handler_leaves_no_lock_of_coverage_taken(tmp_path: Path):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    measured = [sys.executable, "-m", "coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}", "interrupted.py"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    env["COVERAGE_FILE"] = str(tmp_path / "data")
    with subprocess.Popen(measured, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()  # one that hangs does not hear SIGTERM
    assert (process.returncode, out) == (0, "came to its end\n")
    assert list(tmp_path.glob("data.*"))
