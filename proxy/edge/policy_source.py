"""Policy files on disk, and the policy in force.

A reload reads the whole set, compiles it and swaps one reference. If anything fails,
the policy in force stays: the last good one. What a policy means is not known here.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from proxy.core.errors import Finding, PolicyError
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy

_SUFFIXES = (".yaml", ".yml")
_CASES = (".test.yaml", ".test.yml")


class PolicySource:
    """A file, or a folder read as one policy.

    Of a folder, the files ``*.yaml`` and ``*.yml`` at its top level are read in the
    order of their names, without hidden files and without the test cases
    ``*.test.yaml``.

    Attributes:
        current: the policy in force; None before the first load.
        warnings: the findings of ``current`` that do not refuse it.
        last_error: every finding of the last reload, a line each; None when it went
            well or there was none.
        loaded_at: epoch seconds of the load of ``current``; 0.0 before the first.
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
        self.current: Policy | None = None
        self.warnings: tuple[Finding, ...] = ()
        self.last_error: str | None = None
        self.loaded_at = 0.0
        self._before: tuple[Policy | None, tuple[Finding, ...], float] = (None, (), 0.0)
        self._path = path
        self._environment = environment
        self._clock = clock

    def load(self) -> Policy:
        """Read, compile and put in force.

        Raises:
            PolicyError: nothing was changed.
        """
        files = self.read()
        with collector_resting():
            policy, warnings = parse_policy(files, self._environment)
        self._before = self.current, self.warnings, self.loaded_at
        self.current, self.warnings = policy, warnings
        self.loaded_at, self.last_error = self._clock(), None
        return policy

    def revoke(self, why: str) -> None:
        """Take the last load back, for a policy that is sound but cannot serve here.

        What was in force before it is in force again, and ``last_error`` says why.
        """
        self.current, self.warnings, self.loaded_at = self._before
        self.last_error = why

    def reload(self) -> Policy:
        """Load again, while the last good policy serves.

        Raises:
            PolicyError: ``current`` is still in force and ``last_error`` says why.
        """
        try:
            return self.load()
        except PolicyError as error:
            self.last_error = str(error)
            raise

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
