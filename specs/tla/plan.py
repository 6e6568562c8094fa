"""What is to be checked: the runs and the mutants of plan.toml, and what the modules themselves name."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
CHECKED = re.compile(r"^(?:INVARIANTS|PROPERTIES) (.*)$", re.MULTILINE)
DISJUNCT = re.compile(r"^  \\/ (?:\\E [^:]*: )?(\w+)", re.MULTILINE)
WITHIN = re.compile(r"^\\\* Action: (\w+), within", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A configuration, the number of its distinct states, and what must be reachable in it (names of invariants)."""

    name: str
    module: str
    states: int
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """A piece of Lua, and what the mutant has instead of it. `file` is needed where several files have the piece."""

    find: str
    replace: str
    file: str = ""


@dataclass(frozen=True)
class Mutant:
    """An edit of the module, checked in the configuration `run`: it must break `dies_by`. `lua` is the same."""

    name: str
    run: str
    find: str
    replace: str
    dies_by: str
    lua: tuple[Edit, ...] = ()
    without_lua: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything."""

    runs: tuple[Run, ...]
    mutants: tuple[Mutant, ...] = field(default=())

    def run(self, name: str) -> Run:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)


@cache
def plan() -> Plan:
    """What plan.toml says."""
    told = tomllib.loads((HERE / "plan.toml").read_text("utf-8"))
    runs = [Run(**{**run, "witnesses": tuple(run.get("witnesses", ()))}) for run in told["run"]]
    mutants = [Mutant(**{**one, "lua": tuple(Edit(**edit) for edit in one.get("lua", ()))}) for one in told["mutant"]]
    return Plan(tuple(runs), tuple(mutants))


@cache
def module(name: str) -> str:
    """The text of a module."""
    return (HERE / f"{name}.tla").read_text("utf-8")


@cache
def configuration(run: str) -> str:
    """The text of a configuration."""
    return (HERE / f"{run}.cfg").read_text("utf-8")


def checked(run: str) -> list[str]:
    """The invariants and properties that a configuration checks."""
    return " ".join(CHECKED.findall(configuration(run))).split()


def asking(run: Run, name: str) -> str:
    """The configuration of `run`, with `name` as all that is checked."""
    body = re.search(rf"^{name} ==(.*?)(?:\n\n|\n\w+ ==|\n\\\*|\Z)", module(run.module), re.MULTILINE | re.DOTALL)
    if body is None:
        raise LookupError(f"{run.module}.tla defines no {name}")
    kind = "PROPERTY" if re.search(r"\[\]\[|~>", body[1]) else "INVARIANT"
    return CHECKED.sub("", configuration(run.name)) + f"\n{kind} {name}\n"


def mutated(mutant: Mutant) -> str:
    """The module with the mutant's edit, which must fit exactly once."""
    text = module(plan().run(mutant.run).module)
    if text.count(mutant.find) != 1:
        raise LookupError(f"mutant {mutant.name}: {mutant.find!r} is {text.count(mutant.find)} times in the module")
    return text.replace(mutant.find, mutant.replace)


def actions(name: str, part: str = "") -> set[str]:
    """The actions of a module: "Command", "Environment", or both."""
    parts = re.findall(rf"^{part or '(?:Command|Environment)'} ==\n(.*?)\n\n", module(name), re.MULTILINE | re.DOTALL)
    return set(DISJUNCT.findall("\n".join(parts)))


def within(name: str) -> set[str]:
    """Actions that only happen as part of others."""
    return set(WITHIN.findall(module(name)))
