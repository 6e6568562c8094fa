"""The graph of a small configuration as compact text: its states as a store shows them, and every step between them.

A line `=N turn:leased,1,1,0 ... | events` is a state: of each message the state (`!` where its time has come), epoch,
deliveries, pardoned. A line `N Claim w1 turn told M` is a step from N to M. State 0 is the first.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

from specs.tla import tlc
from specs.tla.plan import configuration, module

FILE = Path(__file__).parent / "walk.txt"
NODE = re.compile(r'^(-?\d+) \[label="(.*?)"(?:,style = filled)?\];?$')
EDGE = re.compile(r"^(-?\d+) -> (-?\d+) ")
MESSAGE = re.compile(r"(turn|outcome|again) \|->\s*\[(.*?)\]", re.DOTALL)
FIELD = re.compile(r'(\w+) \|-> "?(\w*)"?')
LEDGER = re.compile(r"ledger \|-> <<(.*?)>>", re.DOTALL)
ACT = re.compile(r"^/\\ act = <<(.*?)>>\n?", re.DOTALL | re.MULTILINE)


def graph(run: str = "Walk") -> str:
    """The graph of a configuration of Mailbox, as TLC finds it."""
    return _compact(tlc.dumped("Mailbox", module("Mailbox"), configuration(run)))


def compare(found: str) -> None:
    """Raises ModelError where walk.txt is not the graph that TLC finds."""
    if not FILE.exists() or FILE.read_text("utf-8") != found:
        raise tlc.ModelError(f"{FILE.name} is not TLC's: .venv/bin/python -m specs.tla.check --traces")


def _compact(dot: str) -> str:
    labels: dict[str, str] = {}
    leads: dict[str, set[tuple[str, str]]] = {}
    arrows: list[tuple[str, str]] = []
    for line in dot.splitlines():
        if node := NODE.match(line):
            labels[node[1]] = node[2].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
        elif edge := EDGE.match(line):
            arrows.append((edge[1], edge[2]))
    plain = {node: ACT.sub("", label) for node, label in labels.items()}
    for here, there in arrows:
        act = ACT.search(labels[there])
        words = " ".join(word.strip().strip('"').replace(" ", "-") for word in act[1].split(",")) if act else ""
        leads.setdefault(plain[here], set()).add((words, plain[there]))
    return _written(next(text for node, text in plain.items() if '<<"Init">>' in labels[node]), leads)


def _written(first: str, leads: dict[str, set[tuple[str, str]]]) -> str:
    """Numbers the states as they are met, so that the text is the same whatever TLC calls them."""
    numbers, queue, states, steps = {first: 0}, deque([first]), [], []
    while queue:
        here = queue.popleft()
        states.append(f"={numbers[here]} {_shown(here)}")
        for words, there in sorted(leads.get(here, ())):
            if there not in numbers:
                numbers[there] = len(numbers)
                queue.append(there)
            steps.append(f"{numbers[here]} {words} {numbers[there]}")
    return "\n".join([*states, *steps]) + "\n"


def _shown(text: str) -> str:
    store = text[: text.index("\n/\\ ", text.index("store"))] if text.startswith("/\\ store") else text
    parts = []
    for name, body in MESSAGE.findall(store):
        field = dict(FIELD.findall(body))
        state = field["state"] + ("!" if field["due"] == "TRUE" else "")
        parts.append(f"{name}:{state},{field['epoch']},{field['deliveries']},{field['pardoned']}")
    ledger = LEDGER.search(store)
    return " ".join([*parts, "|", *re.findall(r'"(\w+)"', ledger[1] if ledger else "")])
