"""The command line as a whole."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from proxy.__main__ import COMMANDS, main

HEAVY = ("aiohttp", "redis", "uvloop", "httptools", "prometheus_client")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each command can be asked what it does."""
    result = CliRunner().invoke(main, [name, "--help"])

    assert result.exit_code == 0
    assert result.output.startswith("Usage: main " + name)


def test_help_lists_every_command() -> None:
    """The help of the whole names each command once."""
    output = CliRunner().invoke(main, ["--help"]).output
    listed = output.partition("Commands:\n")[2].splitlines()

    assert [line.split()[0] for line in listed] == list(COMMANDS)


def test_unknown_command_is_wrong_usage() -> None:
    """A command that does not exist exits 2."""
    assert CliRunner().invoke(main, ["chek"]).exit_code == 2


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "serve"])
def test_command_does_not_load_the_sidecar(name: str) -> None:
    """A tool starts without the parts that only a running proxy needs."""
    code = (
        "import sys; from proxy.__main__ import main\n"
        f"main([{name!r}, '--help'], standalone_mode=False)\n"
        f"sys.exit(' '.join(sys.modules.keys() & set({HEAVY!r})))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == "\n"
