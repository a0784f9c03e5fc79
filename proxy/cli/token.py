"""``lumina-proxy token``: revoke tokens, take it back, and make some to try."""

import base64
import datetime as dt
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jwt

from proxy.cli.loading import DEFAULT_POLICY, PolicyPath, policy_or_exit
from proxy.cli.metrics_port import ask, fail, tell, with_metrics_port
from proxy.core.issuer import Issuer
from proxy.core.jws import FAMILIES
from proxy.core.policy_values import microseconds

_KINDS = ("jti", "sid", "sub")


@click.group()
def token() -> None:
    """Revoke tokens before they expire, list what is revoked, and make tokens to try.

    A running proxy is told over its metrics port. With REDIS_URL set, every process of
    every instance knows within a second; without, only the one that is asked.

    \b
    Examples:
        lumina-proxy token revoke --sub ada --why "laptop stolen"
        lumina-proxy token list
        lumina-proxy token restore --sub ada
    """  # noqa: D301 - the \b of click is a backspace


def _about(command: click.decorators.FC) -> click.decorators.FC:
    """Give a command the options that say whose tokens."""
    for flag, text in (
        ("--jti", "The token with this id."),
        ("--sid", "The tokens of this session."),
        ("--sub", "Every token of this subject that was issued until now."),
    ):
        command = click.option(flag, help=text)(command)
    command = click.option(
        "--all", "everything", is_flag=True, help="Every token issued until now."
    )(command)
    command = click.option(
        "--issuer", help="Whose tokens, when the policy has several issuers."
    )(command)
    return with_metrics_port(command)


def _order(given: Mapping[str, Any]) -> dict[str, Any]:
    order = {name: given[name] for name in _KINDS if given[name]}
    if given["everything"]:
        order["all"] = True
    if len(order) != 1:
        raise click.UsageError("Say exactly one of --jti, --sid, --sub and --all.")
    if given["issuer"]:
        order["issuer"] = given["issuer"]
    return order


