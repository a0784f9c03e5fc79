"""``lumina-proxy keys``: the keys of a keystore, for those who operate it."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any

import click

from proxy.cli import keys_census, keys_escrow
from proxy.cli.keystore import (
    Duration,
    KeyId,
    age,
    environment,
    fail,
    progress,
    promotion_of,
    run,
)
from proxy.core import key_changes
from proxy.core.key_records import Document, KeyRecord
from proxy.core.keyset import Keyset, key_from_text
from proxy.edge.keystore import changing
from proxy.edge.keystore.changing import Where

_SHARED = "(shared)"


@click.group(short_help="Make, rotate, promote and destroy the keys of a keystore.")
def keys() -> None:
    """Make, rotate, promote and destroy the keys of a keystore.

    KEYSTORE says where it is: a file, redis://… or postgresql://…. KMS_URL, or
    KEY_ENCRYPTION_KEY, says what opens it. Each variable may come from a file:
    NAME_FILE. `.env.example` explains them.

    A key is pending until every replica knows it, then primary: it encrypts. The one
    before it is active: it decrypts. A disabled key can be enabled again; a destroyed
    one is gone, with every value under it.

    \b
    A rotation, from the first step to the last:
        lumina-proxy keys rotate
        lumina-proxy keys promote 0a1b2c3d
        pg_dump lms | lumina-proxy keys census -
        lumina-proxy keys disable 838b3718
        lumina-proxy keys destroy 838b3718

    \b
    Exit status: 0 done, 1 refused or not to be had, 2 wrong usage.

    \b
    Examples:
        lumina-proxy keys list --help
        lumina-proxy keys init --help
    """  # noqa: D301 - the \b of click is a backspace


@keys.command()
@click.option("--tenant", "tenants", multiple=True, help="Whose keys; shared usually.")
@click.option("--adopt", is_flag=True, help="Take the keys of ENCRYPTION_KEY over.")
@click.option("--bound", type=Duration(), help="How long keys may go unrefreshed; 1h.")
@click.option("--rotate-after", type=Duration(), help="Age of a key's end; 365d.")
@click.option("--rotate-at", type=int, help="Encryptions at a key's end; never.")
def init(
    tenants: Sequence[str],
    *,
    adopt: bool,
    bound: float | None,
    rotate_after: float | None,
    rotate_at: int | None,
) -> None:
    """Make a keystore with a first key.

    With --adopt the keys of ENCRYPTION_KEY become keys of the keystore, so that what is
    stored stays readable and look-ups go on finding it; ENCRYPTION_KEY is not needed
    any more then. A tenant's are those that were derived for it.

    \b
    Examples:
        lumina-proxy keys init
        lumina-proxy keys init --adopt --tenant "" --tenant north
    """  # noqa: D301 - the \b of click is a backspace
    given = {"bound": bound, "rotate_after": rotate_after, "rotate_at": rotate_at}
    settings = {name: value for name, value in given.items() if value is not None}
    adopted = _adopted(tenants or ("",)) if adopt else None
    if tenants and not adopt:
        fail("a tenant's first key waits until every replica knows it: `keys rotate`")

    async def work(where: Where) -> Document:
        return await changing.made(
            where, now=time.time(), settings=settings, adopt=adopted
        )

    document = run(work)
    click.echo(f"made a keystore with {len(document.keys)} keys")
    for record in document.keys:
        click.echo(
            f"key {record.name} of {record.tenant or _SHARED} is primary"
            if record.state.value == "primary"
            else f"key {record.name} of {record.tenant or _SHARED} decrypts"
        )


def _adopted(tenants: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the keys of ENCRYPTION_KEY, by tenant."""
    text = environment().get("ENCRYPTION_KEY", "")
    if not text:
        fail("ENCRYPTION_KEY is not set: there is nothing to adopt")
    try:
        keyset = Keyset.from_text(text)
        roots = [
            key_from_text(part.strip(), n) for n, part in enumerate(text.split(","), 1)
        ]
    except ValueError as error:
        fail(f"ENCRYPTION_KEY: {error}")
    return {
        tenant: keyset.derived_roots(tenant) if tenant else roots for tenant in tenants
    }


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one document.")
def list_(*, as_json: bool) -> None:
    """Show every key: whose it is, what it does, and who still needs it.

    VALUES is from the last census, ENCRYPTED from the proxies that count. A star marks
    the key that look-ups stay with.
    """

    async def work(where: Where) -> tuple[Document, dict[int, int]]:
        document, _ = await changing.opened(where)
        return document, await where[0].count({})

    document, used = run(work)
    if as_json:
        click.echo(json.dumps(_listed(document, used), indent=2))
        return
    now = time.time()
    click.echo("KEY       TENANT        VERSION  STATE      AGE   ENCRYPTED     VALUES")
    for record in document.keys:
        click.echo(_row(document, record, used.get(record.id, 0), now))
    if document.census:
        counted = age(now - document.census.at)
        click.echo(f"census: {counted} ago, {document.census.source}")


def _row(document: Document, record: KeyRecord, used: int, now: float) -> str:
    census = document.census
    values = "?" if census is None else str(census.values.get(record.id, 0))
    return (
        f"{record.name}{'*' if record.lookups else ' '} "
        f"{record.tenant or _SHARED:<13} {record.version:<8} {record.state.value:<10} "
        f"{age(now - record.created):<5} {used:<13} {values}"
    )


