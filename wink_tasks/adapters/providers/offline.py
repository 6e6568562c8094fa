"""A code reviewer without a language model: rules that speak a provider's protocol, for use without a key.

Its answer is a function of the request alone: it asks for the tools, and derives its findings from what they returned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from wink_tasks.adapters.providers.offline_rules import finding, findings_from_source, ranked
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import RequestRejectedError
from wink_tasks.core.events import Call, Json, Stop
from wink_tasks.core.limits import Usage
from wink_tasks.core.transcript import Item, ModelSaid, ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, Response

T = TypeVar("T")

MODEL: Final = "reviewer"
MOST_FILES: Final = 40
MOST_CHARACTERS: Final = 400_000
MOST_FINDINGS: Final = 100
FILES_AT_ONCE: Final = 4
MOST_LINES: Final = 5_000
"""Of one file; what a tool cuts shorter is linted only."""
BYTES_PER_TOKEN: Final = 4

_TOOLS: Final = ("list_files", "read_file", "lint")
RECORDS: Final = "record_findings"
_OURS: Final = "offline-"
_PATH: Final = re.compile(r"\bin (?P<path>.+?)\.?(?: Look .*)?$", re.DOTALL)
_NUMBER: Final = re.compile(r"^\d+\t", re.MULTILINE)


class _Files(msgspec.Struct):
    files: list[str]
    more: bool = False


class _Text(msgspec.Struct):
    total_lines: int
    text: str


class _Diagnostic(msgspec.Struct):
    line: int
    code: str
    message: str


class _Lint(msgspec.Struct):
    diagnostics: list[_Diagnostic]


class _Earlier(msgspec.Struct):
    findings: list[Json]


class _Report(msgspec.Struct, frozen=True):
    """What one file shows. `lines` is None where it could not be read."""

    file: str
    lines: int | None
    findings: tuple[dict[str, Json], ...] = ()
    notes: tuple[str, ...] = ()


class OfflineReviewer:
    """The provider of `offline:reviewer`. It needs the tools list_files, read_file and lint, and costs nothing.

    Where it is offered the tool record_findings, it records them before it answers.
    """

    async def complete(self, request: Request) -> Response:
        """Ask for the next tools, or answer with the review. Raises RequestRejectedError for another model."""
        if request.model != MODEL:
            raise RequestRejectedError(f"the offline provider has no model {request.model!r}: name offline:{MODEL}")
        fields: Mapping[str, Json] = (request.output or {}).get("properties", {})
        if refusal := _refusal(request, fields):
            return _response(request, refusal, "refusal")
        exchange = _Exchange(request.items, records=any(tool.name == RECORDS for tool in request.tools))
        if wanted := exchange.wanted():
            place = len(request.transcript)
            calls = tuple(
                Call(id=f"{_OURS}{place}-{number}", tool=tool, arguments=arguments)
                for number, (tool, arguments) in enumerate(wanted)
            )
            return _response(request, "", "tools", calls)
        review = {name: value for name, value in exchange.review().items() if name in fields}
        return _response(request, encode(review).decode(), "end")

    async def close(self) -> None:
        """There is nothing to let go of."""


def _refusal(request: Request, fields: Mapping[str, Json]) -> str:
    offered = {tool.name for tool in request.tools}
    if missing := [name for name in _TOOLS if name not in offered]:
        return f"The offline reviewer works with tools, and was not offered {', '.join(missing)}."
    if "findings" not in fields:
        return "The offline reviewer answers with `summary` and `findings`: the prompt's output type has no `findings`."
    return ""


def _response(request: Request, text: str, stop: Stop, calls: tuple[Call, ...] = ()) -> Response:
    sent = [request.instructions, request.items, request.tools, request.output]
    sizes = [len(encode(part)) // BYTES_PER_TOKEN for part in (sent, [text, calls])]
    usage = Usage(requests=1, input_tokens=sizes[0], output_tokens=sizes[1])
    return Response(text=text, model=request.model, calls=calls, usage=usage, stop=stop)


class _Exchange:
    """The newest thing that the user said, and what the tools have answered since."""

    def __init__(self, items: Sequence[Item], *, records: bool) -> None:
        newest, said = [(place, item.content) for place, item in enumerate(items) if isinstance(item, UserSaid)][-1]
        match = _PATH.search(said)
        self.path = match["path"] if match else "."
        self.security = "security" in said.replace(self.path, "", 1).lower()
        self.earlier = items[:newest]
        # Another model may have begun this exchange: only our own calls come in the pairs that `_report` counts on.
        calls = [call for item in items[newest:] if isinstance(item, ModelSaid) for call in item.calls]
        asked = {call.id: call.arguments.get("path", "") for call in calls if call.id.startswith(_OURS)}
        answers = [item for item in items[newest:] if isinstance(item, ToolAnswered) and item.call in asked]
        self.answers = {(answer.tool, asked[answer.call]): answer for answer in answers}
        self.records = records

    def wanted(self) -> list[tuple[str, Json]]:
        """The tools to call next, with their arguments; none when the review can be written."""
        if unknown := self._unknown():
            return unknown
        if self.records and (RECORDS, "") not in self.answers:
            return [(RECORDS, {"findings": self.review()["findings"]})]
        return []

    def _unknown(self) -> list[tuple[str, Json]]:
        if ("list_files", self.path) not in self.answers:
            return [("list_files", {"path": self.path})]
        if sum(len(answer.text) for (tool, _), answer in self.answers.items() if tool == "read_file") > MOST_CHARACTERS:
            return []
        unread = [file for file in self.files()[:MOST_FILES] if ("read_file", file) not in self.answers]
        return [
            call
            for file in unread[:FILES_AT_ONCE]
            for call in (("read_file", {"path": file, "lines": MOST_LINES}), ("lint", {"path": file}))
        ]

    def files(self) -> list[str]:
        """The Python files that were listed."""
        listed = _load(self.answers["list_files", self.path], _Files)
        return [] if isinstance(listed, str) else [file for file in listed.files if file.endswith(".py")]

    def review(self) -> dict[str, Json]:
        """What the answers so far show."""
        reports = [self._report(file) for file in self.files() if ("read_file", file) in self.answers]
        findings = ranked((each for report in reports for each in report.findings), security=self.security)
        return {
            "summary": " ".join([*self._earlier(), *self._summary(reports, findings)]),
            "findings": findings[:MOST_FINDINGS],
            "files_read": [report.file for report in reports if report.lines is not None],
        }

    def _report(self, file: str) -> _Report:
        text = _load(self.answers["read_file", file], _Text)
        if isinstance(text, str):
            return _Report(file, None, notes=(f"{file} was skipped: {text}.",))
        notes = []
        findings = []
        linted = _load(self.answers["lint", file], _Lint)
        if isinstance(linted, str):
            notes.append(f"{file} was not linted: {linted}.")
        else:
            findings += [finding(file, each.line, each.code, each.message) for each in linted.diagnostics]
        source = _NUMBER.sub("", text.text)
        if source.count("\n") + 1 < text.total_lines:
            notes.append(f"{file} is too long to be read whole: it was only linted.")
        else:
            findings += findings_from_source(file, source)
        return _Report(file, text.total_lines, tuple(findings), tuple(notes))

    def _earlier(self) -> list[str]:
        for text in [item.text for item in reversed(self.earlier) if isinstance(item, ModelSaid)]:
            with suppress(msgspec.MsgspecError):
                return [f"Findings of the earlier review: {len(msgspec.json.decode(text, type=_Earlier).findings)}."]
        return []

    def _summary(self, reports: Sequence[_Report], findings: Sequence[dict[str, Json]]) -> list[str]:
        listed = _load(self.answers["list_files", self.path], _Files)
        if isinstance(listed, str):
            return [f"Nothing was reviewed: {listed}."]
        if not self.files():
            return [f"Nothing was reviewed: there is no Python file in {self.path}."]
        read = [report.lines for report in reports if report.lines is not None]
        graves = Counter(each["severity"] for each in findings)
        told = ", ".join(f"{graves[severity]} {severity}" for severity in ("high", "medium", "low"))
        finer = "; the finer security rules applied, too" if self.security else ""
        summary = [f"Findings: {len(findings)} ({told}{finer}); files: {len(read)} of {self.path} ({sum(read)} lines)."]
        if len(findings) > MOST_FINDINGS:
            summary.append(f"Only the gravest {MOST_FINDINGS} are listed.")
        if listed.more or len(reports) < len(self.files()):
            limit = f"a review takes {MOST_FILES} files or {MOST_CHARACTERS} characters"
            summary.append(f"Other files were not looked at: {limit}; review folders one by one.")
        if (answer := self.answers.get((RECORDS, ""))) is not None and answer.failed:
            summary.append(f"They were not recorded: {answer.text}.")
        return [*summary, *(note for report in reports for note in report.notes)]


def _load(answer: ToolAnswered, shape: type[T]) -> T | str:
    """The answer as `shape`, or in words why it is not."""
    if answer.failed:
        return answer.text
    try:
        return msgspec.convert(answer.value, shape)
    except msgspec.ValidationError as error:
        return f"{answer.tool} answered in a form that the rules cannot read ({error})"
