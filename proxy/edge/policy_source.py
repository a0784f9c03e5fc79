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

from proxy.core.errors import Finding, PolicyError
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy

log = logging.getLogger("lumina")

_SUFFIXES = (".yaml", ".yml")
_CASES = (".test.yaml", ".test.yml")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A policy as it was read.

    Attributes:
        policy: without errors.
        files: name and text of its files.
        warnings: the findings that do not refuse it.
    """

    policy: Policy
    files: tuple[tuple[str, str], ...]
    warnings: tuple[Finding, ...]


class PolicySource:
    """A file, or a folder read as one policy.

    Of a folder, the files ``*.yaml`` and ``*.yml`` at its top level are read in the
    order of their names, without hidden files and without the test cases
    ``*.test.yaml``.

    Attributes:
        current: what is in force; None before the first load.
        last_error: why the last reload was refused, a line for each finding; None when
            it went well or there was none.
        loaded_at: epoch seconds since which ``current`` is in force; 0.0 before.
    """

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember where the policy is; nothing is read yet.

        Args:
            path: a file or a folder.
            environment: what ``${NAME}`` stands for; asked again with every load.
            clock: returns epoch seconds.
        """
        self.current: Loaded | None = None
        self.last_error: str | None = None
        self.loaded_at = 0.0
        self._path = path
        self._environment = environment
        self._clock = clock

    def load(self) -> Loaded:
        """Read and compile; what is in force stays. May run in a thread.

        Raises:
            PolicyError: there is an error in it.
        """
        files = self.read()
        with collector_resting():
            policy, warnings = parse_policy(files, self._environment)
        return Loaded(policy=policy, files=tuple(files), warnings=warnings)

    def put_in_force(self, loaded: Loaded) -> None:
        """Note that what was loaded is in force, and log its warnings."""
        for warning in loaded.warnings:
            log.warning("%s", warning)
        self.current, self.last_error = loaded, None
        self.loaded_at = self._clock()

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
        }

    def read(self) -> list[tuple[str, str]]:
        """Return name and text of every file.

        Raises:
            PolicyError: the path does not exist, holds no policy or cannot be read.
        """
        try:
            files = self._files()
        except OSError as error:
            raise _refused(self._path, error.strerror or "cannot be read") from error
        if not files:
            raise _refused(self._path, "there is no *.yaml in this folder")
        return [(str(file), _text(file)) for file in files]

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            # A missing path is found by reading it, which says why.
            return [self._path]
        return sorted(
            file
            for file in self._path.iterdir()
            if file.name.endswith(_SUFFIXES)
            and not file.name.endswith(_CASES)
            and not file.name.startswith(".")
        )


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


def _text(file: Path) -> str:
    try:
        # A byte order mark is what some editors put first; it says nothing.
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise _refused(file, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise _refused(file, f"not UTF-8 at byte {error.start}") from error


def _refused(path: Path, message: str) -> PolicyError:
    return PolicyError((Finding(str(path), 1, 1, "", message),))
