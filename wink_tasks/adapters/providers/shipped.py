"""The providers that every application has."""

from __future__ import annotations

from collections.abc import Callable

from wink_tasks.ports.provider import Provider


def shipped_providers() -> dict[str, Callable[[], Provider]]:
    """By name. An SDK is imported when its provider is first used."""

    def offline() -> Provider:
        from wink_tasks.adapters.providers.offline import OfflineReviewer

        return OfflineReviewer()

    def openai() -> Provider:
        from wink_tasks.adapters.providers.openai import OpenAIProvider

        return OpenAIProvider()

    return {"offline": offline, "openai": openai}
