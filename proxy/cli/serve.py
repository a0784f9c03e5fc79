"""``lumina-proxy serve``: the sidecar."""

import asyncio
import os
import sys

import click
import uvloop

from proxy.app import App
from proxy.core.errors import PolicyError
from proxy.edge import log_format
from proxy.settings import Environment, Recorded, Settings, SettingsError
from proxy.starting import StartError
from proxy.supervisor import Supervisor

_OPTIONS = (
    ("--listen", "LISTEN", "host:port for clients."),
    ("--metrics-listen", "METRICS_LISTEN", "host:port for metrics and operators."),
    ("--backend-url", "BACKEND_URL", "The service behind, as policies name it."),
    ("--policy", "POLICY", "The policy's file or folder."),
    ("--redis-url", "REDIS_URL", "Where rate limits are kept; none: this process."),
    ("--workers", "WORKERS", "Processes that serve; more than 1 needs Redis."),
)


def _with_options(command: click.decorators.FC) -> click.decorators.FC:
    for flag, variable, text in reversed(_OPTIONS):
        command = click.option(
            flag, variable.lower(), metavar="TEXT", help=f"{text} [{variable}]"
        )(command)
    return command


@click.command()
@_with_options
def serve(**flags: str | None) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain.

    Everything comes from a flag or the variable in brackets; a flag wins. Only the
    environment has TRUSTED_PROXIES, ACCESS_LOG and the like (.env.example
    explains every variable), what the policy refers to, such as JWT_SECRET and
    RATE_LIMIT_API, and the secrets ENCRYPTION_KEY and METRICS_TOKEN, each also as
    NAME_FILE. SIGHUP reloads the policy and the keys.

    \b
    Exit status: 0 stopped as it was told to, 1 the start is refused, 2 wrong usage.

    \b
    Examples:
        lumina-proxy serve --policy policies
        lumina-proxy serve --listen 127.0.0.1:8080 --backend-url http://127.0.0.1:9000
    """  # noqa: D301 - the \b of click is a backspace
    given = {name.upper(): value for name, value in flags.items() if value}
    environment = Recorded(Environment({**os.environ, **given}))
    try:
        settings = Settings.read(environment)
        log_format.configure(settings.log_format, settings.log_level)
        if settings.workers == 1:
            uvloop.run(App(settings, environment).run())
        else:
            asyncio.run(Supervisor(settings, environment).run())
    except SettingsError as error:
        _exit(error.problems)
    except PolicyError as error:
        _exit(tuple(str(finding) for finding in error.findings))
    except StartError as error:
        _exit((str(error),))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)


def _exit(problems: tuple[str, ...]) -> None:
    for problem in problems:
        click.secho(problem, fg="red", err=True)
    sys.exit(1)
