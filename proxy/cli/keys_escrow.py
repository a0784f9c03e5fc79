"""``lumina-proxy keys export --escrow`` and ``keys restore``: a copy for the safe."""

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import click
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import pkcs7

from proxy.cli.keystore import fail, run
from proxy.core.key_records import Document, KeyRecord, KeyState
from proxy.core.keyset import key_from_text, text_of_key
from proxy.edge.keystore import changing
from proxy.edge.keystore.changing import Where

FORMAT = "lumina-escrow-1"
_MIN_BITS = 3072


@click.command()
@click.option(
    "--escrow",
    "certificate",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The certificate (RSA, PEM) of whoever keeps the copy.",
)
@click.argument("file", type=click.Path(path_type=Path))
def export(certificate: Path, file: Path) -> None:
    """Write every key to FILE, for one holder of a private key to open.

    FILE is a CMS message (RFC 5652) that `openssl cms -decrypt` opens, without this
    program. The private key belongs on no machine of the deployment. Whoever has both
    reads everything; without any copy, a lost key service is lost data. Forgotten
    subjects are not in it.

    \b
    Example:
        lumina-proxy keys export --escrow board.pem keys.cms
        openssl cms -decrypt -inform PEM -in keys.cms -inkey board.key > keys.json
    """  # noqa: D301 - the \b of click is a backspace
    try:
        holder = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError:
        fail(f"{certificate} is no certificate in PEM")
    public = holder.public_key()
    if not isinstance(public, rsa.RSAPublicKey) or public.key_size < _MIN_BITS:
        fail(f"{certificate} is not for RSA of {_MIN_BITS} bits or more")
    document, roots = run(changing.roots_of)
    text = json.dumps(_written(document, roots), indent=1).encode()
    message = (
        pkcs7.PKCS7EnvelopeBuilder()
        .set_data(text)
        .set_content_encryption_algorithm(AES256)
        .add_recipient(holder)
        .encrypt(serialization.Encoding.PEM, [pkcs7.PKCS7Options.Binary])
    )
    try:
        with os.fdopen(
            os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb"
        ) as out:
            out.write(message)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    subject = holder.subject.rfc4514_string()
    click.echo(f"{len(roots)} keys are in {file}, for {subject}")


def _written(document: Document, roots: dict[int, bytes]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "keystore": document.keystore,
        "exported": int(time.time()),
        "bound": document.bound,
        "rotate_after": document.rotate_after,
        "rotate_at": document.rotate_at,
        "keys": [
            {
                "id": record.name,
                "tenant": record.tenant,
                "version": record.version,
                "state": record.state.value,
                "lookups": record.lookups,
                "looked_up": record.looked_up,
                "created": record.created,
                "since": record.since,
                "key": text_of_key(roots[record.id]),
            }
            for record in document.keys
            if record.id in roots
        ],
    }


@click.command()
@click.argument("file", type=click.File("rb"))
def restore(file: BinaryIO) -> None:
    """Make a keystore of the keys in FILE, which an escrow was opened to.

    There may be no keystore yet. Each key comes back with its state, under the
    key-encryption key that is configured now.

    \b
    Example:
        openssl cms -decrypt -inform PEM -in keys.cms -inkey board.key |
          lumina-proxy keys restore -
    """  # noqa: D301 - the \b of click is a backspace
    try:
        body = json.loads(file.read())
        if body["format"] != FORMAT:
            fail("this is not an escrow of this version")
        keys = [
            (_record(row), key_from_text(row["key"], n))
            for n, row in enumerate(body["keys"], start=1)
        ]
        settings = {k: body[k] for k in ("bound", "rotate_after", "rotate_at")}
    except (KeyError, TypeError, ValueError):
        fail("this is not an opened escrow, or it is damaged")

    async def work(where: Where) -> Document:
        return await changing.restored(where, keys, settings)

    document = run(work)
    click.echo(f"made a keystore with {len(document.keys)} keys")


def _record(row: dict[str, Any]) -> KeyRecord:
    return KeyRecord(
        id=int(row["id"], 16),
        tenant=str(row["tenant"]),
        version=int(row["version"]),
        state=KeyState(row["state"]),
        created=int(row["created"]),
        since=int(row["since"]),
        wrapped=None,
        lookups=bool(row["lookups"]),
        looked_up=bool(row["looked_up"]),
    )
