"""The keys of one logical field, and what its ciphertexts are bound to.

The key tree::

    root key                                    one for each key id (``keyset``)
     └─ HKDF-SHA-512, info = LP(purpose) || LP(logical field)
         └─ the key of one suite for one field  never used for anything else

The context that every ciphertext of the second generation authenticates::

    "lumina-ctx-2" || LP(suite, 1 byte) || LP(key id, 4 bytes, big endian)
                   || LP(deployment) || LP(tenant) || LP(logical field) || LP("")

LP(x) is the length of x as u32, big endian, and then x: no two contexts can collide,
whatever the names hold. The last part is kept free for what a value may be bound to
one day, such as a claim. The type of a value is authenticated inside its ciphertext.
"""

import dataclasses

from proxy.core.field import Field
from proxy.core.keyset import KEY_BYTES, Keyset, length_prefixed


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
            KeyError: no key has this id.
        """
        return self._keyset.subkey(key_id, purpose, self.field.id, length)

    def context(self, key_id: int, suite: int) -> bytes:
        """Return the context of one suite under one key."""
        parts = (
            bytes((suite,)),
            key_id.to_bytes(4, "big"),
            self.scope.deployment.encode(),
            self.scope.tenant.encode(),
            self.field.id.encode(),
            b"",
        )
        return b"lumina-ctx-2" + b"".join(map(length_prefixed, parts))


def _encrypting(keyset: Keyset, field: Field) -> int:
    if not field.mode.keeps_equality:
        return keyset.primary
    known = ", ".join(f"{key_id:08x}" for key_id in keyset.key_ids)
    if field.key is None:
        if len(keyset.key_ids) > 1:
            # The first key changes with every rotation, and with it every look-up.
            raise ValueError(
                f"the field {field.id} is {field.mode.value} and must say which key "
                f"it stays with; add key: with one of {known}"
            )
        return keyset.primary
    if field.key not in keyset.key_ids:
        raise ValueError(
            f"the field {field.id} stays with the key {field.key:08x}, which is not "
            f"there; the keys are {known}"
        )
    return field.key
