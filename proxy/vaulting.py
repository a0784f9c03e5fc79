"""Entries of the keystore that a message needs, fetched before and stored after.

Part of the stages encrypt and decrypt, for rules that protect a field of mode ``token``
or with a key per subject; no other rule waits here. What is to be stored is stored
before the message is passed on: the backend never has a token that stands for nothing.
"""

from collections.abc import Mapping

from proxy.core.belonging import bound_values
from proxy.core.cipher import Cipher
from proxy.core.entries import Name, owner_name, subject_name
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.fields import Selection
from proxy.core.keyset import KEY_BYTES
from proxy.core.policy import Rule
from proxy.core.protection import asked_of
from proxy.core.reasons import Reason
from proxy.ports import Snapshot, Vault


async def begin_encrypting(
    snapshot: Snapshot, cipher: Cipher, rule: Rule, exchange: Exchange
) -> None:
    """Give a cipher what encrypting a request needs.

    Raises:
        Refused: KEYS_UNAVAILABLE, or what ``bound_values`` raises.
    """
    vault = _vault(snapshot)
    subjects = bound_values(rule.subjects, exchange.principal, exchange.path)
    names = {
        field: owner_name(vault.index_key, exchange.tenant, subject.decode())
        for field, subject in subjects.items()
    }
    found = await vault.fetch(names.values()) if names else {}
    missing = set(names.values()) - found.keys()
    if missing:
        for name in missing:
            key_id, sealed = cipher.subjects.wrap(vault.random_bytes(KEY_BYTES))
            entry = key_id.to_bytes(4, "big") + sealed
            await vault.add({subject_name(key_id): sealed, name: entry})
        # Somebody else may have been faster; then that key counts.
        found = await vault.fetch(names.values())
    owners = {field: found[name] for field, name in names.items() if name in found}
    cipher.entries.give({}, owners)


async def store(snapshot: Snapshot, new: Mapping[Name, bytes]) -> None:
    """Store what encrypting made.

    Raises:
        Refused: KEYS_UNAVAILABLE.
    """
    if new:
        await _vault(snapshot).add(new)


async def begin_decrypting(
    snapshot: Snapshot, cipher: Cipher, selection: Selection, sealed: bytes
) -> None:
    """Give a cipher what decrypting an answer needs, or word that nobody answers."""
    asked = asked_of(cipher, selection, sealed)
    found: Mapping[Name, bytes] | None = {}
    if asked:
        try:
            found = await _vault(snapshot).fetch(asked)
        except Refused:
            found = None
    cipher.entries.give(found)


def _vault(snapshot: Snapshot) -> Vault:
    if snapshot.vault is None:
        raise Refused(Reason.KEYS_UNAVAILABLE)
    return snapshot.vault
