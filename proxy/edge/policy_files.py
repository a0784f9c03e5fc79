"""Where a policy is on disk: a file, a folder, and what these include.

Of a folder, the files ``*.yaml`` and ``*.yml`` at its top level are read in the order
of their names, without hidden files and without the test cases ``*.test.yaml``. What a
file includes follows, a folder likewise; each file is read once.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.core.errors import Finding, PolicyError
from proxy.core.yaml_source import Listing, Scalar, Table, read_yaml, variables

_SUFFIXES = (".yaml", ".yml")
_CASES = (".test.yaml", ".test.yml")
_INCLUDES = re.compile(r"^include\s*:", re.MULTILINE)
"""Most files include nothing, and need not be parsed to know it."""

Seen = tuple[tuple[str, object], ...]
"""Path and state of everything that a policy is made of."""


class PolicyFiles:
    """The files of one policy.

    Args:
        path: a file or a folder.
        environment: names files of secrets, as ``NAME_FILE``.
    """

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment
        # Of the last reading: what to look at for a change.
        self._watched: set[Path] = {path}
        self._secrets: set[str] = set()

    def read(self) -> list[tuple[str, str]]:
        """Return name and text of every file.

        Raises:
            PolicyError: the path does not exist, holds no policy or cannot be read, or
                so it is with something that is included.
        """
        self._watched = {self._path}
        try:
            files = self._in(self._path)
        except OSError as error:
            raise _refused(self._path, error.strerror or "cannot be read") from error
        if not files:
            raise _refused(self._path, "there is no *.yaml in this folder")
        texts: dict[Path, tuple[str, str]] = {}
        while files:
            file, *files = files
            text = _text(file)
            known = file.resolve()
            if known not in texts:
                texts[known] = str(file), text
                files += self._included(file, text)
        self._watched |= {Path(name) for name, _ in texts.values()}
        self._secrets = {
            name for _, text in texts.values() for name, _ in variables(text)
        }
        return list(texts.values())

    def _in(self, path: Path) -> list[Path]:
        if not path.is_dir():
            # A missing path is found by reading it, which says why.
            return [path]
        self._watched.add(path)
        return sorted(
            file
            for file in path.iterdir()
            if file.name.endswith(_SUFFIXES)
            and not file.name.endswith(_CASES)
            and not file.name.startswith(".")
        )

    def _included(self, file: Path, text: str) -> Iterator[Path]:
        """Yield the files that a file includes."""
        if not _INCLUDES.search(text):
            return
        root, _ = read_yaml(str(file), text, {})
        node = root.values.get("include") if isinstance(root, Table) else None
        # What is not a list of words is the parser's to report.
        for item in node.items if isinstance(node, Listing) else ():
            if not isinstance(item, Scalar) or not item.text:
                continue
            path = file.parent / item.text
            self._watched.add(path)
            if not path.exists():
                message = f"{item.shown!r} is not there"
                raise PolicyError((item.at.finding(message, f"looked at {path}"),))
            found = self._in(path)
            if not found:
                message = f"there is no *.yaml in {item.shown!r}"
                raise PolicyError((item.at.finding(message),))
            yield from found

    def state(self) -> Seen:
        """Return what changes whenever something of the policy does.

        Of files, folders, and the files of secrets that the policy names: which one it
        is, its length and when it was written, links followed. So a folder that is
        swapped by a link, as Kubernetes swaps a ConfigMap, has changed.
        """
        names = sorted({*self._secrets, "ENCRYPTION_KEY"})
        secrets = (self._environment.get(f"{name}_FILE") for name in names)
        paths = {*self._watched, *(Path(one) for one in secrets if one)}
        return tuple((str(path), _state(path)) for path in sorted(paths))


def _state(path: Path) -> object:
    try:
        found = path.stat()
        listing = tuple(sorted(path.iterdir())) if path.is_dir() else ()
    except OSError as error:
        return error.errno
    if listing:
        return found.st_dev, found.st_ino, listing
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


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
