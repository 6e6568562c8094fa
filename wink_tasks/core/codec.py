"""Events as canonical JSON. Old versions are lifted to the present one before they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import msgspec

from wink_tasks.core.errors import LedgerFormatError, PayloadTooLargeError, ValueInvalidError
from wink_tasks.core.events import AnyEvent, Json

VERSION: Final = 1
LARGEST_EVENT: Final = 1_000_000

Upcaster = Callable[[dict[str, Json]], dict[str, Json]]
UPCASTERS: Final[Mapping[int, Upcaster]] = {}


def _plain(value: object) -> object:
    """A value of a subclass, like a template engine's safe text or a number of numpy's, as what it is."""
    if isinstance(value, str):
        return str.__str__(value)  # its own __str__ may give itself
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=_plain)
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(value: object) -> bytes:
    """`value` (an event, or anything of JSON) as JSON: the same value gives the same bytes.

    Raises ValueInvalidError for what JSON does not have.
    """
    try:
        return _encoder.encode(value)
    except TypeError as error:
        what = f"{type(value).__name__} is not JSON"
        raise ValueInvalidError(what, str(error)) from error


def refuse_large(event: object, what: str) -> None:
    """Raise PayloadTooLargeError for an event that a ledger does not take; `what` is said before its size."""
    size = len(encode(event))
    if size > LARGEST_EVENT:
        raise PayloadTooLargeError(f"{what} {size} bytes; a ledger takes {LARGEST_EVENT}: let it be less")


def clean(text: str) -> str:
    """`text` as UTF-8 has it: a lone surrogate, which no ledger takes, is shown by its number."""
    return text.encode("utf-8", "backslashreplace").decode()


def decode_event(data: bytes, version: int = VERSION, upcasters: Mapping[int, Upcaster] = UPCASTERS) -> AnyEvent:
    """The event in `data`, which was written by format `version`; `upcasters[n]` lifts version n to n + 1.

    Raises LedgerFormatError for a version of the future, an unknown event, or JSON that does not fit.
    """
    if version > max(upcasters, default=VERSION - 1) + 1:
        message = (
            f"the ledger has format version {version}, this process reads up to {VERSION}: upgrade wink-tasks here"
        )
        raise LedgerFormatError(message)
    try:
        if version == VERSION and VERSION not in upcasters:
            return _decoder.decode(data)
        fields = msgspec.json.decode(data, type=dict[str, Json])
        for step in range(version, max(upcasters) + 1):
            fields = upcasters[step](fields)
        return cast("AnyEvent", msgspec.convert(fields, AnyEvent))
    except msgspec.MsgspecError as error:
        message = f"not an event of format version {version}: {error}; the entry begins {data[:80]!r}"
        raise LedgerFormatError(message) from error
