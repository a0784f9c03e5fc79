"""The ciphers of every tenant, each made when it is first asked for.

A tenant's cipher encrypts with the tenant's keys, and reads what was encrypted for no
tenant besides. Fields that all tenants share (``Field.shared``) have the shared keys in
every cipher.
"""

from collections.abc import Callable, Mapping

from proxy.core.cipher import Cipher
from proxy.core.errors import Refused
from proxy.core.field import Field
from proxy.core.field_keys import Scope
from proxy.core.keyring import SHARED, Keyring, Lease
from proxy.core.keyset import Keyset
from proxy.core.reasons import Reason

MAX_TENANTS = 1024
"""How many tenants' ciphers are remembered; they take some kilobytes each."""


class Ciphers:
    """Hands out the cipher of a tenant.

    Args:
        keyring: the keys.
        deployment: bound into every ciphertext.
        fields: the fields of the policy, by their id.
        nonce: returns 24 random bytes, fresh at every call.
        lease: while it is not valid, nothing is encrypted.
        missed: told the id of a key that a value names and nobody has.

    Attributes:
        shared: the cipher of no tenant.

    Raises:
        ValueError: a field names a key that is not there, or does not name one and
            must. The sentence is for people.
    """

    __slots__ = (
        *("_deployment", "_fields", "_keyring", "_lease", "_missed"),
        *("_nonce", "_tenants", "shared"),
    )

    def __init__(
        self,
        keyring: Keyring,
        deployment: str,
        fields: Mapping[str, Field],
        nonce: Callable[[], bytes],
        *,
        lease: Lease | None = None,
        missed: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._keyring = keyring
        self._deployment = deployment
        self._fields = fields
        self._nonce = nonce
        self._lease = lease or Lease()
        self._missed = missed
        self._tenants: dict[str, Cipher] = {}
        self.shared = self._cipher(SHARED, keyring.shared)

    def of(self, tenant: str) -> Cipher:
        """Return the cipher of a tenant; "" is none.

        Raises:
            Refused: KEYS_UNAVAILABLE: the tenant has no keys.
        """
        if tenant == SHARED:
            return self.shared
        cipher = self._tenants.get(tenant)
        return self._made(tenant) if cipher is None else cipher

    def secret(self, purpose: str) -> bytes:
        """Return 32 bytes that every replica with these keys has, for one purpose."""
        keyset = self._keyring.shared
        # Of a keystore, the key that no rotation replaces.
        stable = keyset.primary if keyset.lookups is None else keyset.lookups
        return keyset.subkey(stable, purpose, "")

    def _made(self, tenant: str) -> Cipher:
        keyset = self._keyring.of(tenant)
        if keyset is None:
            raise Refused(Reason.KEYS_UNAVAILABLE, "The tenant has no keys.")
        if len(self._tenants) >= MAX_TENANTS:
            self._tenants.clear()
        cipher = self._tenants[tenant] = self._cipher(tenant, keyset)
        return cipher

    def _cipher(self, tenant: str, keyset: Keyset) -> Cipher:
        return Cipher(
            keyset,
            Scope(self._deployment, tenant),
            self._fields,
            self._nonce,
            lease=self._lease if keyset.encrypts else Lease(valid=False),
            known=self._knows,
            shared=self._keyring.shared,
        )

    def _knows(self, key_id: int) -> bool:
        if self._keyring.has(key_id):
            return True
        self._missed(key_id)
        return False

    def __repr__(self) -> str:
        return "<Ciphers>"
