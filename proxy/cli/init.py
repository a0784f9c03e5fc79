"""``lumina-proxy init``: what a deployment needs before its first start."""

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.cli.drafting import with_output, write_draft
from proxy.cli.openapi_file import read_openapi
from proxy.core.authn import VerificationKey
from proxy.core.workbench.openapi import operations_of

SECRET_BYTES = 32
REDIS_YEARS = 10
"""Its authority's key is thrown away, and nobody outside meets its certificate."""

_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]+"
)
_REDIS_NAMES = ("redis", *(f"redis-{number}" for number in range(1, 7)), "localhost")

_RIGHTS: Mapping[str, str] = {
    # The buckets and who shares them: two scripts, what they call, and where slots are.
    "lumina": "~lb:* -@all +@connection +eval +evalsha +script|load +mget +set +del "
    "+time +asking +expire +pexpire +zadd +zrem +zcard +zcount +zremrangebyscore "
    "+cluster|slots",
    # Numbers, and no key's name or value.
    "exporter": "resetkeys -@all +@connection +info +config|get +latency|latest "
    "+latency|histogram +slowlog|len +slowlog|get +cluster|info",
    "replica": "resetkeys -@all +psync +replconf +ping",
    "admin": "~* &* +@all",
}

_ENV = """\
# Written by `lumina-proxy init production`; .env.example explains all there is.
COMPOSE_FILE=docker-compose.prod.yml

# What runs beside the edge, the proxy, the LMS and its data: acme asks Let's Encrypt
# for a certificate, watch measures and alerts, logs collects.
COMPOSE_PROFILES=watch,logs

# The name that clients use.
DOMAIN={domain}

# The LMS. What is usual is the stub of the demo, which must not serve anybody for real.
#BACKEND_IMAGE=
#BACKEND_URL=http://backend:9000

# The folder with the secrets: keep a copy of encryption_key elsewhere.
SECRETS={secrets}
"""


@click.group(
    "init",
    short_help="Write what a deployment needs before its first start.",
    invoke_without_command=True,
)
@click.option(
    "--openapi",
    metavar="FILE|URL",
    help="Draft a policy from this OpenAPI document (2.0, 3.0, 3.1; JSON or YAML).",
)
@with_output
@click.pass_context
def init(context: click.Context, openapi: str | None, output: Path | None) -> None:
    """Write what a deployment needs before its first start.

    With --openapi, a policy: a rule for each operation, whom the document asks for a
    token, and the fields with personal names. It passes `check`, and enforces nothing
    until somebody has read it (`mode: shadow`).

    \b
    Examples:
        lumina-proxy init --help
        lumina-proxy init production --help
    """  # noqa: D301 - the \b of click is a backspace
    if context.invoked_subcommand is not None:
        if openapi is not None or output is not None:
            raise click.UsageError("--openapi and --output are for no other command")
        return
    if openapi is None:
        click.echo(context.get_help())
        context.exit(2)
    document = read_openapi(openapi)
    try:
        operations, backend = operations_of(document)
    except ValueError as error:
        _exit(f"{openapi}: {error}")
    write_draft(operations, output, source=openapi, backend=backend)


@init.command()
@click.option("--domain", required=True, help="The name that clients use.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where docker-compose.prod.yml is. Usually here.",
)
@click.option(
    "--jwt-secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with the secret that the LMS signs its tokens with (HS256). Without "
    "it one is made, and the LMS has to be given it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def production(
    domain: str, folder: Path, jwt_secret_file: Path | None, *, as_json: bool
) -> None:
    """Write .env, and the folder secrets with a file for each secret.

    Secrets are 256 random bits each; none is printed, and nothing that is there already
    is written over. Only you can enter the folder. Its files can be read by all, for
    each container sees its own ones alone, as a user of its own.

    \b
    Exit status: 0 written, 1 something is there already, 2 wrong usage.

    \b
    Examples:
        lumina-proxy init production --domain lms.example.org
        docker compose up --detach --wait
    """  # noqa: D301 - the \b of click is a backspace
    if _NAME.fullmatch(domain) is None:
        raise click.BadParameter(f"{domain!r} is no host name", param_hint="--domain")
    jwt_secret = _of_the_lms(jwt_secret_file) if jwt_secret_file else _random()
    files = _secrets(domain, jwt_secret)
    environment, room = folder / ".env", folder / "secrets"
    for path in (environment, room):
        if path.exists() or path.is_symlink():
            _exit(f"{path} is there already, and nothing is written over.")
    try:
        room.mkdir(mode=0o700)
        for name, text in files.items():
            _write(room / name, text, 0o444)
        _write(environment, _ENV.format(domain=domain, secrets="./secrets"), 0o600)
    except OSError as error:
        _exit(f"{error.filename} cannot be written: {error.strerror}.")
    paths = [str(environment), *(str(room / name) for name in files)]
    click.echo(json.dumps({"written": paths}) if as_json else _told(room, len(files)))


