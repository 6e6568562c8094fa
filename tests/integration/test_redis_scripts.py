"""The rules that every Lua file keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wink_tasks.adapters.redis import keys, scripts
from wink_tasks.core.ids import RESERVED

LUA = Path(scripts.__file__).parent / "lua"
FILES = sorted(LUA.glob("*.lua"))
COMMANDS = [file for file in FILES if not file.name.startswith("_")]
SINCE_REDIS_7 = ("FCALL", "EXPIRETIME", "LMPOP", "ZMPOP", "SINTERCARD", "HEXPIRE", "HGETEX", "HSETEX", "XACKDEL")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_short_and_says_what_it_does(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 75
    assert max(map(len, text.splitlines())) <= 125
    if file in COMMANDS:
        head = text.partition("\n\n")[0].partition("--@include")[0]
        assert head.startswith(f"-- {file.stem}: ")
        assert "Action: " in head
        assert all(f"\n-- {part}" in head for part in ("Guarantee: ", "KEYS  1", "ARGV  1", "Answer "))
    else:
        assert text.startswith("-- Fragment: ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_needs_nothing_newer_than_redis_6_2_and_negates_no_variable(file: Path) -> None:
    code = re.sub(r"--.*", "", file.read_text())
    assert not [command for command in SINCE_REDIS_7 if command in code]
    assert not re.search(r"[=(,]\s*-[a-z]", code), "-0 is refused by some servers: write 0 - x"


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_fragments_are_joined_once_and_in_the_order_of_their_needs(file: Path) -> None:
    source = scripts.script(file.stem).source
    assert "--@include" not in source
    included = re.findall(r"--@include (\w+)", file.read_text())
    assert len(included) == len(set(included))
    for place, name in enumerate(included):
        needs = re.search(r"Needs ([^.]*)\.", (LUA / f"{name}.lua").read_text())
        assert set(re.findall(r"_\w+", needs[1]) if needs else []) <= set(included[:place])


def test_every_key_that_bears_no_tenant_has_a_name_that_no_tenant_may_have() -> None:
    assert set(re.findall(r"\bB([a-z]+)\b", keys.__doc__ or "")) >= {"message", "home", "dead", "due", "leased"}
    assert set(re.findall(r"\bB([a-z]+)\b", keys.__doc__ or "")) <= RESERVED
