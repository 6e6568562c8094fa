"""What rules see in Python source and in a linter's diagnostics; findings are plain JSON objects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final

from wink_tasks.core.events import Json

LONGEST_FUNCTION: Final = 60

# The first prefix that fits a rule gives its severity.
_SEVERITIES: Final = (
    ("high", r"B012|B016|B023|E9|F50|F601|F811|F82|invalid-syntax|PLE|S102|S10[567]|S30[17]|S50[16]|S60[2458]"),
    ("low", r"A0|C901|E7(?!22)|F401|F403|F405|F841|G|PLR|RET|S101|S110|S311|SIM|long-function"),
    ("medium", r""),
)
_RANK: Final = {severity: rank for rank, severity in enumerate(("high", "medium", "low"))}
_JUMPS: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)

Fact = tuple[int, str, str]


def finding(file: str, line: int, rule: str, title: str) -> dict[str, Json]:
    """One finding; the rule alone tells how grave it is."""
    severity = next(severity for severity, rules in _SEVERITIES if re.match(rules, rule))
    return {"file": file, "line": line, "severity": severity, "title": title, "rule": rule}


def findings_from_source(path: str, text: str) -> list[dict[str, Json]]:
    """What the syntax tree of a whole file shows, except on lines that say `# noqa`."""
    try:
        tree = ast.parse(text, filename=path)
    except (SyntaxError, ValueError, RecursionError) as error:
        return [finding(path, getattr(error, "lineno", None) or 1, "invalid-syntax", f"This is not Python: {error}")]
    lines = text.split("\n")
    facts = (fact for node in ast.walk(tree) for fact in _facts(node))
    return [finding(path, *fact) for fact in facts if "# noqa" not in lines[fact[0] - 1]]


def ranked(findings: Iterable[dict[str, Json]], *, security: bool) -> list[dict[str, Json]]:
    """The gravest first, each once a line and rule. Without `security`, of the security rules only the grave ones."""
    once = {(each["file"], each["line"], each["rule"]): each for each in findings}
    kept = (each for each in once.values() if security or each["severity"] == "high" or each["rule"][0] != "S")
    return sorted(kept, key=lambda each: (_RANK[each["severity"]], each["file"], each["line"], each["rule"]))


def _facts(node: ast.AST) -> Iterator[Fact]:
    match node:
        case ast.ExceptHandler(type=None):
            yield node.lineno, "E722", "A bare `except` also catches KeyboardInterrupt and SystemExit."
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _function(node)
        case ast.Call(func=ast.Name(id="eval")):
            yield node.lineno, "S307", "`eval` runs whatever the text says."
        case ast.Call(func=ast.Name(id="exec")):
            yield node.lineno, "S102", "`exec` runs whatever the text says."
        case ast.Call(keywords=[*_, ast.keyword(arg="shell", value=ast.Constant(value=True)), *_]):
            pass
        case ast.Compare(comparators=[ast.Constant(value=None)], ops=[ast.Eq() | ast.NotEq()]):
            yield node.lineno, "E711", "`==` with None may be overloaded: write `is None` or `is not None`."
    for block in ("body", "orelse", "finalbody"):
        yield from _unreachable(getattr(node, block, None))
