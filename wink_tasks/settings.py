"""Every setting of wink-tasks, with its default and its `WINK_*` variable, checked once at start."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from wink_tasks.core.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """A keyword of `Wink(...)` goes before its variable, that goes before the default. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="WINK_", frozen=True, extra="forbid")

    redis_url: str | None = Field(None, description="The Redis of the ledgers; else the app's Redis backend or broker.")
    prefix: str = Field("wink", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="What all keys begin with.")
    partitions: int = Field(16, ge=1, le=99, description="Into how many slots sessions are spread. Never change it.")
    default_tenant: str = Field("default", description="The tenant of calls that name none.")
    split_queues: bool = Field(
        default=False,
        description="Turns go to the queue `turns`, tools to `tools`, instead of the app's default queue.",
    )
    visibility_timeout: float = Field(10.0, ge=1, le=43_200, description="How long a claim hides its message.")
    step_limit: Seconds = Field(3600.0, description="The longest that a step without a limit of its own may take.")
    continuation: bool = Field(
        default=True, description="A worker goes on with the next step where it serves its queue, without a doorbell."
    )
    continuation_steps: int = Field(32, ge=1, description="After how many continued steps a worker yields its slot.")
    continuation_seconds: Seconds = Field(30.0, description="After how many seconds a worker yields its slot.")
    provider_timeout: Seconds = Field(600.0, description="The longest that one model call may take.")
    breaker_failures: int = Field(5, ge=1, description="Failures in a row after which a model is not called.")
    breaker_open_seconds: Seconds = Field(60.0, description="For how long it is not called then.")
    store_give_up_after: Seconds = Field(2.5, description="How long a command is repeated while Redis is away.")
    replica_acks: int = Field(0, ge=0, description="For how many replicas accept and settle wait, a part of a second.")
    cached_sessions: int = Field(256, ge=1, description="How many folded sessions a worker process keeps.")
    worker_beat: Seconds = Field(2.0, description="How often a worker shows that it is alive.")
    reap_every: Seconds = Field(0.5, description="How often the elected reaper looks for what is due.")
    shutdown_grace: float = Field(
        30.0, ge=0, description="How long a worker that was asked to end waits for its steps before others get them."
    )
    retention: Seconds = Field(30 * 86_400.0, description="For how long a finished session is kept.")
    archive_dir: str | None = Field(
        None, description="The folder, shared by all workers, where sessions are kept that their retention drops."
    )
    tracing: bool = Field(default=False, description="OpenTelemetry spans, exported as its own variables say.")
    log_json: bool = Field(default=False, description="Log lines of our own processes as JSON.")


COMPARED: Final = ("archive_dir", "default_tenant", "partitions", "retention", "split_queues", "visibility_timeout")
"""What each process reads for itself, and should read alike: runs of one are worked on by others."""


def load_settings(**given: Any) -> Settings:
    """The settings in force. Raises ConfigurationError, which names each wrong field and where it came from."""
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{field} ({'argument of Wink()' if field in given else f'WINK_{field.upper()}'}): {problem['msg']}"
            for problem in error.errors()
            for field in [".".join(str(part) for part in problem["loc"])]
        ]
        message = "settings do not fit: " + "; ".join(lines)
        raise ConfigurationError(message) from error
