"""Every key that this process has, by tenant: what a keystore's document opens to.

A tenant's keyset has its own keys, and those that all tenants share to read what was
encrypted for no tenant. Without a keystore a tenant's keys are derived from those of
ENCRYPTION_KEY; with one, a tenant that has no keys is not served.

Knows neither where keys come from nor how fresh they are.
"""

from collections.abc import Mapping

from proxy.core.key_records import Document, KeyState, KeystoreError
from proxy.core.keyset import Keyset, key_id_of

SHARED = ""
"""The tenant whose keys all tenants read."""


class Lease:
    """The leave to encrypt, which runs out when keys have not been looked at for long.

    Attributes:
        valid: whether it still holds; changed by whoever keeps the keys.
    """

    __slots__ = ("valid",)

    def __init__(self, *, valid: bool = True) -> None:
        self.valid = valid


class Keyring:
    """Keysets by tenant.

    Args:
        shared: the keys of no tenant.
        tenants: the keysets of those tenants that have keys; None to derive each one's
            from ``shared``.

    Attributes:
        shared: as given.
    """

    __slots__ = ("_tenants", "shared")

    def __init__(
        self, shared: Keyset, tenants: Mapping[str, Keyset] | None = None
    ) -> None:
        self.shared = shared
        self._tenants = tenants

    def of(self, tenant: str) -> Keyset | None:
        """Return the keys of a tenant; None when it has none."""
        if tenant == SHARED:
            return self.shared
        if self._tenants is None:
            return self.shared.derived(tenant)
        return self._tenants.get(tenant)

    def has(self, key_id: int) -> bool:
        """Tell whether the key is known, whosever it is."""
        return key_id in self.shared.key_ids or any(
            key_id in keyset.key_ids for keyset in (self._tenants or {}).values()
        )

    def __repr__(self) -> str:
        return "<Keyring>"


def keyring_from_document(
    document: Document, keys: Mapping[int, bytes], legacy: Keyset | None = None
) -> Keyring:
    """Build the keyring of a verified document.

    Args:
        document: says which key does what.
        keys: every key that decrypts, unwrapped.
        legacy: the keys of ENCRYPTION_KEY, which go on decrypting.

    Raises:
        KeystoreError: the shared tenant has no primary key, or a key is another than
            its id says.
        KeyError: a key that decrypts is missing.
    """
    shared = _keyset(document, keys, SHARED, older=legacy)
    if shared is None or not shared.encrypts:
        raise KeystoreError("the keystore has no primary key that all tenants share")
    tenants = {}
    for tenant in document.tenants:
        if tenant != SHARED:
            keyset = _keyset(document, keys, tenant, shared=shared)
            if keyset is not None:
                tenants[tenant] = keyset
    return Keyring(shared, tenants)


def _keyset(
    document: Document,
    keys: Mapping[int, bytes],
    tenant: str,
    *,
    older: Keyset | None = None,
    shared: Keyset | None = None,
) -> Keyset | None:
    """Return the keyset of a tenant; None when none of its keys decrypts."""
    records = [record for record in document.of(tenant) if record.state.decrypts]
    records.sort(key=lambda record: record.state is not KeyState.PRIMARY)
    if not records:
        return None
    for record in records:
        if key_id_of(keys[record.id]) != record.id:
            raise KeystoreError(f"the key {record.name} is another than its id says")
    return Keyset(
        [keys[record.id] for record in records],
        lookups=next((record.id for record in records if record.lookups), None),
        encrypts=records[0].state is KeyState.PRIMARY,
        older=older,
        shared=shared,
    )
