"""What rules see in Python source and in a linter's diagnostics; findings are plain JSON objects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from wink_tasks.core.events import Json

LONGEST_FUNCTION: Final = 60

# The first pattern that a rule begins with gives its severity.
_SEVERITIES: Final = (
    ("high", r"B012|B016|B023|E9|F50|F601|F811|F82|PLE|S102|S10[567]|S30[17]|S50[16]|S60[2458]|invalid-syntax"),
    ("low", r"A0|C901|E7(?!22)|F40|F841|G|PLR|RET|S101|S110|S311|SIM|long-function"),
    ("medium", r""),
)
_RANK: Final = {severity: rank for rank, severity in enumerate(("high", "medium", "low"))}
_SECURITY: Final = re.compile(r"S\d")
_JUMPS: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_MUTABLE: Final = (ast.List, ast.Dict, ast.Set)
_DANGEROUS: Final = {"eval": "S307", "exec": "S102"}

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
    facts = (fact for node in ast.walk(tree) for fact in (*_facts(node), *_unreachable(node)))
    return [finding(path, *fact) for fact in facts if "# noqa" not in lines[fact[0] - 1]]


def ranked(findings: Iterable[dict[str, Json]], *, security: bool) -> list[dict[str, Json]]:
    """The gravest first, each rule once a line. Without `security`, of the security rules only the grave ones."""
    once = {(each["file"], each["line"], each["rule"]): each for each in findings}
    kept = (
        each for each in once.values() if security or each["severity"] == "high" or not _SECURITY.match(each["rule"])
    )
    return sorted(kept, key=lambda each: (_RANK[each["severity"]], each["file"], each["line"], each["rule"]))


def _facts(node: ast.AST) -> Iterator[Fact]:
    match node:
        case ast.ExceptHandler(type=None):
            yield node.lineno, "E722", "A bare `except` also catches KeyboardInterrupt and SystemExit."
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _function(node)
        case ast.Call(func=ast.Name(id=("eval" | "exec") as name)):
            yield node.lineno, _DANGEROUS[name], f"`{name}` runs whatever its text says."
        case ast.keyword(arg="shell", value=ast.Constant(value=True)):
            yield (
                node.lineno,
                "S602",
                "A shell reads this command: what stands in a name or a path can run as a program.",
            )
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            yield node.lineno, "E711", "`==` may be overloaded: compare with None by `is` or `is not`."


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Fact]:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > LONGEST_FUNCTION:
        title = f"`{node.name}` has {length} lines: a function of more than {LONGEST_FUNCTION} does too much at once."
        yield node.lineno, "long-function", title
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if isinstance(default, _MUTABLE):
            yield default.lineno, "B006", f"All calls of `{node.name}` share this default, and what they put into it."


def _unreachable(node: ast.AST) -> Iterator[Fact]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        statements = block if isinstance(block, list) else []
        for jump, after in pairwise(statements):
            # A `yield` there is how a function that yields nothing is made a generator.
            if isinstance(jump, _JUMPS) and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Yield)):
                yield after.lineno, "unreachable", "This is never run: the statement before it always leaves the block."
