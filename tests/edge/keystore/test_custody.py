"""Keys kept fresh: what replicas learn and when, and what they do when nobody answers.

``now`` is an argument for rotation; the lease is a timer of the loop, so its bounds are
fractions of a second here.
"""

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.core import key_records
from proxy.core.ciphers import Ciphers
from proxy.core.errors import Refused
from proxy.core.key_changes import disabled, looked_up_by, promoted
from proxy.core.key_records import KeyState, KeystoreError
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.reasons import Reason
from proxy.edge.keystore.changing import (
    adopted,
    changed,
    made,
    opened,
    roots_of,
    rotated,
    wrapped_anew,
)
from proxy.edge.keystore.custody import Custody
from proxy.edge.keystore.file_store import FileStore
from proxy.edge.keystore.local_kek import LocalKek
from proxy.edge.keystore.ports import KekRing, KeysUnavailableError
from tests.cipher_builders import FIELD, NEW, OLD, a_field, nonces
from tests.key_servers import Transit
from tests.wire import eventually

KEK = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER = base64.urlsafe_b64encode(bytes(range(1, 33))).decode()
NOW = 1_000_000.0
HOUR = 3600.0

Where = tuple[FileStore, KekRing]


@pytest.fixture(name="where")
async def where_fixture(tmp_path: Path) -> Where:
    """A keystore with one key."""
    where = FileStore(tmp_path / "keys.sqlite3"), KekRing([LocalKek(KEK)])
    await made(where, now=NOW)
    return where


class Replica:
    """A process that follows a keystore, and what it encrypts and decrypts."""

    def __init__(self, where: Where, now: Callable[[], float] = lambda: NOW) -> None:
        self.used: dict[int, int] = {}
        self.custody = Custody(
            *where, now=now, used=lambda: self.used, on_change=self.use
        )
        self.changes = 0

    async def open(self) -> "Replica":
        """Read the keystore."""
        self.use(await self.custody.open())
        return self

    def use(self, keyring: Keyring) -> None:
        """Put keys in force."""
        self.changes = getattr(self, "changes", 0) + 1
        self.ciphers = Ciphers(
            keyring,
            "lms",
            {FIELD: a_field()},
            nonces(),
            lease=self.custody.lease,
            missed=self.custody.missed,
        )

    def encrypt(self) -> str:
        """Return a ciphertext."""
        return self.ciphers.of("").encrypt(FIELD, '"Ada"')

    def reads(self, leaf: str) -> bool:
        """Tell whether a ciphertext decrypts."""
        return self.ciphers.of("").decrypt(FIELD, leaf) == '"Ada"'

    @property
    def key(self) -> str:
        """The id of the key that encrypts."""
        return self.ciphers.of("").key(FIELD)


@pytest.fixture(name="start")
async def start_fixture(
    where: Where,
) -> AsyncIterator[Callable[..., "asyncio.Future[Replica]"]]:
    """What opens a further replica of the keystore."""
    replicas: list[Replica] = []

    async def opened_one(now: Callable[[], float] = lambda: NOW) -> Replica:
        replicas.append(await Replica(where, now).open())
        return replicas[-1]

    yield opened_one  # type: ignore[misc]
    for one in replicas:
        await one.custody.close()


async def test_a_new_keystore_has_one_key(where: Where) -> None:
    """That encrypts at once, and that look-ups stay with."""
    document, _ = await opened(where)
    [record] = document.keys

    assert (record.state, record.lookups) == (KeyState.PRIMARY, True)
    assert (document.revision, record.created) == (1, NOW)
    with pytest.raises(KeystoreError, match="there is a keystore already"):
        await made(where, now=NOW)


async def test_a_keystore_is_opened(
    start: Callable[..., "asyncio.Future[Replica]"],
) -> None:
    """Two replicas read what each other wrote."""
    one, other = await start(), await start()

    assert one.reads(other.encrypt())
    assert other.reads(one.encrypt())
    assert one.custody.state == "ok"
    assert [age for *_, age in one.custody.ages()] == [0.0]


