"""Protected bodies: encrypted on the way in, decrypted or masked on the way back.

Joins ``fields``, which knows where, with ``cipher`` and ``masks``, which know how.
Fails closed: what cannot be encrypted is not forwarded, what cannot be decrypted is
not shown.
"""

from collections.abc import Callable

from proxy.core.cipher import Cipher
from proxy.core.errors import Refused
from proxy.core.fields import Selection, splice
from proxy.core.masks import mask
from proxy.core.policy import Policy, View
from proxy.core.reasons import Reason

Note = Callable[[str, str, str], object]
"""Told (field, operation, outcome) for every protected leaf."""


def encrypt_body(
    cipher: Cipher, selection: Selection, plain: bytes, note: Note
) -> bytes:
    """Return a request's JSON body with every selected leaf encrypted.

    Raises:
        Refused: the body or a leaf cannot be encrypted, see ``splice`` and
            ``Cipher.encrypt``.
    """

    def encrypt(field: str, leaf: str) -> str:
        encrypted = cipher.encrypt(field, leaf)
        note(field, "encrypt", "ok")
        return encrypted

    return splice(plain, selection, encrypt)


def decrypt_body(
    snapshot: tuple[Policy, Cipher],
    selection: Selection,
    sealed: bytes,
    role: str,
    note: Note,
) -> bytes:
    """Return an answer's JSON body with what ``role`` may see of every selected leaf.

    Args:
        snapshot: the policy, for its views, and the cipher.
        selection: the protected leaves.
        sealed: the backend's body.
        role: the acting role; "" without a token.
        note: told every leaf.

    Raises:
        Refused: FIELD_UNDECRYPTABLE or RESPONSE_UNREADABLE.
    """
    policy, cipher = snapshot

    def decrypt(field: str, leaf: str) -> str:
        try:
            plain = cipher.decrypt(field, leaf)
        except Refused:
            note(field, "decrypt", "failed")
            raise
        if policy.view(role, field) is View.MASK:
            note(field, "decrypt", "masked")
            return mask(plain)
        note(field, "decrypt", "plaintext" if plain is leaf else "ok")
        return plain

    try:
        return splice(sealed, selection, decrypt)
    except Refused as refused:
        if refused.reason is Reason.BODY_NOT_JSON:
            raise Refused(Reason.RESPONSE_UNREADABLE, refused.detail) from None
        raise
