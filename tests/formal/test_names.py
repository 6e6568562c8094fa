"""The machine in core, the scripts and the model speak of the same actions."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

from specs.tla.plan import actions, plan, within
from wink_tasks.core.delivery import TABLE, Command

ACTION = re.compile(r"\bActions?: ((?:[A-Z]\w+(?:, )?)+)[.,;]")
MODULES = {run.module for run in plan().runs}


def in_scripts() -> set[str]:
    """What the heads of the Lua files name."""
    named: set[str] = set()
    for file in resources.files("wink_tasks.adapters.redis").joinpath("lua").iterdir():
        head = re.match(r"(?:--.*\n)+", file.read_text("utf-8"))
        assert head is not None, file.name
        for names in ACTION.findall(head[0]):
            named |= set(names.split(", "))
    return named


def in_core() -> set[str]:
    """What the table knows."""
    moves = {command for state in TABLE.values() for command in state} | {"send"}
    assert moves == set(get_args(Command))
    return {command.capitalize() for command in moves}


def in_the_model() -> set[str]:
    """The commands of all modules."""
    return {name for module in MODULES for name in actions(module, "Command") | within(module)}


def test_core_and_scripts_name_the_same_actions() -> None:
    assert in_scripts() == in_core()


def test_the_model_names_the_same_actions() -> None:
    assert in_the_model() == in_core()


def test_every_script_names_its_action_or_says_that_it_has_none() -> None:
    for file in resources.files("wink_tasks.adapters.redis").joinpath("lua").iterdir():
        if not file.name.startswith("_"):
            assert "Action: " in file.read_text("utf-8").partition("--@include")[0], file.name
