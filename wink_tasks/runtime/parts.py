"""What a step works with: ports, definitions and limits, joined by wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wink_tasks.core.events import Json, Terms
from wink_tasks.core.limits import Budget
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.fleet import Fleet
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.ports.outcome import OutcomeSink
from wink_tasks.ports.pauses import Pause
from wink_tasks.ports.telemetry import MetricsCollector, Tracer
from wink_tasks.ports.work import Translation
from wink_tasks.runtime.cache import SessionCache
from wink_tasks.runtime.interrupts import Interrupts
from wink_tasks.runtime.keeper import Keeper
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.providers import Providers
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.resources import Singletons


class ModelRouter(Protocol):
    """Chooses a model for a call."""

    def select_model(self, prompt: PromptDefinition, terms: Terms, *, attempt: int) -> str:
        """One of `terms.models`; `attempt` counts the tries of this turn, from 1."""
        ...


class BudgetEstimator(Protocol):
    """Chooses the budget of an evaluation."""

    def estimate(self, prompt: PromptDefinition, *, context: Mapping[str, Json], terms: Terms) -> Budget:
        """What the evaluation may use; `context` are its parameters."""
        ...


class ListedOrder:
    """The models as listed: the first one, and at each further try the next."""

    def select_model(self, prompt: PromptDefinition, terms: Terms, *, attempt: int) -> str:  # noqa: ARG002 - the port's
        """See ModelRouter."""
        return terms.models[min(attempt, len(terms.models)) - 1]


class AgreedBudget:
    """The budget that was agreed at accept."""

    def estimate(
        self,
        prompt: PromptDefinition,  # noqa: ARG002 - the port's
        *,
        context: Mapping[str, Json],  # noqa: ARG002 - the port's
        terms: Terms,
    ) -> Budget:
        """See BudgetEstimator."""
        return terms.budget


class Holds(Protocol):
    """What operators hold back."""

    def now(self) -> Sequence[Pause]:
        """The pauses in force."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Durations are seconds. `draw` gives random numbers in [0, 1)."""

    mailbox: Mailbox
    ledger: Ledger
    fleet: Fleet
    ringer: Ringer
    outcomes: OutcomeSink
    clock: Clock
    draw: Callable[[], float]
    registry: Registry
    providers: Providers
    resources: Singletons
    router: ModelRouter
    estimator: BudgetEstimator
    in_our_words: Translation
    loop: BackgroundLoop
    cache: SessionCache
    keeper: Keeper
    holds: Holds
    interrupts: Interrupts
    metrics: MetricsCollector
    tracer: Tracer
    actor: str
    step_limit: float
    continuation_steps: int
    continuation_seconds: float
