"""How the processes that we start write their log: our lines and all others in one form, without credentials."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from wink_tasks.core.errors import ConfigurationError
from wink_tasks.core.redaction import redact


def configure_logging(*, json: bool, level: str) -> None:
    """Write log lines of `level` and above to standard error, as JSON or for people, with credentials masked.

    It replaces what the root logger had. Raises ConfigurationError where there is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigurationError(f"log level {level!r} does not exist: use debug, info, warning, error or critical")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Before the masking, so that it sees the traceback too.
                structlog.processors.format_exc_info,
                _masked,
                *(_as_json() if json else _for_people()),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)


def _as_json() -> list[structlog.typing.Processor]:
    return [structlog.processors.JSONRenderer(default=_shown)]


def _for_people() -> list[structlog.typing.Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    # Once more at the end: only then objects have become text.
    return [console, _masked]


def _masked(_logger: Any, _name: str, event: Any) -> Any:
    return redact(event)


def _shown(value: object) -> str:
    return redact(repr(value))
