"""Durable background agents as Celery tasks. What stands in `__all__` is public."""

# ruff: noqa: E402 - contracts are on or off before what they decorate is imported

import os
from typing import TYPE_CHECKING, Any

from wink_tasks.core.contracts import ensure, invariant, pure, require, switch

switch(on=os.environ.get("WINK_CONTRACTS", "1" if "PYTEST_VERSION" in os.environ else "0") == "1")

from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.files.workspace import Workspace
from wink_tasks.app import Wink
from wink_tasks.core.bindings import Scope
from wink_tasks.core.errors import (
    BlockingInTaskError,
    BudgetExceededError,
    CancelledError,
    ConfigurationError,
    ConflictError,
    ContextClosedError,
    ContextTooLongError,
    DeadLetteredError,
    DeadlineExceededError,
    DeclarationError,
    DuplicateError,
    EvaluationFailedError,
    LeaseLostError,
    LedgerUnavailableError,
    ModelRefusedError,
    NotCallableError,
    NotResumableError,
    OutcomeUnknownError,
    OutputInvalidError,
    ParametersInvalidError,
    ParamsChangedError,
    PayloadTooLargeError,
    PriceUnknownError,
    PromptChangedError,
    PromptFailedError,
    ProviderRejectedError,
    ProviderUnavailableError,
    ReducerFailedError,
    RequestRejectedError,
    ResourceCloseError,
    ResourceError,
    RetryLaterError,
    RollbackFailedError,
    RunTimeoutError,
    SessionBusyError,
    SessionExpiredError,
    SessionForkedError,
    StoreRefusedError,
    TaskFailedError,
    ThrottledError,
    ToolError,
    ToolFailedError,
    TurnLimitError,
    UnknownEventError,
    UnknownPromptError,
    UnknownRunError,
    UnknownSessionError,
    UnknownSliceError,
    UnsupportedError,
    WaitTimeoutError,
    WinkError,
    WorkspaceError,
)
from wink_tasks.core.limits import Budget, Usage
from wink_tasks.core.prompt import PromptDefinition as Prompt
from wink_tasks.core.sections import Section
from wink_tasks.core.slices import (
    Append,
    Clear,
    Extend,
    ReducerContext,
    Replace,
    SlicePolicy,
    SliceView,
    append_all,
    replace_latest,
    replace_latest_by,
    upsert_by,
)
from wink_tasks.ports.transaction import Snapshotable
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.slices import SliceDeclarations, reducer
from wink_tasks.runtime.tool_transaction import tool_transaction

if TYPE_CHECKING:
    from wink_tasks.adapters.sql.transaction import SqlTransaction

__all__ = [
    "Append",
    "BlockingInTaskError",
    "Budget",
    "BudgetExceededError",
    "CancelledError",
    "Clear",
    "ConfigurationError",
    "ConflictError",
    "ContextClosedError",
    "ContextTooLongError",
    "DeadLetteredError",
    "DeadlineExceededError",
    "DeclarationError",
    "DuplicateError",
    "EvaluationFailedError",
    "Extend",
    "LeaseLostError",
    "LedgerUnavailableError",
    "ModelRefusedError",
    "NotCallableError",
    "NotResumableError",
    "OutcomeUnknownError",
    "OutputInvalidError",
    "ParametersInvalidError",
    "ParamsChangedError",
    "PayloadTooLargeError",
    "PriceUnknownError",
    "Prompt",
    "PromptChangedError",
    "PromptFailedError",
    "ProviderRejectedError",
    "ProviderUnavailableError",
    "ReducerContext",
    "ReducerFailedError",
    "Replace",
    "RequestRejectedError",
    "ResourceCloseError",
    "ResourceError",
    "Resources",
    "RetryLaterError",
    "RollbackFailedError",
    "Run",
    "RunTimeoutError",
    "Scope",
    "Section",
    "Session",
    "SessionBusyError",
    "SessionExpiredError",
    "SessionForkedError",
    "SliceDeclarations",
    "SlicePolicy",
    "SliceView",
    "Snapshotable",
    "SqlTransaction",
    "StoreRefusedError",
    "TaskFailedError",
    "ThrottledError",
    "ToolContext",
    "ToolError",
    "ToolFailedError",
    "TurnLimitError",
    "UnknownEventError",
    "UnknownPromptError",
    "UnknownRunError",
    "UnknownSessionError",
    "UnknownSliceError",
    "UnsupportedError",
    "Usage",
    "WaitTimeoutError",
    "Wink",
    "WinkError",
    "Workspace",
    "WorkspaceError",
    "append_all",
    "ensure",
    "invariant",
    "pure",
    "reducer",
    "replace_latest",
    "replace_latest_by",
    "require",
    "tool_transaction",
    "upsert_by",
]


def __getattr__(name: str) -> Any:
    """SQLAlchemy is an extra, and imported by whoever asks for what needs it."""
    if name != "SqlTransaction":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from wink_tasks.adapters.sql.transaction import SqlTransaction
    except ModuleNotFoundError as error:
        raise ConfigurationError("SqlTransaction needs SQLAlchemy: pip install 'wink-tasks[sql]'") from error
    return SqlTransaction
