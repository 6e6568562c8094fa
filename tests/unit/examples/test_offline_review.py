"""The offline reviewer and the example's tools together: the loop that workers run, in a few lines."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from wink_tasks import ToolError
from wink_tasks.adapters.providers import offline
from wink_tasks.adapters.providers.offline import OfflineReviewer
from wink_tasks.core.log import Log
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, UserSaid
from wink_tasks.examples.code_review import tools
from wink_tasks.examples.code_review.models import Review
from wink_tasks.examples.code_review.workspace import Reviewed
from wink_tasks.ports.provider import Request, ToolSpec
from wink_tasks.testing import tool_context

TOOLS = {"list_files": tools.list_files, "read_file": tools.read_file, "lint": tools.lint}


class Reviews:
    """One session in one workspace."""

    def __init__(self, workspace):
        self.context = tool_context(resources={Reviewed: workspace})
        self.transcript = Log()
        self.responses = []

    def __call__(self, content):
        self.transcript = self.transcript.added(UserSaid(content))
        self.responses = []
        while True:
            response = asyncio.run(OfflineReviewer().complete(self.request()))
            self.responses.append(response)
            self.transcript = self.transcript.added(ModelSaid(response.text, response.calls))
            if not response.calls:
                return Review.model_validate_json(response.text)
            for call in response.calls:
                self.transcript = self.transcript.added(self.answer(call))

    def answer(self, call):
        try:
            value = TOOLS[call.tool](self.context, **call.arguments)
        except ToolError as error:
            return ToolAnswered(call.id, call.tool, str(error), failed=True)
        return ToolAnswered(call.id, call.tool, asdict(value))

    def request(self):
        return Request(
            prompt="code_review.review",
            model="reviewer",
            instructions="You review Python code.",
            transcript=self.transcript,
            start=0,
            tools=tuple(ToolSpec(name=name, description="", parameters={}) for name in TOOLS),
            output=Review.model_json_schema(),
            settings={},
            max_output_tokens=None,
            digest="",
        )

    @property
    def calls(self):
        return [call for response in self.responses for call in response.calls]


@pytest.fixture
def sample():
    return Reviews(Reviewed.from_environment())


def found(review):
    return {(each.file, each.line, each.rule) for each in review.findings}


def test_the_sample_is_full_of_defects(sample):
    review = sample("Review the code in orders. Look for security holes.")
    assert len(review.files_read) == 14
    assert {
        ("orders/pricing.py", 26, "S307"),
        ("orders/invoices.py", 17, "S602"),
        ("orders/store.py", 21, "S608"),
        ("orders/config.py", 6, "S105"),
        ("orders/config.py", 21, "E722"),
        ("orders/models.py", 24, "B006"),
        ("orders/models.py", 30, "E711"),
        ("orders/models.py", 4, "F401"),
        ("orders/importer.py", 7, "F403"),
        ("orders/importer.py", 11, "SIM115"),
        ("orders/importer.py", 32, "S102"),
        ("orders/payments.py", 32, "S101"),
        ("orders/pricing.py", 13, "long-function"),
        ("orders/store.py", 43, "unreachable"),
        ("orders/reports.py", 14, "A002"),
    } <= found(review)
    assert not [each for each in review.findings if each.file == "orders/dates.py"]
    assert [each.severity for each in review.findings] == sorted(
        (each.severity for each in review.findings), key=["high", "medium", "low"].index
    )
    assert len(found(review)) == len(review.findings)
    assert review.summary.startswith(f"Findings: {len(review.findings)} (")
    assert "files: 14 of orders" in review.summary


def test_it_reads_before_it_judges_and_asks_for_several_files_at_once(sample):
    sample("Review the code in orders.")
    asked = [[call.tool for call in response.calls] for response in sample.responses]
    assert asked == [["list_files"], *[["read_file", "lint"] * 4] * 3, ["read_file", "lint"] * 2, []]
    assert len({call.id for call in sample.calls}) == len(sample.calls)
    assert [response.stop for response in sample.responses] == ["tools"] * 5 + ["end"]


def test_the_same_code_gives_the_same_review(sample):
    again = Reviews(sample.context.resources[Reviewed])
    assert sample("Review the code in orders.") == again("Review the code in orders.")


def test_without_a_question_for_security_only_the_grave_holes_are_told(sample):
    plain = found(sample("Review the code in orders."))
    secure = found(Reviews(sample.context.resources[Reviewed])("Review the code in orders. Look for security holes."))
    assert plain < secure
    assert ("orders/invoices.py", 17, "S602") in plain
    assert ("orders/payments.py", 32, "S101") in secure - plain


def test_another_folder_gives_another_review(tmp_path):
    (tmp_path / "security").mkdir()
    (tmp_path / "security" / "a.py").write_text("import os\nassert 1\n")
    review = Reviews(Reviewed.at(tmp_path))("Review the code in security.")
    assert found(review) == {("security/a.py", 1, "F401")}
    assert review.files_read == ["security/a.py"]


def test_sound_code_gives_no_findings(tmp_path):
    (tmp_path / "a.py").write_text("def add(a, b):\n    return a + b\n")
    review = Reviews(Reviewed.at(tmp_path))("Review the code in ..")
    assert review.findings == []
    assert review.summary == "Findings: 0 (0 high, 0 medium, 0 low); files: 1 of . (2 lines)."


def test_one_file_can_be_reviewed(sample):
    assert sample("Review the code in orders/config.py.").files_read == ["orders/config.py"]


def test_a_folder_without_python_is_reviewed_as_empty(tmp_path):
    review = Reviews(Reviewed.at(tmp_path))("Review the code in ..")
    assert (review.findings, review.files_read) == ([], [])
    assert review.summary.startswith("Nothing was reviewed: no file below '.' matches")
    (tmp_path / "notes.md").write_text("x")
    review = Reviews(Reviewed.at(tmp_path))("Review the code in notes.md.")
    assert review.summary == "Nothing was reviewed: there is no Python file in notes.md."


def test_files_that_cannot_be_read_are_named_and_skipped(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\0")
    (tmp_path / "b.py").write_text("import os\n")
    review = Reviews(Reviewed.at(tmp_path))("Review everything.")
    assert review.files_read == ["b.py"]
    assert found(review) == {("b.py", 1, "F401")}
    assert "a.py was skipped: 'a.py' is a binary file" in review.summary


def test_a_long_file_is_only_linted(tmp_path):
    (tmp_path / "a.py").write_text("import os\n" + "eval = print\n" + "# a comment\n" * 9_000 + "return\nx = 1\n")
    review = Reviews(Reviewed.at(tmp_path))("Review everything.")
    assert "a.py is too long to be read whole: it was only linted." in review.summary
    assert ("a.py", 1, "F401") in found(review)
    assert "unreachable" not in {each.rule for each in review.findings}


def test_at_most_forty_files_are_read(tmp_path):
    for number in range(offline.MOST_FILES + 1):
        (tmp_path / f"f{number:02}.py").write_text("import a, b, c\n" * 3)
    review = Reviews(Reviewed.at(tmp_path))("Review everything.")
    assert len(review.files_read) == offline.MOST_FILES
    assert "Other files were not looked at: a review takes 40 files or 400000 characters" in review.summary
    assert len(review.findings) == offline.MOST_FINDINGS
    assert "Only the gravest 100 are listed." in review.summary


def test_a_review_stops_reading_before_it_becomes_too_large(tmp_path):
    for number in range(9):
        (tmp_path / f"f{number}.py").write_text(("# " + "x" * 97 + "\n") * 900)
    review = Reviews(Reviewed.at(tmp_path))("Review everything.")
    assert len(review.files_read) == 8
    assert "Other files were not looked at" in review.summary


def test_a_later_review_of_the_session_starts_over_and_knows_the_earlier_one(sample):
    first = sample("Review the code in orders/notify.")
    ids = {call.id for call in sample.calls}
    second = sample("Review the code in orders/config.py.")
    assert second.files_read == ["orders/config.py"]
    assert second.summary.startswith(f"Findings of the earlier review: {len(first.findings)}. Findings: ")
    assert not ids & {call.id for call in sample.calls}


def test_tokens_are_counted_as_the_transcript_grows(sample):
    sample("Review the code in orders.")
    sent = [response.usage.input_tokens for response in sample.responses]
    assert sent == sorted(set(sent))
    assert all(response.usage.output_tokens > 0 for response in sample.responses)
    assert {(response.usage.requests, response.usage.cost_micros) for response in sample.responses} == {(1, 0)}


def test_findings_that_cannot_be_recorded_are_told_all_the_same(sample, monkeypatch):
    def record_findings(_, findings):
        raise ToolError(f"the disk is full of {len(findings)}")

    monkeypatch.setitem(TOOLS, "record_findings", record_findings)
    review = sample("Review the code in orders/config.py.")
    assert review.findings
    assert review.summary.endswith(f" They were not recorded: the disk is full of {len(review.findings)}.")
    assert [call.tool for call in sample.calls].count("record_findings") == 1
