"""The command line."""

import click

from proxy import __version__
from proxy.cli.check import check
from proxy.cli.init import init
from proxy.cli.limits import limits
from proxy.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lumina-proxy")
def main() -> None:
    """A sidecar hardening proxy: policy in front of a service nobody may change.

    Begin with `lumina-proxy check policies` and `lumina-proxy serve --help`.
    """


main.add_command(serve)
main.add_command(check)
main.add_command(limits)
main.add_command(init)

if __name__ == "__main__":
    main(prog_name="lumina-proxy")
