"""The only reader of the environment."""

from collections.abc import Iterator, Mapping
from pathlib import Path


class _PolicyEnvironment(Mapping[str, str]):
    """The environment, with the content of ``NAME_FILE`` where ``NAME`` is unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(name, "")
        if value:
            return value
        try:
            return Path(self._environ[f"{name}_FILE"]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def __repr__(self) -> str:
        return f"<{len(self)} variables>"


def policy_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the ``${NAME}`` of a policy stand for.

    A variable that is unset or empty is read from the file that ``NAME_FILE`` names,
    without the white space around it. It is read when it is asked for: a secret that
    was rotated is in force with the next load. A file that cannot be read is a variable
    that is not set.

    Args:
        environ: the environment of the process.
    """
    return _PolicyEnvironment(environ)