@token.command()
@click.option(
    "--stdin", is_flag=True, help="The token on standard input; it needs a jti."
)
@click.option(
    "--before",
    metavar="TIME",
    help="Only tokens issued before: 2026-01-31T12:00:00Z. Until now if it is missing.",
)
@click.option(
    "--for",
    "life",
    metavar="DURATION",
    help="How long this is remembered: 12h, 30d. As long as tokens of the issuer live, "
    "or 30d.",
)
@click.option("--why", default="", help="A word for those who will wonder.")
@click.option("--json", "as_json", is_flag=True, help="Print what the proxy answered.")
@_about
def revoke(
    url: str, token: str | None, *, as_json: bool, stdin: bool, **given: Any
) -> None:
    """Revoke a token, or those of a session, a subject or an issuer.

    Whoever comes with one is refused with token-revoked, and has to log in again; their
    WebSockets are closed. Tokens that are issued afterwards are good.

    \b
    Exit status: 0 revoked, 1 the proxy refused or did not answer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy token revoke --sub ada --why "laptop stolen"
        lumina-proxy token revoke --sid 4f1c --issuer people
        lumina-proxy token revoke --all --before 2026-01-31T12:00:00Z
        lumina-proxy token revoke --stdin < token.jwt
    """  # noqa: D301 - the \b of click is a backspace
    if stdin:
        given |= _named(given)
    order = _order(given)
    if given["before"] is not None:
        order["before"] = _instant(given["before"])
    if given["life"] is not None:
        order["until"] = time.time() + _seconds(given["life"])
    if given["why"]:
        order["why"] = given["why"]
    answer = tell(url, "/revocations", order, token)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(f"revoked: {_line(answer['revoked'])}")
    _warn(answer)


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return id and issuer of a token, which is not verified and never printed."""
    if any(given[name] for name in _KINDS) or given["everything"]:
        raise click.UsageError("--stdin already says which token.")
    parts = sys.stdin.read().strip().removeprefix("Bearer ").split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        named = {"jti": claims["jti"], "issuer": given["issuer"] or claims["iss"]}
    except (IndexError, KeyError, TypeError, ValueError):
        named = {}
    if not named or not all(isinstance(one, str) for one in named.values()):
        raise click.UsageError(
            "On standard input is no token with a jti and an iss; use --sid, --sub or "
            "--all."
        )
    return named


def _seconds(text: str) -> float:
    length = microseconds(text)
    if not length:
        raise click.BadParameter("such as 5m, 12h or 30d", param_hint="--for")
    return length / 1_000_000


def _instant(text: str) -> float:
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise click.BadParameter(
            "a time with its zone, such as 2026-01-31T12:00:00Z", param_hint="--before"
        )
    return instant.timestamp()


@token.command()
@click.option("--json", "as_json", is_flag=True, help="Print what the proxy answered.")
@_about
def restore(url: str, token: str | None, *, as_json: bool, **given: Any) -> None:
    """Take a revocation back: what it was about is good again until it expires.

    \b
    Exit status: 0 restored, 1 there is no such revocation, or the proxy did not answer,
    2 wrong usage.

    \b
    Example:
        lumina-proxy token restore --sub ada
    """  # noqa: D301 - the \b of click is a backspace
    answer = tell(url, "/revocations/restore", _order(given), token)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif answer["restored"]:
        click.echo("restored")
        _warn(answer)
    if not answer["restored"]:
        fail(
            "there is no such revocation; lumina-proxy token list shows those there are"
        )


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print what the proxy answered.")
@with_metrics_port
def list_(url: str, token: str | None, *, as_json: bool) -> None:
    """List what is revoked, the oldest first.

    \b
    Exit status: 0 listed, 1 the proxy refused or did not answer, 2 wrong usage.
    """  # noqa: D301 - the \b of click is a backspace
    answer = ask(url, "/revocations", token)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for one in answer["revocations"]:
        click.echo(_line(one))
    if not answer["revocations"]:
        click.echo("nothing is revoked")
    if answer["state"] != "ok":
        click.secho(f"warning: {answer['state']}", fg="yellow", err=True)


def _line(one: Mapping[str, Any]) -> str:
    about = f"{one['kind']} {one['value']}" if one["value"] else "every token"
    before = "" if one["before"] is None else f", issued before {_shown(one['before'])}"
    why = f" ({one['why']})" if one["why"] else ""
    return f"{about} of {one['issuer']}{before}, until {_shown(one['until'])}{why}"


def _shown(instant: float) -> str:
    return dt.datetime.fromtimestamp(instant, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _warn(answer: Mapping[str, Any]) -> None:
    if not answer["shared"]:
        message = "Redis does not answer: other processes are told when it does"
        click.secho(f"warning: {message}", fg="yellow", err=True)


@token.command()
@click.option("--sub", default="somebody", show_default=True, help="Whose token.")
@click.option("--role", multiple=True, help="A role; may be given several times.")
@click.option("--issuer", help="Whose, when the policy has several issuers.")
@click.option(
    "--for", "life", default="5m", show_default=True, help="How long it is good."
)
@click.option(
    "--claim",
    multiple=True,
    metavar="NAME=JSON",
    help="Another claim: amr='[\"otp\"]'.",
)
@click.option(
    "--policy",
    type=PolicyPath,
    envvar="POLICY",
    default=DEFAULT_POLICY,
    help="The policy's file or folder. [POLICY]",
)
def mint(policy: Path, issuer: str | None, **given: Any) -> None:
    """Make a token to try a policy with, and print it.

    It is signed with the shared secret of an issuer of the policy (HS256 and so on),
    which has to be set as for serve. What another issuer signs only that issuer can
    make.

    \b
    Exit status: 0 made, 1 the policy has no such issuer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy token mint --sub ada --role teacher
        lumina-proxy token mint --role student --claim 'acr="mfa"'
    """  # noqa: D301 - the \b of click is a backspace
    found = _signing(policy, issuer)
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": found.issuer,
        "aud": found.audience[0],
        "sub": given["sub"],
        "iat": now,
        "exp": now + int(_seconds(given["life"])),
    }
    inner = claims
    for name in found.roles[:-1]:
        inner = inner.setdefault(name, {})
    if roles := list(given["role"]):
        inner[found.roles[-1]] = roles[0] if len(roles) == 1 else roles
    claims |= dict(_claim(one) for one in given["claim"])
    key = found.keys[0]
    headers = {"kid": key.kid} if key.kid else None
    click.echo(jwt.encode(claims, key.key, found.algorithms[0], headers))


def _signing(policy: Path, name: str | None) -> Issuer:
    """Return the issuer whose secret is here, or exit."""
    issuers = policy_or_exit(policy, assume_secrets=False).policy.issuers.values()
    secret = {one.id: one for one in issuers if one.algorithms[0] in FAMILIES["HMAC"]}
    if name is None and len(secret) == 1:
        return next(iter(secret.values()))
    if name not in secret:
        known = ", ".join(sorted(secret)) or "none"
        fail(f"say which issuer with a shared secret: --issuer NAME (there is {known})")
    return secret[name]


def _claim(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise click.BadParameter(
            f"{name!r} has no value in JSON: write a string as '\"text\"'",
            param_hint="--claim",
        ) from None
