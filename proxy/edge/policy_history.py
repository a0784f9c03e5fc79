"""The last policies that were in force, in a folder of their own, and which is pinned.

A policy is kept as it was written, with ``${NAME}`` for secrets, in a file named by its
digest. Pinning one makes every proxy that looks into this folder load it instead of
what is on disk, now and after a restart, until it is released: so a rollback neither
edits anybody's files nor is undone by the next reload of what it was to undo.

Every file is written whole and then named, and only its owner can read it.
"""

import contextlib
import dataclasses
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.core.errors import Finding, PolicyError
from proxy.core.policy_parser import digest_of

KEPT = 10
"""How many policies are kept; the one that is pinned beside them."""

_DIGEST = re.compile(r"[0-9a-f]{16}")
_PIN = "pinned"

Files = Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A policy that was in force.

    Attributes:
        digest: its name.
        since: epoch seconds at which it last came into force.
        files: name and text of each file.
    """

    digest: str
    since: float
    files: tuple[tuple[str, str], ...]


class PolicyHistory:
    """A folder of policies.

    Args:
        folder: is made when something is kept.
        kept: how many.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self._folder = folder
        self._kept = kept

    def keep(self, digest: str, files: Files, now: float) -> None:
        """Keep a policy that came into force at ``now``, and forget the oldest.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"digest": digest, "since": now, "files": [list(f) for f in files]}
        self._write(f"{digest}.json", json.dumps(document, indent=1))
        for old in [one for one in self.all() if one.digest != self.pinned][
            self._kept :
        ]:
            self._path(old.digest).unlink(missing_ok=True)

    def all(self) -> list[Kept]:
        """Return every policy that can be read, the latest first."""
        with contextlib.suppress(OSError):
            names = sorted(
                path.stem
                for path in self._folder.iterdir()
                if path.suffix == ".json" and _DIGEST.fullmatch(path.stem)
            )
            found = []
            for name in names:
                with contextlib.suppress(PolicyError):
                    found.append(self.get(name))
            return sorted(found, key=lambda one: -one.since)
        return []

    def get(self, digest: str) -> Kept:
        """Return one policy.

        Raises:
            PolicyError: it is not kept, or is no longer what was kept.
        """
        path = self._path(digest)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            files = tuple((str(name), str(text)) for name, text in document["files"])
            since = float(document["since"])
        except OSError:
            raise _refused(path, f"no policy {digest} is kept") from None
        except (ValueError, TypeError, KeyError):
            raise _refused(path, "this is no policy that was kept") from None
        if digest_of(files) != digest:
            raise _refused(path, "this is not what was kept: its digest is another one")
        return Kept(digest=digest, since=since, files=files)

    @property
    def pinned(self) -> str | None:
        """The digest of the policy that is pinned; None for none."""
        try:
            text = (self._folder / _PIN).read_text(encoding="ascii").strip()
        except OSError:
            return None
        # What is unreadable pins: to nothing that is kept, so that somebody looks.
        return text if _DIGEST.fullmatch(text) else "unreadable"

    def pin(self, digest: str) -> None:
        """Have this policy loaded instead of what is on disk.

        Raises:
            PolicyError: it is not kept.
            OSError: the folder cannot be written.
        """
        self.get(digest)
        self._write(_PIN, f"{digest}\n")

    def release(self) -> None:
        """Have what is on disk loaded again.

        Raises:
            OSError: the folder cannot be written.
        """
        (self._folder / _PIN).unlink(missing_ok=True)

    def state(self) -> object:
        """Return what changes when another policy is pinned."""
        return self.pinned

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _write(self, name: str, text: str) -> None:
        path = self._folder / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            path.rename(self._folder / name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _refused(path: Path, message: str) -> PolicyError:
    return PolicyError((Finding(str(path), 1, 1, "", message),))


Clock = Callable[[], float]
