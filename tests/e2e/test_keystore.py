"""Real proxies on one keystore: a rotation while they serve, and a lost store."""

import asyncio
import base64
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.core.key_records import KeyState
from proxy.edge.keystore.changing import Where, made, opened, rotated
from proxy.edge.keystore.configured import open_keks, open_store
from tests.e2e.sidecar import Sidecar
from tests.e2e.wiretap import Wiretap, answer, saying
from tests.key_servers import Postgres, Transit, running
from tests.ports import free_port
from tests.redis_server import redis_server

POLICY = """\
version: 1
backends: {lms: {servers: ["${BACKEND_URL}"]}}
fields:
  user.name: {mode: random}
  user.login: {mode: deterministic}
views: {anyone: {"*": plain}}
rules:
  - id: person
    match: GET,POST /person
    allow: anyone
    limits: [{rate: unlimited, per: client}]
    protect:
      request: {$.name: user.name, $.login: user.login}
      response: {$.name: user.name, $.login: user.login}
"""
PERSON = b'{"name": "Ada", "login": "ada"}'
JSON = {"Content-Type": "application/json"}


def where(environment: dict[str, str]) -> Where:
    """Return the keystore that an environment names."""
    return open_store(environment["KEYSTORE"]), open_keks(environment)


async def document_states(environment: dict[str, str]) -> list[KeyState]:
    """Return the states of the keystore's keys."""
    place = where(environment)
    document, _ = await opened(place)
    for one in place:
        await one.close()
    return [record.state for record in document.keys]


async def changed_by(environment: dict[str, str], tenant: str = "") -> None:
    """Add a key."""
    place = where(environment)
    await rotated(place, tenant, time.time())
    for one in place:
        await one.close()


async def made_in(environment: dict[str, str], bound: float) -> None:
    """Make a keystore."""
    place = where(environment)
    await made(place, now=time.time(), settings={"bound": bound})
    for one in place:
        await one.close()


