"""The keys of one logical field, and what its ciphertexts are bound to.

The key tree::

    root key                                    one for each key id (``keyset``)
     └─ HKDF-SHA-512, info = LP(purpose) || LP(logical field)
         └─ the key of one suite for one field  never used for anything else

The context that every ciphertext of the second generation authenticates::

    "lumina-ctx-2" || LP(suite, 1 byte) || LP(key id, 4 bytes, big endian)
                   || LP(deployment) || LP(tenant) || LP(logical field) || LP(bound)

LP(x) is the length of x as u32, big endian, and then x: no two contexts can collide,
whatever the names hold. ``bound`` is what the policy binds a value to, such as the
subject that wrote it; usually nothing. The type of a value is authenticated inside its
ciphertext. The tenant is that of the key: "" for the keys that all tenants share.
"""

import dataclasses

from proxy.core.field import Field
from proxy.core.keyset import KEY_BYTES, Keyset, length_prefixed

_LP_BYTES = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Whose values these are; another scope cannot read them, even with the keys."""

    deployment: str
    tenant: str = ""


class FieldKeys:
    """Derives what one field needs.

    Args:
        keyset: the root keys.
        scope: whose values.
        field: the field.

    Attributes:
        field: the field.
        encrypting: the id of the key that encrypts.

    Raises:
        ValueError: the key that the field names is not there, or it names none and
            equality would depend on which one comes first. The sentence is for people.
    """

    __slots__ = ("_keyset", "encrypting", "field", "scope")

    def __init__(self, keyset: Keyset, scope: Scope, field: Field) -> None:
        self._keyset = keyset
        self.scope = scope
        self.field = field
        self.encrypting = _encrypting(keyset, field)

    def subkey(self, key_id: int, purpose: str, length: int = KEY_BYTES) -> bytes:
        """Derive a key of ``length`` bytes.

        Raises:
            UnknownKeyError: no key has this id.
        """
        return self._keyset.subkey(key_id, purpose, self.field.id, length)

    def has(self, key_id: int) -> bool:
        """Tell whether a key of this id is there."""
        return key_id in self._keyset.key_ids

    def context(self, key_id: int, suite: int) -> bytes:
        """Return the context of one suite under one key, bound to nothing more."""
        tenant = "" if key_id in self._keyset.shared else self.scope.tenant
        parts = (
            bytes((suite,)),
            key_id.to_bytes(4, "big"),
            self.scope.deployment.encode(),
            tenant.encode(),
            self.field.id.encode(),
            b"",
        )
        return b"lumina-ctx-2" + b"".join(map(length_prefixed, parts))


def binding(context: bytes, bound: bytes) -> bytes:
    """Return a context that ends with what a value is bound to instead of nothing."""
    return context[:-_LP_BYTES] + length_prefixed(bound) if bound else context


def _encrypting(keyset: Keyset, field: Field) -> int:
    if not field.mode.keeps_equality:
        return keyset.primary
    own = [key_id for key_id in keyset.key_ids if key_id not in keyset.shared]
    known = ", ".join(f"{key_id:08x}" for key_id in own)
    if field.key is None:
        if keyset.lookups is not None:
            return keyset.lookups
        if len(own) > 1:
            # The first key changes with every rotation, and with it every look-up.
            raise ValueError(
                f"the field {field.id} is {field.mode.value} and must say which key "
                f"it stays with; add key: with one of {known}"
            )
        return keyset.primary
    named = keyset.named(field.key)
    if named in own:
        return named
    if keyset.lookups is not None and keyset.shared:
        return keyset.lookups  # a policy cannot name the keys of every tenant
    raise ValueError(
        f"the field {field.id} stays with the key {field.key:08x}, which is not "
        f"there; the keys are {known}"
    )