def _listed(document: Document, used: dict[int, int]) -> dict[str, Any]:
    census = document.census
    return {
        "keystore": document.keystore,
        "revision": document.revision,
        "bound": document.bound,
        "rotate_after": document.rotate_after,
        "rotate_at": document.rotate_at,
        "census": census and {"at": census.at, "source": census.source},
        "keys": [
            {
                "id": record.name,
                "tenant": record.tenant,
                "version": record.version,
                "state": record.state.value,
                "lookups": record.lookups,
                "created": record.created,
                "since": record.since,
                "wrapped_by": record.wrapped and record.wrapped.kek,
                "encrypted": used.get(record.id, 0),
                "values": None if census is None else census.values.get(record.id, 0),
            }
            for record in document.keys
        ],
    }


@keys.command()
@click.option("--tenant", default="", help="Whose key; shared usually.")
def rotate(tenant: str) -> None:
    """Add a new key, which becomes primary when every replica knows it.

    It is the first one of a tenant that has none: the tenant is served from then on.
    Old values stay readable, and are encrypted anew when they are next written. Fields
    that are looked up stay with their key.
    """
    document = run(lambda where: changing.rotated(where, tenant, time.time()))
    record = key_changes.pending(document, tenant)
    if record:
        click.echo(promotion_of(document, record.id))


@keys.command()
@click.argument("key", type=KeyId())
@click.option("--lookups", is_flag=True, help="Have look-ups use it from now on.")
def promote(key: int, *, lookups: bool) -> None:
    """Let KEY encrypt from now on; the one before it goes on decrypting.

    It is refused while a replica may not know the key. With --lookups it is not what
    encrypts that changes, but the key that looked-up fields stay with: nothing that is
    stored under another one is found any more until it is encrypted anew, so that
    belongs to a migration.
    """
    if lookups:
        _change(lambda document: key_changes.looked_up_by(document, key))
        click.echo(f"look-ups use the key {key:08x}")
        return
    _change(lambda document: key_changes.promoted(document, key, time.time()))
    click.echo(f"key {key:08x} is primary")


@keys.command()
@click.argument("key", type=KeyId())
def disable(key: int) -> None:
    """Let KEY decrypt nothing more, to see whether anything misses it.

    Replicas follow within the keystore's bound. What still needs the key fails as
    unknown-key, and `keys enable` takes it back.
    """
    document = _change(lambda d: key_changes.disabled(d, key, time.time()))
    click.echo(
        f"key {key:08x} is disabled: nothing decrypts under it "
        f"after {age(document.bound)} at most"
    )


@keys.command()
@click.argument("key", type=KeyId())
def enable(key: int) -> None:
    """Let a disabled KEY decrypt again, because something missed it.

    Replicas follow within the keystore's bound.
    """
    _change(lambda document: key_changes.enabled(document, key, time.time()))
    click.echo(f"key {key:08x} is active")


@keys.command()
@click.argument("key", type=KeyId())
@click.option(
    "--accept-uncounted",
    is_flag=True,
    help="Although values that no census counts may need it.",
)
@click.confirmation_option(prompt="Values under this key are lost for ever. Go on?")
def destroy(key: int, *, accept_uncounted: bool) -> None:
    """Remove a disabled KEY for good: what is encrypted under it is lost for ever.

    It is refused unless a census was taken since the key was disabled, and found no
    value under it. Copies of the keystore still have the key: they are yours to
    destroy.
    """
    _change(
        lambda document: key_changes.destroyed(
            document, key, time.time(), accept_uncounted=accept_uncounted
        )
    )
    click.echo(f"key {key:08x} is destroyed")


@keys.command()
@click.argument("subject")
@click.option("--tenant", default="", help="Of which tenant; none usually.")
@click.confirmation_option(prompt="This person's values are lost for ever. Go on?")
def forget(subject: str, tenant: str) -> None:
    """Destroy the key of SUBJECT: what is encrypted under it is lost for ever.

    SUBJECT is what the policy's `subject` says of a request, such as the token's sub.
    Values of fields with a key per subject become unreadable everywhere, in backups of
    the LMS too; backups of the keystore still have the key until they are destroyed.
    Replicas follow within the keystore's bound.
    """
    if not run(lambda where: changing.forgotten(where, tenant, subject)):
        fail("nobody of this name has a key")
    click.echo("forgotten")


@keys.command()
def rewrap() -> None:
    """Wrap every key anew under the first key-encryption key that is configured.

    After the key-encryption key was rotated, or for another one: name the new one
    first and the old one behind it (KMS_URL, KEY_ENCRYPTION_KEY), rewrap, give the
    proxies the same two, and at last the new one alone. No value changes.
    """

    async def work(where: Where) -> Document:
        with progress("Wrapping keys", None) as told:
            return await changing.wrapped_anew(where, lambda n, _: told(n))

    document = run(work)
    click.echo(f"{len(document.keys)} keys are wrapped by {document.seal.kek}")


@keys.command()
@click.option("--bound", type=Duration(), help="How long keys may go unrefreshed.")
@click.option("--rotate-after", type=Duration(), help="Age of a key's end; 0s: never.")
@click.option("--rotate-at", type=int, help="Encryptions at a key's end; 0: never.")
def configure(**given: float | None) -> None:
    """Change when keys are refreshed and replaced."""
    settings: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    document = _change(lambda d: dataclasses.replace(d, **settings))
    click.echo(
        f"bound {age(document.bound)}, rotated after {age(document.rotate_after)} or "
        f"at {document.rotate_at} encryptions (0: never)"
    )


def _change(change: changing.Change) -> Document:
    async def work(where: Where) -> Document:
        return (await changing.changed(where, change))[1]

    return run(work)


keys.add_command(keys_census.census)
keys.add_command(keys_escrow.export)
keys.add_command(keys_escrow.restore)
