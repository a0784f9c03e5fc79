"""The command line."""

import importlib
import signal
import sys
from typing import cast

if sys.argv[1:2] == ["worker"]:
    # Before all that takes time: a hangup for everybody must not end who still starts.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

import click

from proxy import __version__

COMMANDS = (
    "serve",
    "check",
    "explain",
    "why",
    "test",
    "diff",
    "replay",
    "audit",
    "policy",
    "schema",
    "limits",
    "token",
    "keys",
    "init",
    "learn",
)
"""In the order in which the help lists them; each is a file of ``proxy.cli``."""

WORKER = "worker"
"""What ``serve`` runs several of; nobody else can."""


class _Commands(click.Group):
    """Commands that are imported when they are asked for, so that none is slow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None when there is none of this name."""
        del ctx
        if cmd_name not in (*COMMANDS, WORKER):
            return None
        module = importlib.import_module(f"proxy.cli.{cmd_name}")
        return cast(click.Command, getattr(module, cmd_name))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lumina-proxy")
def main() -> None:
    """A sidecar hardening proxy: policy in front of a service nobody may change.

    Begin with `lumina-proxy check policies` and `lumina-proxy serve --help`.
    """


if __name__ == "__main__":
    main(prog_name="lumina-proxy")