@pytest.fixture(
    name="environment", params=["file, local", "postgres, transit", "redis"]
)
def environment_fixture(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """A keystore and a key-encryption key of several kinds."""
    environment = {
        "KEYSTORE": str(tmp_path / "keys"),
        "KEY_ENCRYPTION_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "ENCRYPTION_KEY": "",
    }
    with contextlib.ExitStack() as stack:
        if request.param.startswith("postgres"):
            postgres, transit = Postgres(tmp_path), Transit(tmp_path)
            stack.enter_context(running(postgres))
            stack.enter_context(running(transit))
            environment |= {
                "KEYSTORE": postgres.url,
                "KMS_URL": f"vault+{transit.url}/transit/lms",
                "VAULT_TOKEN": transit.token,
            }
        if request.param == "redis":
            environment["KEYSTORE"] = stack.enter_context(redis_server(tmp_path)).url
        yield environment


@pytest.fixture(name="start")
def start_fixture(
    environment: dict[str, str], tmp_path: Path, wiretap: Wiretap
) -> Iterator[Callable[..., Sidecar]]:
    """What starts a proxy on the keystore."""
    started: list[Sidecar] = []

    def start(**more: str) -> Sidecar:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        url = f"http://127.0.0.1:{wiretap.port}"
        sidecar = Sidecar(folder, POLICY, {**environment, "BACKEND_URL": url, **more})
        started.append(sidecar)
        sidecar.wait()
        return sidecar

    yield start
    for one in started:
        one.stop()


@pytest.fixture(name="wiretap")
def wiretap_fixture() -> Iterator[Wiretap]:
    """A backend that answers with what it was given."""
    wiretap = Wiretap()
    yield wiretap
    wiretap.stop()


def write(proxy: Sidecar, wiretap: Wiretap) -> bytes:
    """Write a person; return what the backend stores."""
    status, _, body = proxy.ask("POST", "/person", PERSON, JSON)
    assert (status, json.loads(body)) == (200, json.loads(PERSON))
    return wiretap.heard[-1].body


def read(proxy: Sidecar, wiretap: Wiretap, stored: bytes) -> None:
    """Read a person from what the backend has stored."""
    wiretap.answers["/person"] = saying(
        answer(stored, "Content-Type: application/json")
    )
    status, _, body = proxy.ask("GET", "/person")
    del wiretap.answers["/person"]
    assert (status, json.loads(body)) == (200, json.loads(PERSON))


def test_two_proxies_never_fail_while_a_key_is_promoted(
    environment: dict[str, str], start: Callable[..., Sidecar], wiretap: Wiretap
) -> None:
    """From before a rotation until after it, each writes and each reads everything.

    One adds the key by itself to the other's surprise, both are told by the store, and
    whoever is first promotes it when the bound is over.
    """
    asyncio.run(made_in(environment, bound=1.5))
    # Workers have to have a store for limits; this policy has none, so nobody asks it.
    nobody = f"redis://127.0.0.1:{free_port()}"
    proxies = [start(), start(WORKERS="2", REDIS_URL=nobody)]
    first = write(proxies[0], wiretap)
    logins = {json.loads(first)["login"]}
    asyncio.run(changed_by(environment))
    rounds, before = 0, json.loads(first)["name"][4:12]
    keys: set[str] = set()
    while rounds < 5:
        keys.clear()
        for writer in proxies:
            stored = write(writer, wiretap)
            keys.add(json.loads(stored)["name"][4:12])
            logins.add(json.loads(stored)["login"])
            for reader in proxies:
                read(reader, wiretap, stored)
                read(reader, wiretap, first)
        rounds += before not in keys

    assert asyncio.run(document_states(environment)) == [
        *(KeyState.ACTIVE, KeyState.PRIMARY)
    ]
    assert len(keys) == 1
    assert len(logins) == 1
    for proxy in proxies:
        assert json.loads(proxy.look("/ready")[1])["checks"]["keys"] == "ok"
        assert 'state="primary"' in proxy.look("/metrics")[1]


@pytest.mark.parametrize("environment", ["file, local"], indirect=True)
def test_a_lost_store_stops_encryption_and_nothing_else(
    environment: dict[str, str], start: Callable[..., Sidecar], wiretap: Wiretap
) -> None:
    """What is stored is read on; what would be written is refused with a reason."""
    asyncio.run(made_in(environment, bound=0.6))
    proxy = start()
    stored = write(proxy, wiretap)
    path = Path(environment["KEYSTORE"])
    away = path.rename(path.with_suffix(".away"))
    heard = len(wiretap.heard)
    while (refused := proxy.ask("POST", "/person", PERSON, JSON))[0] == 200:
        heard = len(wiretap.heard)

    assert refused[0] == 503
    assert json.loads(refused[2])["reason"] == "keys-unavailable"
    assert len(wiretap.heard) == heard
    read(proxy, wiretap, stored)
    status, document = proxy.look("/ready")
    assert status == 200
    assert json.loads(document)["checks"]["keys"] == (
        "encryption stopped: the keystore is gone"
    )
    assert "lumina_key_lease_valid 0.0" in proxy.look("/metrics")[1]
    away.rename(path)
    while proxy.ask("POST", "/person", PERSON, JSON)[0] != 200:
        assert proxy.process.poll() is None
    read(proxy, wiretap, stored)


@pytest.mark.parametrize("environment", ["file, local"], indirect=True)
@pytest.mark.usefixtures("environment")
def test_a_start_without_keys_is_refused(
    start: Callable[..., Sidecar], tmp_path: Path
) -> None:
    """One line says that there is no keystore, and how to make one."""
    with pytest.raises(AssertionError):
        start()

    assert "KEYSTORE: there is no keystore yet; make one with" in (
        (tmp_path / "0" / "sidecar.log").read_text()
    )
