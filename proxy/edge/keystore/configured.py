"""A keystore and its key-encryption keys, as settings name them.

Each kind is imported when it is asked for: their libraries are slow to load, and no
deployment has all of them.
"""

# ruff: noqa: PLC0415
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from proxy.core.key_records import KeystoreError
from proxy.edge.keystore.file_store import FileStore
from proxy.edge.keystore.local_kek import LocalKek
from proxy.edge.keystore.ports import KekRing, KeyEncryptionKey, Keystore

_TRANSIT = re.compile(r"vault\+(https?://[^/]+)/(?:(.+)/)?([^/]+)")
_AWS = re.compile(r"aws-kms://([a-z0-9-]+)/(\S+)")


def open_store(url: str) -> Keystore:
    """Return the keystore at ``url``; nothing is connected yet.

    Args:
        url: the path of a file, or redis://, rediss://, unix:// or postgresql://.

    Raises:
        KeystoreError: an option in a URL of Redis is unknown.
    """
    if url.startswith(("redis://", "rediss://", "unix://")):
        from proxy.edge.keystore.redis_store import RedisKeystore

        try:
            return RedisKeystore(url)
        except ValueError:
            raise KeystoreError("KEYSTORE: an option in it has no such value") from None
    if url.startswith(("postgresql://", "postgres://")):
        from proxy.edge.keystore.postgres_store import PostgresStore

        return PostgresStore(url)
    return FileStore(Path(url.removeprefix("file:")))


def open_keks(environment: Mapping[str, str]) -> KekRing:
    """Return the key-encryption keys that the environment names.

    KMS_URL comes first, so that it wraps; the keys of KEY_ENCRYPTION_KEY after it go on
    unwrapping what they wrapped.

    Args:
        environment: asked for tokens and credentials with every request, too.

    Raises:
        KeystoreError: there is none, or one is malformed; never holds a secret.
    """
    keks: list[KeyEncryptionKey] = []
    if url := environment.get("KMS_URL", ""):
        keks.extend(_service(one, environment) for one in url.split())
    text = environment.get("KEY_ENCRYPTION_KEY", "")
    for n, part in enumerate(text.split(",") if text else (), start=1):
        try:
            keks.append(LocalKek(part.strip(), n))
        except ValueError as error:
            raise KeystoreError(f"KEY_ENCRYPTION_KEY: {error}") from None
    if not keks:
        raise KeystoreError(
            "KEYSTORE needs KMS_URL, or KEY_ENCRYPTION_KEY: what opens its keys"
        )
    return KekRing(keks)


def _service(url: str, environment: Mapping[str, str]) -> KeyEncryptionKey:
    def variable(name: str) -> Callable[[], str]:
        return lambda: environment.get(name, "")

    if found := _TRANSIT.fullmatch(url):
        from proxy.edge.keystore.transit import TransitKek

        address, mount, key = found.groups()
        token, namespace = variable("VAULT_TOKEN"), variable("VAULT_NAMESPACE")()
        return TransitKek(address, mount or "transit", key, token, namespace)
    if found := _AWS.fullmatch(url):
        from proxy.edge.keystore.aws_kms import AwsKek

        region, key = found.groups()
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        access, secret, session = map(variable, names)
        endpoint = variable("AWS_ENDPOINT_URL_KMS")()
        return AwsKek(region, key, lambda: (access(), secret(), session()), endpoint)
    raise KeystoreError(
        "KMS_URL is not vault+https://host:port/transit/KEY or aws-kms://REGION/KEY"
    )