def _told(room: Path, count: int) -> str:
    return f"""\
Written: .env, and {count} files in {room}.
Before the first start:
  - copy {room / "encryption_key"} to where this machine's backups are not: whoever
    loses it loses the protected fields
  - give the LMS {room / "jwt_secret"}, unless it came from there
  - put the webhooks of those on call into {room}/alertmanager_*_url: while these are
    empty nobody is told anything
Then: docker compose up --detach --wait"""


def _of_the_lms(path: Path) -> str:
    """Return the LMS's secret; end with one line if it cannot be one."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        VerificationKey.load(text, ("HS256",))
    except (OSError, UnicodeDecodeError):
        _exit(f"{path} cannot be read.")
    except ValueError as error:
        _exit(f"{path}: {error}.")
    return text


def _random() -> str:
    """Return a secret that needs no quotes anywhere."""
    return secrets.token_urlsafe(SECRET_BYTES)


def _secrets(domain: str, jwt_secret: str) -> dict[str, str]:
    """Return the content of each file by its name."""
    redis = {user: _random() for user in _RIGHTS}
    lms = _random()
    key = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return {
        "jwt_secret": jwt_secret,
        "encryption_key": key,
        "metrics_token": _random(),
        "origin_secret": _random(),
        "edge_targets": f'- targets: ["{domain}:8443"]',  # no secret, but ours
        "postgres_password": _random(),
        "postgres_lms_password": lms,
        "postgres_exporter_password": _random(),
        "pgbouncer_userlist": f'"lms" "{lms}"\n"stats" ""',
        "database_url": f"postgresql://lms:{lms}@pgbouncer:6432/lms",
        "redis_url": f"rediss://lumina:{redis['lumina']}@redis:6379/0"
        "?ssl_ca_certs=/run/secrets/redis_ca",
        "redis_password": redis["lumina"],
        "redis_admin_password": redis["admin"],
        "redis_exporter_passwords": json.dumps(
            {"rediss://exporter@redis:6379": redis["exporter"]}
        ),
        "redis_replication": f"masteruser replica\nmasterauth {redis['replica']}",
        "redis_acl": "\n".join(["user default off", *map(_acl, redis.items())]),
        **_redis_certificates(),
        "grafana_admin_password": _random(),
        "alertmanager_page_url": "",
        "alertmanager_ticket_url": "",
        "alertmanager_watchdog_url": "",
        "objects_user": secrets.token_hex(8),
        "objects_password": _random(),
        "milvus_root_password": _random(),
    }


def _acl(user: tuple[str, str]) -> str:
    """Return a user's line: it holds the password's hash, not the password."""
    name, password = user
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user {name} on #{digest} {_RIGHTS[name]}"


def _redis_certificates() -> dict[str, str]:
    """Return an authority that signed once, and what it signed."""
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name.from_rfc4514_string("CN=lumina-proxy Redis authority")
    basic = _certificate(name, name, authority).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = x509.KeyUsage(
        *(False, False, False, False, False), key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    root = basic.add_extension(usage, critical=True).sign(authority, hashes.SHA256())
    names = [*map(x509.DNSName, _REDIS_NAMES)]
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    subject = x509.Name.from_rfc4514_string("CN=redis")
    signed = (
        _certificate(subject, name, leaf)
        .add_extension(x509.SubjectAlternativeName([*names, loopback]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
        .sign(authority, hashes.SHA256())
    )
    private = leaf.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return {
        "redis_ca": root.public_bytes(pem).decode(),
        "redis_certificate": signed.public_bytes(pem).decode(),
        "redis_key": private.decode(),
    }


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=365 * REDIS_YEARS))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    )


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file that is not there yet, with this mode whatever the umask."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
    ) as file:
        file.write(text if text.endswith("\n") or not text else text + "\n")
        os.fchmod(file.fileno(), mode)


def _exit(message: str) -> NoReturn:
    click.secho(message, fg="red", err=True)
    sys.exit(1)
