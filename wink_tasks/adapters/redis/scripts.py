"""The commands: one Lua file each, in which `--@include _name` stands for a fragment."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A command as the server runs it, and the digest under which the server knows it."""

    name: str
    source: str
    sha: str


def source_of(name: str) -> str:
    """The text of a file in `lua/`, its fragments joined in."""
    text = resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return _INCLUDE.sub(lambda match: source_of(match[1]), text)


@cache
def script(name: str) -> Script:
    """The command `name`."""
    source = source_of(name)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
