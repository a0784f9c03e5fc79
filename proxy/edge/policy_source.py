"""Policy files on disk, and the policy in force.

A reload reads the whole set, compiles it and swaps one reference. If anything fails,
the policy in force stays: the last good one. What a policy means is not known here.
"""

import contextlib
import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from proxy.core.errors import Finding
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.edge.policy_files import PolicyFiles
from proxy.edge.policy_history import PolicyHistory

log = logging.getLogger("lumina")

_ATTEMPTS = 10
"""To read files that change while they are read; then the next look sees more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A policy as it was read.

    Attributes:
        policy: without errors.
        files: name and text of its files.
        warnings: the findings that do not refuse it.
        pinned: whether it was loaded instead of what is on disk.
    """

    policy: Policy
    files: tuple[tuple[str, str], ...]
    warnings: tuple[Finding, ...]
    pinned: bool = False


class PolicySource:
    """A file, or a folder read as one policy.

    What is in a folder, and what files include, is ``policy_files``'s business.

    Attributes:
        current: what is in force; None before the first load.
        last_error: why the last reload was refused, a line for each finding; None when
            it went well or there was none.
        known: what ``look`` returned when the last load read the files.
        loaded_at: epoch seconds since which ``current`` is in force; 0.0 before.
    """

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        history: PolicyHistory | None = None,
    ) -> None:
        """Remember where the policy is; nothing is read yet.

        Args:
            path: a file or a folder.
            environment: what ``${NAME}`` stands for; asked again with every load.
            clock: returns epoch seconds.
            history: keeps what was in force, and says what is pinned; None for neither.
        """
        self.current: Loaded | None = None
        self.last_error: str | None = None
        self.loaded_at = 0.0
        self.known: object = None
        self._files = PolicyFiles(path, environment)
        self._history = history
        self._environment = environment
        self._clock = clock

    def load(self) -> Loaded:
        """Read and compile; what is in force stays. May run in a thread.

        Raises:
            PolicyError: there is an error in it.
        """
        pinned = self.pinned is not None
        files, self.known = self.read(), self.look()
        # Somebody may be writing: what is known must be what was read.
        for _ in range(_ATTEMPTS):
            again = self.read()
            if again == files:
                break
            files, self.known = again, self.look()
        with collector_resting():
            policy, warnings = parse_policy(files, self._environment)
        return Loaded(
            policy=policy, files=tuple(files), warnings=warnings, pinned=pinned
        )

    def put_in_force(self, loaded: Loaded) -> None:
        """Note that what was loaded is in force, and log its warnings."""
        for warning in loaded.warnings:
            log.warning("%s", warning)
        if loaded.pinned:
            log.warning(
                "policy %s is pinned: what is on disk is not read until it is released",
                loaded.policy.digest,
            )
        self.current, self.last_error = loaded, None
        self.loaded_at = self._clock()

    def keep(self) -> None:
        """Keep what is in force for a rollback to it. May run in a thread.

        That it cannot be kept is logged, and is no reason not to serve.
        """
        loaded = self.current
        if self._history is None or loaded is None or loaded.pinned:
            return
        try:
            self._history.keep(loaded.policy.digest, loaded.files, self.loaded_at)
        except OSError as error:
            log.error("policy %s cannot be kept: %s", loaded.policy.digest, error)  # noqa: TRY400

    def refuse(self, why: str) -> None:
        """Note and log that what is on disk is not put in force, and why."""
        log.error("the policy was refused, the last good one stays:\n%s", why)
        self.last_error = why

    def state(self) -> Mapping[str, object]:
        """Return what operators ask: what is in force, and the last reload."""
        policy = None if self.current is None else self.current.policy
        return {
            "digest": None if policy is None else policy.digest,
            "rules": 0 if policy is None else len(policy.rules),
            "loaded_at": self.loaded_at,
            "last_error": self.last_error,
            "pinned": self.current is not None and self.current.pinned,
        }

    def pinned_sample(self) -> list[tuple[tuple[str, ...], float]]:
        """Return the sample of a gauge: whether what is in force is pinned."""
        return [((), float(self.current is not None and self.current.pinned))]

    @property
    def word(self) -> str:
        """What probes are told of it."""
        if self.last_error is not None:
            return "last reload refused"
        return "pinned" if self.current and self.current.pinned else "ok"

    def read(self) -> list[tuple[str, str]]:
        """Return name and text of every file: what is pinned, or else what is on disk.

        Raises:
            PolicyError: there is none, or something of it cannot be read.
        """
        pinned = self.pinned
        if pinned is None or self._history is None:
            return self._files.read()
        return list(self._history.get(pinned).files)

    @property
    def pinned(self) -> str | None:
        """The digest of the policy to load instead of what is on disk."""
        return None if self._history is None else self._history.pinned

    def look(self) -> object:
        """Return what changes whenever a load could give another policy.

        May run in a thread.
        """
        return self._files.state(), self.pinned


@contextlib.contextmanager
def collector_resting() -> Iterator[None]:
    """Spare the collector what is made to stay: a large policy loads twice as fast."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