async def test_replicas_never_meet_an_unknown_key(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """At every step of a rotation, with every mix of who has refreshed and who not."""
    replicas = [await start() for _ in range(3)]

    async def step(change: Callable[[], object]) -> None:
        # One replica after the other sees it; meanwhile all write and read.
        result = change()
        if asyncio.iscoroutine(result):
            await result
        for one in replicas:
            await one.custody.refresh()
            sealed = [writer.encrypt() for writer in replicas]
            assert all(reader.reads(leaf) for reader in replicas for leaf in sealed)

    first = replicas[0].key
    await step(lambda: rotated(where, "", NOW))
    document, _ = await opened(where)
    new = document.keys[-1]
    assert {one.key for one in replicas} == {first}
    await step(lambda: changed(where, lambda d: promoted(d, new.id, NOW + HOUR)))
    assert {one.key for one in replicas} == {new.name}
    old = document.keys[0].id
    await step(lambda: changed(where, lambda d: looked_up_by(d, new.id)))
    await step(lambda: changed(where, lambda d: promoted(d, old, NOW + 3 * HOUR)))

    assert {one.key for one in replicas} == {first}


async def test_a_promotion_within_the_bound_is_refused(where: Where) -> None:
    """A replica that has not refreshed would meet an unknown key."""
    document = await rotated(where, "", NOW)
    with pytest.raises(KeystoreError, match="a replica may not know it; wait 1 s more"):
        await changed(
            where, lambda d: promoted(d, document.keys[-1].id, NOW + HOUR - 1)
        )


async def test_a_disabled_key_reads_nothing(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """From the next refresh on."""
    replica = await start()
    leaf = replica.encrypt()
    document = await rotated(where, "", NOW)
    new = document.keys[-1].id
    old = document.keys[0].id
    await changed(where, lambda d: promoted(d, new, NOW + HOUR))
    await changed(where, lambda d: disabled(looked_up_by(d, new), old, NOW + HOUR))
    await replica.custody.refresh()
    with pytest.raises(Refused) as caught:
        replica.reads(leaf)

    assert caught.value.reason is Reason.FIELD_UNDECRYPTABLE


async def test_rotation_happens_by_itself(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """By age: added when it is old, promoted when the bound is over, once in all."""
    time = [NOW]
    replicas = [await start(lambda: time[0]) for _ in range(3)]

    async def refreshed() -> list[str]:
        await asyncio.gather(*(one.custody.refresh() for one in replicas))
        return [record.state.value for record in (await opened(where))[0].keys]

    assert await refreshed() == ["primary"]
    time[0] += 365 * 86400
    assert await refreshed() == ["primary", "pending"]
    assert await refreshed() == ["primary", "pending"]
    time[0] += HOUR
    assert await refreshed() == ["active", "primary"]


async def test_rotation_by_count_adds_up_over_replicas(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """Each counts its own; the keystore counts all."""
    await changed(
        where, lambda d: dataclasses.replace(d, rotate_at=10, revision=d.revision + 1)
    )
    replicas = [await start() for _ in range(2)]
    for one in replicas:
        one.used = {int(one.key, 16): 4}
        await one.custody.refresh()
        await one.custody.refresh()  # what was counted is not counted again
    assert len((await opened(where))[0].keys) == 1
    replicas[0].used = {int(replicas[0].key, 16): 6}
    await replicas[0].custody.refresh()

    assert len((await opened(where))[0].keys) == 2


async def test_past_the_bound_encryption_stops_and_decrypting_goes_on(
    tmp_path: Path, transit: Transit
) -> None:
    """While a key service is silent; and it begins again when it answers."""
    policy = 'path "transit/+/lms" { capabilities = ["update"] }'
    token = [transit.token_for(policy)]
    from proxy.edge.keystore.transit import TransitKek  # noqa: PLC0415

    kek = TransitKek(transit.url, "transit", "lms", lambda: token[0])
    where = FileStore(tmp_path / "other.sqlite3"), KekRing([kek])
    await made(where, now=NOW, settings={"bound": 0.6})
    replica = await Replica(where).open()
    leaf = replica.encrypt()
    good, token[0] = token[0], "revoked"
    await eventually(lambda: replica.custody.state.startswith("degraded"))
    assert replica.reads(replica.encrypt())
    await eventually(lambda: not replica.custody.lease.valid)
    with pytest.raises(Refused) as caught:
        replica.encrypt()

    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert replica.reads(leaf)
    assert replica.custody.state == (
        "encryption stopped: transit:transit/lms answered 403 to decrypt"
    )
    token[0] = good
    await eventually(lambda: replica.custody.state == "ok")
    assert replica.reads(replica.encrypt())
    await replica.custody.close()


async def test_no_key_service_is_asked_between_refreshes(where: Where) -> None:
    """However much is encrypted and decrypted."""
    asked = 0

    class Counting(LocalKek):
        async def unwrap(self, keys: object) -> list[bytes]:
            nonlocal asked
            asked += 1
            return await super().unwrap(keys)  # type: ignore[arg-type]

    replica = await Replica((where[0], KekRing([Counting(KEK)]))).open()
    before = asked
    for _ in range(1000):
        assert replica.reads(replica.encrypt())
    assert asked == before == 1
    await replica.custody.refresh()

    assert asked == 2
    await replica.custody.close()


async def test_a_key_that_is_missed_is_looked_for(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """Soon, and not for every value: a backend cannot make us ask all the time."""
    replica, other = await start(), await start()
    document = await rotated(where, "", NOW)
    await changed(where, lambda d: promoted(d, document.keys[-1].id, NOW + HOUR))
    await other.custody.refresh()
    leaf = other.encrypt()
    for _ in range(3):
        with pytest.raises(Refused):
            replica.reads(leaf)
    await eventually(lambda: replica.changes == 2)

    assert replica.reads(leaf)


async def document_of(where: Where) -> bytes:
    """Return the document's text."""
    text = await where[0].load()
    assert text
    return text


async def put(where: Where, text: bytes) -> None:
    """Write a document as somebody who has no keys."""
    current, _ = key_records.read(await document_of(where))
    assert await where[0].save(text, current.revision + 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace(b'"primary"', b'"active"'), "changed by somebody"),
        (lambda t: t.replace(b'"bound": 3600.0', b'"bound": 9e9'), "changed by someb"),
        (lambda t: t[:-9], "damaged"),
    ],
    ids=["state", "bound", "cut"],
)
async def test_a_document_that_was_changed_is_none(
    where: Where,
    start: Callable[..., "asyncio.Future[Replica]"],
    change: Callable[[bytes], bytes],
    words: str,
) -> None:
    """The keys of before go on, within the bound, and it is said why."""
    replica = await start()
    text = change(await document_of(where))
    await put(where, text)
    await replica.custody.refresh()

    assert words in replica.custody.state
    assert replica.reads(replica.encrypt())
    with pytest.raises(KeystoreError, match=words):
        await Replica(where).open()


async def test_a_document_that_was_put_back_is_none(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """A replica that saw a later one does not believe an earlier one."""
    before = await document_of(where)
    replica = await start()
    await rotated(where, "", NOW)
    await replica.custody.refresh()
    await put(where, before)
    await replica.custody.refresh()

    assert "put back from revision 2 to 1" in replica.custody.state


async def test_another_keystore_is_none(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"], tmp_path: Path
) -> None:
    """A store that was replaced as a whole is noticed."""
    replica = await start()
    other = FileStore(tmp_path / "new.sqlite3"), where[1]
    await made(other, now=NOW)
    await put(where, await document_of(other))
    await replica.custody.refresh()

    assert "replaced by another one" in replica.custody.state


async def test_a_keystore_that_is_gone_is_noticed(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"], tmp_path: Path
) -> None:
    """And one that was never there refuses the start."""
    replica = await start()
    where[0]._path.unlink()
    await replica.custody.refresh()
    nowhere = Replica((FileStore(tmp_path / "none"), where[1]))

    assert replica.custody.state == "degraded: the keystore is gone"
    with pytest.raises(KeystoreError, match="make one with `lumina-proxy keys init`"):
        await nowhere.open()
    with pytest.raises(KeystoreError, match="make one with `keys init`"):
        await opened((FileStore(tmp_path / "none"), where[1]))


async def test_a_key_that_is_swapped_for_another_does_not_open(where: Where) -> None:
    """A wrapped key is bound to its tenant, version and id."""
    await rotated(where, "", NOW)
    document, seal = await opened(where)
    one, other = document.keys
    moved = dataclasses.replace(
        document,
        revision=document.revision + 1,
        keys=(dataclasses.replace(one, wrapped=other.wrapped), other),
    )
    await where[0].save(key_records.write(moved, seal), moved.revision)
    with pytest.raises(KeystoreError, match="changed or moved"):
        await Replica(where).open()


async def test_keys_of_before_are_adopted(tmp_path: Path) -> None:
    """Those of ENCRYPTION_KEY, and a tenant's derived ones: values stay readable."""
    legacy = Keyset([NEW, OLD])
    where = FileStore(tmp_path / "keys"), KekRing([LocalKek(KEK)])
    document = await made(where, now=NOW, adopt={"": [NEW, OLD]})
    roots = [legacy.subkey(i, "lumina tenant v1", "north") for i in legacy.key_ids]
    document = await adopted(where, "north", roots, NOW)

    assert [record.id for record in document.of("")] == list(legacy.key_ids)
    assert [record.state.value for record in document.keys] == [
        *("primary", "active", "primary", "active")
    ]
    replica = await Replica(where).open()
    before = Ciphers(Keyring(legacy), "lms", {FIELD: a_field()}, nonces())
    for tenant in ("", "north"):
        leaf = before.of(tenant).encrypt(FIELD, '"Ada"')
        assert replica.ciphers.of(tenant).decrypt(FIELD, leaf) == '"Ada"'
    await replica.custody.close()


async def test_keys_are_wrapped_anew_while_replicas_serve(
    where: Where, start: Callable[..., "asyncio.Future[Replica]"]
) -> None:
    """Under another key-encryption key; the keys, and so the values, stay."""
    old = await start()
    leaf = old.encrypt()
    new = LocalKek(OTHER)
    both = where[0], KekRing([new, LocalKek(KEK)])
    told: list[tuple[int, int]] = []
    document = await wrapped_anew(both, lambda *one: told.append(one))

    assert told == [(0, 1), (1, 1)]
    assert {record.wrapped.kek for record in document.keys if record.wrapped} == {
        new.name
    }
    await old.custody.refresh()
    assert "not configured" in old.custody.state
    assert old.reads(old.encrypt())
    replica = await Replica((where[0], KekRing([new]))).open()
    assert replica.reads(leaf)
    await replica.custody.close()


async def test_an_escrow_has_every_key(where: Where) -> None:
    """In plain, by id; a destroyed one is not there."""
    await rotated(where, "", NOW)
    document, roots = await roots_of(where)

    assert set(roots) == {record.id for record in document.keys}
    assert {len(root) for root in roots.values()} == {32}


async def test_two_operators_at_once_both_succeed(where: Where) -> None:
    """Whoever is second begins again with what the first wrote."""

    def settle(n: float) -> Callable[[key_records.Document], key_records.Document]:
        return lambda d: dataclasses.replace(
            d, rotate_after=d.rotate_after + n, revision=d.revision + 1
        )

    await asyncio.gather(*(changed(where, settle(1.0)) for _ in range(5)))
    document, _ = await opened(where)

    assert document.rotate_after == key_records.DEFAULT_ROTATE_AFTER + 5
    assert document.revision == 6


async def test_whoever_is_never_first_is_told(where: Where) -> None:
    """Instead of trying for ever."""

    class Slow(FileStore):
        async def save(self, document: bytes, revision: int) -> bool:
            del document, revision
            return False

    slow = Slow(where[0]._path), where[1]
    for work in (
        changed(slow, lambda d: d),
        rotated(slow, "", NOW),
        adopted(slow, "", [], NOW),
        wrapped_anew(slow),
    ):
        with pytest.raises(KeystoreError, match="somebody else changes"):
            await work


async def test_a_store_that_fails_is_remembered_once(
    where: Where,
    start: Callable[..., "asyncio.Future[Replica]"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has a line when it begins and one when it ends."""
    replica = await start()
    path = where[0]._path
    text = path.read_bytes()
    path.write_bytes(b"no database at all, and longer than a header of one" * 20)
    for _ in range(3):
        await replica.custody.refresh()
    path.write_bytes(text)
    with caplog.at_level("INFO", "lumina"):
        await replica.custody.refresh()

    assert caplog.text.count("keys were not refreshed") == 1
    assert caplog.text.count("keys are refreshed again") == 1
    assert repr(replica.custody) == "<Custody>"


async def test_pauses_are_jittered_and_grow_after_failures(where: Where) -> None:
    """Twelve refreshes within the bound, and a retry after about a second."""
    replica = Replica(where)
    assert 0.05 < replica.custody._pause() < 0.12
    await replica.open()
    pauses = {replica.custody._pause() for _ in range(50)}
    assert all(270 <= pause <= 330 for pause in pauses)
    assert len(pauses) > 10
    replica.custody._failures = 1
    assert 1.8 <= replica.custody._pause() <= 2.2
    replica.custody._failures = 100

    assert 270 <= replica.custody._pause() <= 330
    await replica.custody.close()


async def test_a_start_without_its_key_service_is_refused(where: Where) -> None:
    """One clear sentence, and no key is made up."""
    replica = Replica((where[0], KekRing([LocalKek(OTHER)])))
    with pytest.raises(KeysUnavailableError, match=r"wrapped by local:.* not configu"):
        await replica.open()
