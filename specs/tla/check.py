"""Checks the model: `make model`. With --json the results as JSON; with --traces, writes traces/ and walk.txt anew."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from specs.tla import tlc, traces, walk
from specs.tla.plan import Mutant, Run, actions, asking, checked, configuration, module, mutated, plan
from specs.tla.tlc import ModelError

T = TypeVar("T")
R = TypeVar("R")
Row = dict[str, Any]


def each(job: Callable[[T], R], things: Iterable[T], *, at_once: int) -> list[R]:
    """Do it for all. Raises ModelError with all that went wrong."""

    def attempt(thing: T) -> R | ModelError:
        try:
            return job(thing)
        except (ModelError, LookupError) as error:
            return ModelError(str(error))

    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(attempt, things))
    if wrong := [str(one) for one in done if isinstance(one, ModelError)]:
        raise ModelError("\nmake model: ".join(wrong))
    return [one for one in done if not isinstance(one, ModelError)]


def check(run: Run) -> tuple[Row, dict[str, int]]:
    """A run passes when nothing is violated, nothing is left to look at, and it is as large as it was."""
    result = tlc.run(run.module, module(run.module), configuration(run.name), workers=2)
    if not result.passed:
        raise ModelError(f"{run.name}: {result.broken or 'no end'} is violated\n{result.output[-4000:]}")
    if result.states != run.states:
        raise ModelError(f"{run.name} has {result.states} distinct states, plan.toml says {run.states}: is that meant?")
    row = {"run": run.name, "states": result.states, "depth": result.depth, "seconds": round(result.seconds, 1)}
    return row | {"checked": checked(run.name)}, result.generated


def witness(asked: tuple[Run, str]) -> str:
    """What must be reachable is reached."""
    run, name = asked
    result = tlc.run(run.module, module(run.module), asking(run, name))
    if not result.broken:
        raise ModelError(f"{run.name}: {name} holds, so the model does not reach what it is about")
    return f"{run.name}.{name}"


def catch(mutant: Mutant) -> Row:
    """A mutant is caught when what is named for it is violated."""
    run = plan().run(mutant.run)
    result = tlc.run(run.module, mutated(mutant), asking(run, mutant.dies_by))
    if result.broken not in (mutant.dies_by, "Temporal"):
        raise ModelError(f"mutant {mutant.name!r} lives: {mutant.dies_by} holds in {run.name}")
    return {
        "mutant": mutant.name,
        "run": run.name,
        "dies_by": mutant.dies_by,
        "trace": result.trace() if mutant.lua else [],
    }


def everything() -> dict[str, Any]:
    """All results. Raises ModelError at the first that is not as it should be."""
    began = time.monotonic()
    checks = each(check, plan().runs, at_once=1)
    generated: dict[tuple[str, str], int] = {}
    for run, (_, seen) in zip(plan().runs, checks, strict=True):
        for name, times in seen.items():
            generated[run.module, name] = generated.get((run.module, name), 0) + times
    for name in sorted({run.module for run in plan().runs}):
        if idle := sorted(action for action in actions(name) if not generated.get((name, action))):
            raise ModelError(f"{name}: never happened in any run: {', '.join(idle)}")
    witnesses = each(witness, [(run, name) for run in plan().runs for name in run.witnesses], at_once=2)
    mutants = each(catch, plan().mutants, at_once=2)
    return {
        "runs": [row for row, _ in checks],
        "witnesses": witnesses,
        "mutants": mutants,
        "seconds": round(time.monotonic() - began, 1),
    }


def table(results: dict[str, Any]) -> Iterable[str]:
    """The results for people."""
    yield f"{'configuration':<14}{'states':>8}{'depth':>7}{'seconds':>9}  checked"
    for row in results["runs"]:
        yield f"{row['run']:<14}{row['states']:>8}{row['depth']:>7}{row['seconds']:>9}  {' '.join(row['checked'])}"
    yield f"{len(results['witnesses'])} witnesses reached: {', '.join(results['witnesses'])}"
    for row in results["mutants"]:
        yield f"  {row['mutant']:<52} caught by {row['dies_by']} ({row['run']})"
    yield f"{len(results['mutants'])} mutants, {len(results['mutants'])} caught; {results['seconds']} s"


def main(arguments: list[str]) -> int:
    """Check, print, compare what is kept."""
    try:
        results = everything()
        graph = walk.graph()
        if "--traces" in arguments:
            traces.write(results["mutants"])
            walk.FILE.write_text(graph, "utf-8")
        traces.compare(results["mutants"])
        walk.compare(graph)
    except (ModelError, LookupError) as error:
        print(f"make model: {error}", file=sys.stderr)
        return 1
    print(json.dumps(results) if "--json" in arguments else "\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
