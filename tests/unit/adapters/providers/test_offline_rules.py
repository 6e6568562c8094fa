"""What the rules see in source text, and in which order they tell it."""

from __future__ import annotations

from textwrap import dedent

import pytest

from wink_tasks.adapters.providers.offline_rules import LONGEST_FUNCTION, finding, findings_from_source, ranked


def seen(source):
    return sorted((each["line"], each["rule"]) for each in findings_from_source("a.py", dedent(source)))


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("try:\n    f()\nexcept:\n    pass\n", [(3, "E722")]),
        ("try:\n    f()\nexcept OSError:\n    pass\n", []),
        ("def f(a, b=[], *, c={}, d=None, e=()):\n    pass\n", [(1, "B006"), (1, "B006")]),
        ("async def f(a={1}):\n    pass\n", [(1, "B006")]),
        ("eval(x)\nexec(x)\nx.eval(y)\n", [(1, "S307"), (2, "S102")]),
        ("run(x, check=True, shell=True)\nrun(x, shell=False)\n", [(1, "S602")]),
        ("x == None\nx != None\nx is None\nx == 0\n", [(1, "E711"), (2, "E711")]),
        ("def f():\n    return 1\n    g()\n", [(3, "unreachable")]),
        ("for x in y:\n    continue\n    g()\nelse:\n    raise z\n    g()\n", [(3, "unreachable"), (6, "unreachable")]),
        ("def f():\n    return\n    yield\n", []),
        ("f = lambda: 1 if x else 2\n", []),
        ("try:\n    f()\nexcept:  # noqa: E722\n    pass\n", []),
        ("def f(:\n", [(1, "invalid-syntax")]),
        ("x = '\0'", [(1, "invalid-syntax")]),
        ("", []),
    ],
)
def test_facts_of_the_syntax_tree(source, facts):
    assert seen(source) == facts


def test_a_function_may_have_sixty_lines():
    def function(lines):
        return "def f():\n" + "    x()\n" * (lines - 1)

    assert seen(function(LONGEST_FUNCTION)) == []
    assert findings_from_source("a.py", function(LONGEST_FUNCTION + 1)) == [
        {
            "file": "a.py",
            "line": 1,
            "severity": "low",
            "title": "`f` has 61 lines: a function of more than 60 does too much at once.",
            "rule": "long-function",
        }
    ]


@pytest.mark.parametrize(
    ("rule", "severity"),
    [
        *[(rule, "high") for rule in ("F821", "S602", "S105", "PLE0101", "invalid-syntax", "B023", "S307")],
        *[(rule, "medium") for rule in ("B006", "E722", "BLE001", "S324", "unreachable", "PLW2901")],
        *[(rule, "low") for rule in ("F401", "E711", "A001", "C901", "SIM115", "long-function")],
    ],
)
def test_the_rule_tells_how_grave_it_is(rule, severity):
    assert finding("a.py", 1, rule, "")["severity"] == severity


def test_the_gravest_come_first_and_each_once():
    findings = [
        finding("b.py", 1, "S602", "linter's"),
        finding("a.py", 9, "F401", ""),
        finding("a.py", 3, "B006", ""),
        finding("a.py", 2, "B006", ""),
        finding("b.py", 1, "S602", "ours"),
    ]
    assert [(each["file"], each["line"], each["title"]) for each in ranked(findings, security=False)] == [
        ("b.py", 1, "ours"),
        ("a.py", 2, ""),
        ("a.py", 3, ""),
        ("a.py", 9, ""),
    ]


def test_the_finer_security_rules_are_for_those_who_ask():
    findings = [finding("a.py", 1, rule, "") for rule in ("S101", "S324", "S602", "SIM115")]
    assert {each["rule"] for each in ranked(findings, security=False)} == {"S602", "SIM115"}
    assert {each["rule"] for each in ranked(findings, security=True)} == {"S101", "S324", "S602", "SIM115"}
