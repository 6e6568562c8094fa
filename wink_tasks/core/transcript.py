"""What user, model and tools said to each other in a session: a fold of its ledger, as a provider is sent it."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.events import Call, Json
from wink_tasks.core.log import Log


class UserSaid(msgspec.Struct, frozen=True, tag="user"):
    """New content from the application, or what the model must mend in its answer."""

    content: str


class ModelSaid(msgspec.Struct, frozen=True, tag="model"):
    """One answer of the model: text, tool calls, or both."""

    text: str
    calls: tuple[Call, ...] = ()


class ToolAnswered(msgspec.Struct, frozen=True, tag="tool"):
    """What came of a tool call. `failed` tells that `value` is an error message."""

    call: str
    tool: str
    value: Json
    failed: bool = False

    @property
    def text(self) -> str:
        """The value as a provider is sent it: text as it is, anything else as JSON."""
        return self.value if isinstance(self.value, str) else encode(self.value).decode()


Item = UserSaid | ModelSaid | ToolAnswered


class Transcript(msgspec.Struct, frozen=True):
    """The items of a session, where each exchange (one evaluation's part) begins, and the digest of all so far."""

    items: Log[Item] = Log()
    starts: Log[int] = Log()
    digest: str = ""

    def added(self, item: Item) -> Transcript:
        """With one more item. The digest is chained, so its cost does not grow with the history."""
        digest = sha256(self.digest.encode() + encode(item)).hexdigest()
        return Transcript(self.items.added(item), self.starts, digest)

    def opened(self, content: str) -> Transcript:
        """With the first item of a new exchange."""
        return Transcript(self.items, self.starts.added(len(self.items)), self.digest).added(UserSaid(content))

    def start(self, history: str | int) -> int:
        """The index of the first item that the newest exchange is shown.

        `history` is "session" (everything), "none" (its own items), or how many earlier exchanges.
        """
        if history == "session":
            return 0
        earlier = 0 if history == "none" else int(history)
        return self.starts[max(0, len(self.starts) - 1 - earlier)]
