"""What the reviewer answers, and what its tools tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wink_tasks import ReducerContext, Replace, SliceView, reducer

Severity = Literal["high", "medium", "low"]


class Finding(BaseModel):
    """One defect, where it stands."""

    model_config = ConfigDict(frozen=True)

    file: str = Field(description="The file, relative to the workspace, as the tools name it.")
    line: int = Field(ge=1, description="The line where the defect begins, counted from 1.")
    severity: Severity = Field(description="high: wrong or unsafe; medium: likely to go wrong; low: hard to maintain.")
    title: str = Field(description="What is wrong and why it matters, in one sentence.")
    rule: str | None = Field(None, description="The linter's code, where a linter found it.")


class Review(BaseModel):
    """The whole review, the gravest findings first."""

    model_config = ConfigDict(frozen=True)

    summary: str = Field(description="The state of the code in two or three sentences, and what was not looked at.")
    findings: list[Finding]
    files_read: list[str]


@dataclass(frozen=True)
class FileList:
    """`more` tells that there are others, which are not listed."""

    files: list[str]
    more: bool


@dataclass(frozen=True)
class FindingsRecorded:
    """Findings are in the database now."""

    findings: list[Finding]


@dataclass(frozen=True)
class Report:
    """The report on disk, and how many rows the database has of it."""

    file: str
    rows: int


@dataclass(frozen=True)
class FileText:
    """Lines `start` to `end` of `total_lines`, each as its number, a tab, and the line."""

    path: str
    start: int
    end: int
    total_lines: int
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One thing that the linter found."""

    line: int
    code: str
    message: str


@dataclass(frozen=True)
class LintReport:
    """`more` tells that there are other diagnostics, which are not listed."""

    path: str
    diagnostics: list[Diagnostic]
    more: bool


@dataclass(frozen=True)
class Plan:
    """What is to be read, and what was: a slice that the tools' answers keep."""

    files: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    @reducer(on=FileList)
    def listed(self, event: FileList) -> Plan:
        return Plan(tuple(event.files), self.read)

    @reducer(on=FileText)
    def was_read(self, event: FileText) -> Plan:
        return Plan(self.files, self.read if event.path in self.read else (*self.read, event.path))


def recorded(view: SliceView[Finding], event: FindingsRecorded, *, context: ReducerContext) -> Replace[Finding]:  # noqa: ARG001 - a reducer's shape
    """Each defect once, as it was found last."""
    findings = (*view.all(), *event.findings)
    return Replace(tuple({(one.file, one.line, one.rule): one for one in findings}.values()))
