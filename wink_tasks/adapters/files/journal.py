"""What a workspace keeps beside its files: one lock, an undo log for each open call, and which call changed what.

    .wink-journal/lock               held for each change, and for each undoing
    .wink-journal/claims/<digest>    a link whose text is the call that changed the path of that digest
    .wink-journal/calls/<call>/      call.json (whose it is), log (locked while its process lives), and what was before

A call's folder without `call.json` is over: whoever finds it removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import accumulate
from typing import Final

import msgspec

from wink_tasks.adapters.files.undo import UndoLog
from wink_tasks.core.errors import ConfigurationError, LeaseLostError, RetryLaterError, RollbackFailedError
from wink_tasks.ports.transaction import Attempt, FateOf

log = logging.getLogger(__name__)

CONTROL: Final = ".wink-journal"
LOCK_WAIT: Final = 10.0
"""Seconds to wait for the lock, which is held for one change, or one undoing."""
_LOOK_AGAIN: Final = 0.002
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Owner(msgspec.Struct, frozen=True):
    """Whose journal it is. `deciding`: the call's rows were about to be committed elsewhere."""

    attempt: Attempt
    deciding: bool = False


def digest(text: str) -> str:
    """A name for any text."""
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class Control:
    """The folder `.wink-journal` of the workspace at `root`. It is made by the first change."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._path = f"{root}/{CONTROL}"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """The folder's descriptor, while nobody else changes anything. Raises RetryLaterError where that takes long."""
        for name in ("", "/claims", "/calls"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._path}{name}", 0o700)  # noqa: PTH102 - as all here, by plain calls of the system
        here = os.open(self._path, _FOLDER)
        try:
            lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here)
            try:
                self._take(lock)
                yield here
            finally:
                os.close(lock)
        finally:
            os.close(here)

    def _take(self, lock: int) -> None:
        ends_at = time.monotonic() + LOCK_WAIT
        while not _is_taken(lock):
            if time.monotonic() > ends_at:
                message = f"another process has held {self._path}/lock for {LOCK_WAIT:g} s: is it stopped?"
                raise RetryLaterError(message)
            time.sleep(_LOOK_AGAIN)

    def calls(self) -> list[str]:
        """The journals that there are."""
        try:
            return os.listdir(f"{self._path}/calls")  # noqa: PTH208 - names
        except FileNotFoundError:
            return []

    def owner(self, here: int, call: str) -> Owner | None:
        """Whose journal that is; None for one that is over."""
        try:
            with open(
                f"calls/{call}/call.json", "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=here)
            ) as file:
                return msgspec.json.decode(file.read(), type=Owner)
        except FileNotFoundError:
            return None

    def take_over(self, here: int, call: str, *, kept: bool) -> None:
        """End the journal of another process: undo what it says, or (`kept`) let it be. Raises RollbackFailedError."""
        try:
            folder = os.open(f"calls/{call}", _FOLDER, dir_fd=here)
        except FileNotFoundError:
            return
        try:
            journal = UndoLog(self.root, folder)
            try:
                if not kept:
                    journal.undo(0)
                self.end(here, call, journal)
            finally:
                journal.close()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            place = f"{self._path}/calls/{call}"
            message = (
                f"what a call left in {place} could not be put back ({type(error).__name__}: {error}): its `log` names "
                f"the files, its numbered files are how they were; mend them, and remove {place}"
            )
            raise RollbackFailedError(message) from error
        finally:
            os.close(folder)

    def end(self, here: int, call: str, journal: UndoLog) -> None:
        """Remove a journal that has nothing left to undo."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"calls/{call}/call.json", dir_fd=here)
        for path in journal.paths:
            self._release(here, call, path)
        shutil.rmtree(f"calls/{call}", dir_fd=here)

    def sweep(self, fate_of: FateOf, mine: str) -> None:
        """Deal with the journals of processes that are gone and whose calls are over: nobody else will."""
        for call in self.calls():
            if call == mine:
                continue
            with self.locked() as here:
                self._swept(here, call, fate_of)

    def _swept(self, here: int, call: str, fate_of: FateOf) -> None:
        try:
            file = os.open(f"calls/{call}/log", os.O_RDWR | os.O_CLOEXEC, dir_fd=here)
        except FileNotFoundError:
            return
        try:
            if not _is_taken(file):
                return  # its process lives
        finally:
            os.close(file)
        owner = self.owner(here, call)
        fate = "kept" if owner is None else fate_of(owner.attempt)
        if fate == "open":
            return
        if owner is not None and fate == "unknown":
            log.warning(
                "%s/calls/%s was left by %s, whose session is gone: remove it", self._path, call, owner.attempt.key
            )
            return
        try:
            self.take_over(here, call, kept=fate == "kept" or (owner is not None and owner.deciding))
        except RollbackFailedError as error:  # another call's: this one goes on
            log.error("%s", error)  # noqa: TRY400 - the message says it all

    # Claims

    def claim(self, here: int, call: str, path: str, *, whole: bool) -> None:
        """Let only this call change `path` until it is over. Raises as `refuse_claimed`."""
        self.refuse_claimed(here, call, path, whole=whole)
        with contextlib.suppress(FileExistsError):
            os.symlink(call, f"claims/{digest(path)}", dir_fd=here)

    def refuse_claimed(self, here: int, call: str, path: str, *, whole: bool) -> None:
        """Raise RetryLaterError where another call has changed `path`, or (`whole`) anything below it."""
        for one in accumulate(path.split("/"), "{}/{}".format):
            self._refuse(one, self._claimant(here, one), call)
        if whole:
            for other in self.calls():
                if other != call:
                    self._refuse_below(here, other, path)

    def _claimant(self, here: int, path: str) -> str:
        """The call that claimed it and still has a journal; else nobody did."""
        claim = f"claims/{digest(path)}"
        try:
            claimant = os.readlink(claim, dir_fd=here)
        except FileNotFoundError:
            return ""
        if os.access(f"calls/{claimant}", os.F_OK, dir_fd=here):
            return claimant
        os.unlink(claim, dir_fd=here)
        return ""

    def _refuse(self, path: str, claimant: str, call: str) -> None:
        if claimant not in {"", call}:
            message = f"another call has changed {path!r} in {self.root}, and is not over: try again"
            raise RetryLaterError(message)

    def _refuse_below(self, here: int, other: str, path: str) -> None:
        folder = os.open(f"calls/{other}", _FOLDER, dir_fd=here)
        try:
            journal = UndoLog(self.root, folder)
            journal.close()
            for one in journal.paths:
                if one.startswith(f"{path}/"):
                    self._refuse(one, other, "")
        finally:
            os.close(folder)

    def _release(self, here: int, call: str, path: str) -> None:
        if self._claimant(here, path) == call:
            os.unlink(f"claims/{digest(path)}", dir_fd=here)


class Journal:
    """One call's journal. Nothing is written before its first change."""

    def __init__(self, control: Control, attempt: Attempt) -> None:
        self._control = control
        self._attempt = attempt
        self.call = digest(attempt.key)
        self._log: UndoLog | None = None
        self._over = False

    @contextmanager
    def changing(self) -> Iterator[tuple[int, UndoLog]]:
        """Hold the lock, for one change; the log says what there was before. Raises LeaseLostError where it is over."""
        with self._control.locked() as here:
            if self._over:
                raise self._lost("has ended")
            if self._log is None:
                self._log = self._begun(here)
            self._check(self._log)
            yield here, self._log

    def claim(self, here: int, path: str, *, whole: bool = False) -> None:
        """See Control."""
        self._control.claim(here, self.call, path, whole=whole)

    def mark(self) -> int:
        """A mark to which `undo` goes back."""
        return 0 if self._log is None else self._log.mark()

    def undo(self, mark: int) -> None:
        """Undo what came after `mark`. Where another attempt has taken over, it did. Raises OSError."""
        if self._log is None or self._over:
            return
        with self._control.locked():
            if not self._is_lost(self._log):
                self._log.undo(mark)

    def check(self, *, deciding: bool) -> None:
        """Raise LeaseLostError where another attempt has taken over. `deciding` is kept for whoever finds it."""
        if self._log is None:
            return
        with self._control.locked() as here:
            self._check(self._log)
            if deciding:
                self._own(here, deciding=True)

    def take_over(self, *, kept: bool) -> None:
        """What an earlier attempt of this call left: undo it, or (`kept`) let it stand.

        Raises RollbackFailedError, and LeaseLostError where the one that left it is a newer one.
        """
        if self.call in self._control.calls():
            with self._control.locked() as here:
                self._take_over(here, kept=kept)

    def _take_over(self, here: int, *, kept: bool) -> None:
        owner = self._control.owner(here, self.call)
        if owner is not None and owner.attempt.epoch > self._attempt.epoch:
            raise self._lost("was taken over by a newer delivery of it")
        self._control.take_over(here, self.call, kept=kept or owner is None)

    def close(self, *, kept: bool | None) -> None:
        """The end: remove it, or (None) let it be found."""
        self._over = True
        if self._log is None:
            return
        try:
            if kept is not None:
                with self._control.locked() as here:
                    if not self._is_lost(self._log):
                        self._control.end(here, self.call, self._log)
        finally:
            self._log.close()
            os.close(self._log.here)
            self._log = None

    def _begun(self, here: int) -> UndoLog:
        owner = self._control.owner(here, self.call)
        if owner is not None and owner.attempt == self._attempt:
            raise ConfigurationError(f"{self._attempt.key} uses {self._control.root} as two resources: bind it once")
        self._take_over(here, kept=False)
        os.mkdir(f"calls/{self.call}", 0o700, dir_fd=here)
        folder = os.open(f"calls/{self.call}", _FOLDER, dir_fd=here)
        begun = UndoLog(self._control.root, folder)
        fcntl.flock(begun.file, fcntl.LOCK_EX)
        self._own(here, deciding=False)
        return begun

    def _own(self, here: int, *, deciding: bool) -> None:
        place = f"calls/{self.call}/call.json"
        data = msgspec.json.encode(Owner(self._attempt, deciding))
        with open(f"{place}.new", "wb", opener=lambda path, flags: os.open(path, flags, 0o600, dir_fd=here)) as file:
            file.write(data)
        os.rename(f"{place}.new", place, src_dir_fd=here, dst_dir_fd=here)

    def _is_lost(self, journal: UndoLog) -> bool:
        """Whether another attempt has taken over: then the folder that this one holds has no owner in it."""
        try:
            os.stat("call.json", dir_fd=journal.here, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return False

    def _check(self, journal: UndoLog) -> None:
        if self._is_lost(journal):
            raise self._lost("was taken over by a newer delivery of it")

    def _lost(self, why: str) -> LeaseLostError:
        return LeaseLostError(
            f"the call {self._attempt.key} {why}: what it does in {self._control.root} does not count"
        )


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
