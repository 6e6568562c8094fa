"""What the reviewer can do: plain functions, which `agents` declares as tools. None of these writes anything."""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from itertools import islice

from wink_tasks import ToolContext, ToolError
from wink_tasks.examples.code_review.models import Diagnostic, FileList, FileText, LintReport
from wink_tasks.examples.code_review.workspace import Reviewed

MOST_FILES = 500
MOST_CHARACTERS = 100_000
MOST_DIAGNOSTICS = 200
LINT_SECONDS = 30.0

LEFT_OUT = {"__pycache__", "node_modules", "site-packages", "venv"}
RULES = "A,B,BLE,C901,E7,E9,F,G,PLE,PLR0913,PLR1704,PLW,RET503,RUF008,RUF009,S,SIM115"
_NEWLINE = re.compile(r"\r\n|\r|\n")


def list_files(ctx: ToolContext, path: str = ".", pattern: str = "**/*.py") -> FileList:
    """List the files of a folder and of all folders in it.

    What is hidden or may not be read, virtual environments and caches are left out. `pattern` is matched against
    the path below the folder; its `*` also matches slashes.
    """
    workspace = ctx.resources[Reviewed]
    if workspace.is_file(path):
        return FileList([posixpath.normpath(path)], more=False)
    if not workspace.is_folder(path):
        raise ToolError(f"there is no folder {path!r}: call list_files(path='.') to see all files")
    top = posixpath.normpath(path)
    anywhere = pattern.replace("**/", "")
    matching = (
        file
        for file in _walk(ctx, workspace, path)
        for below in [file if top == "." else posixpath.relpath(file, top)]
        if fnmatchcase(below, pattern) or fnmatchcase(below, anywhere)
    )
    found = list(islice(matching, MOST_FILES + 1))
    if not found:
        raise ToolError(f"no file below {path!r} matches {pattern!r}: try pattern='*', or path='.'")
    return FileList(found[:MOST_FILES], more=len(found) > MOST_FILES)


def _walk(ctx: ToolContext, workspace: Reviewed, top: str) -> Iterator[str]:
    for file in workspace.walk(top, skip=_is_left_out):
        ctx.check()
        yield file


def _is_left_out(name: str) -> bool:
    # A name that does not print is not UTF-8, which JSON could not carry, or made to confuse.
    return name.startswith(".") or name in LEFT_OUT or not name.isprintable()


def read_file(ctx: ToolContext, path: str, start: int = 1, lines: int = 400) -> FileText:
    """Read part of a text file. Lines count from 1; the answer tells how many the file has, so that you can go on."""
    if start < 1 or lines < 1:
        raise ToolError(f"start={start}, lines={lines}: both count from 1")
    every = _NEWLINE.split(ctx.resources[Reviewed].text(path))
    if not every[-1]:
        every.pop()
    if start > max(1, len(every)):
        raise ToolError(f"{path!r} has {len(every)} lines: there is no line {start}")
    taken: list[str] = []
    room = MOST_CHARACTERS
    for number, line in enumerate(every[start - 1 : start - 1 + lines], start):
        room -= len(line)
        if room < 0:
            break
        taken.append(f"{number}\t{line}")
    if every and not taken:
        raise ToolError(f"line {start} of {path!r} is too long to have been written by hand: go on with other files")
    return FileText(path, start, start + len(taken) - 1, len(every), "\n".join(taken))


def lint(ctx: ToolContext, path: str) -> LintReport:
    """Run the linter ruff on a Python file: likely bugs, unsafe calls, unused names, too complex functions."""
    if not path.endswith((".py", ".pyi")):
        raise ToolError(f"{path!r} is no Python file: read it with read_file")
    source = ctx.resources[Reviewed].text(path)
    # The file goes in through stdin: ruff opens nothing itself, neither the file nor a configuration or a cache.
    command = [_ruff(), "check", "--isolated", "--no-cache", "--exit-zero", "--quiet"]
    rules = [f"--select={RULES}", "--per-file-ignores=__init__.py:F401", "--target-version=py314"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; the path is an argument, not part of a shell's line
            [*command, *rules, "--output-format=json", f"--stdin-filename={path}", "-"],
            input=source.encode(),
            capture_output=True,
            check=True,
            timeout=LINT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"ruff took longer than {LINT_SECONDS:g} s on {path!r}: review it without") from error
    except subprocess.CalledProcessError as error:
        raise ToolError(f"ruff failed on {path!r}: {error.stderr.decode(errors='replace')[:500]}") from error
    found = [
        Diagnostic(each["location"]["row"], each["code"] or "invalid-syntax", each["message"].partition("\n")[0])
        for each in json.loads(done.stdout)
    ]
    return LintReport(path, found[:MOST_DIAGNOSTICS], more=len(found) > MOST_DIAGNOSTICS)


def _ruff() -> str:
    try:
        return str(import_module("ruff.__main__").find_ruff_bin())
    except (ImportError, FileNotFoundError) as error:
        raise ToolError(
            "ruff is not installed where tools run: pip install 'wink-tasks[demo]'. Review without it"
        ) from error
