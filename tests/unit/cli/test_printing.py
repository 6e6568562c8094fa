from __future__ import annotations

import re

import pytest

from tests.unit.cli.conftest import Command
from wink_tasks import Usage
from wink_tasks.cli.printing import console, moment, print_json, print_table, usage_document, usage_line
from wink_tasks.cli.review import print_review, what_next
from wink_tasks.examples.code_review.models import Finding, Review


def test_a_moment_is_local_time_and_none_is_a_dash():
    assert moment(0.0) == "-"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", moment(1_700_000_000.0))


def test_usage_for_people_and_for_machines():
    usage = Usage(input_tokens=1_200, output_tokens=34, requests=2, cost_micros=12_300)
    assert usage_line(usage) == "2 model calls, 1,200 input and 34 output tokens, 0.0123 USD"
    assert usage_line(Usage()) == "0 model calls, 0 input and 0 output tokens"
    assert usage_document(usage)["total_tokens"] == 1_234
    assert usage_document(usage)["cost_usd"] == 0.0123


def test_no_cell_is_cut_and_brackets_are_text(capsys: pytest.CaptureFixture[str]):
    print_table(console(), ("id", "what"), [("x" * 300, "[red]list[int][/red]")])
    shown = capsys.readouterr().out
    assert shown.count("x") == 300
    assert "[red]list[int][/red]" in shown
    print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'


def test_a_terminal_has_its_own_width(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert console().width == 50


def test_a_review_is_a_table_and_its_summary(capsys: pytest.CaptureFixture[str]):
    finding = Finding(file="a.py", line=3, severity="high", title="It is [broken].")
    print_review(console(), Review(summary="Bad.", findings=[finding], files_read=["a.py"]))
    words = capsys.readouterr().out.split()
    assert words[:4] == ["file", "line", "severity", "finding"]
    assert words[5:] == ["a.py", "3", "high", "It", "is", "[broken].", "Bad."]
    print_review(console(), Review(summary="Nothing found.", findings=[], files_read=["a.py"]))
    assert capsys.readouterr().out == "Nothing found.\n"


def test_what_to_try_next_are_commands_as_they_must_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin" / "wink")])
    told = what_next("r1", "s1", app="a:b", url="redis://x/0")
    assert "  bin/wink runs show r1\n  bin/wink sessions show s1\n" in told
    assert "export WINK_REDIS_URL=redis://x/0 CELERY_BROKER_URL=redis://x/0 WINK_APP=a:b" in told
    (tmp_path / "wink").write_text("#!/bin/sh\n")
    (tmp_path / "wink").chmod(0o755)
    assert "  wink runs show r1\n" in what_next("r1", "s1", app="a:b", url="redis://x/0")


def test_version(command: Command):
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", command("version").out)
    assert command("version", "--json").out.startswith('{\n  "version": "')


def test_an_id_is_not_broken_over_lines(capsys: pytest.CaptureFixture[str]):
    name = "1e39ff74-ca60-46cf-a0ff-6ff11c7dba77"
    print_table(console(), ("id", "reason", "error"), [(name, "r" * 100, "e " * 100)])
    assert name in capsys.readouterr().out
    print_table(console(), ("id",), [])
