"""Protected messages: encrypted on the way in, decrypted or masked on the way back.

Joins ``fields`` and ``parameters``, which know where, with ``cipher`` and ``masks``,
which know how. Fails closed: what cannot be encrypted is not forwarded, what cannot be
decrypted is not shown.
"""

from collections.abc import Callable, Mapping

from proxy.core import masks
from proxy.core.belonging import UNBOUND
from proxy.core.cipher import Cipher
from proxy.core.entries import Name
from proxy.core.errors import Refused
from proxy.core.field import OnError
from proxy.core.fields import REMOVED, Selection, splice
from proxy.core.leaf import NULL
from proxy.core.parameters import Parameters
from proxy.core.policy import Policy, View
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable

Note = Callable[[str, str, str, str], object]
"""Told (field, operation, outcome, key id) for every protected leaf.

The operation is "encrypt" or "decrypt". The outcome of both may be "ok", or "null" for
a value that is not there and so stays as it is. Encrypting may also be "refused", or
"kms-unavailable" when there is no key to do it with. Decrypting may be "masked", or
"plaintext" for what was stored unencrypted, or what failed (``undecryptable``). The key
id has eight hex digits; "" where no key was asked for.
"""

NO_KEY = ""

See = Callable[[str], View]
"""Says what the acting role sees of a field."""

_UNREAD: Mapping[View, str] = {
    View.NULL: NULL,
    View.DROP: REMOVED,
    View.MASK_FIXED: masks.mask_fixed('""'),
}
"""What stands for every value, so that none has to be decrypted for it."""

_MASKS: Mapping[View, Callable[[str], str]] = {
    View.MASK: masks.mask,
    View.MASK_EMAIL: masks.mask_email,
    View.MASK_LAST4: masks.mask_last4,
    View.MASK_YEAR: masks.mask_year,
    View.MASK_INITIALS: masks.mask_initials,
}


def encrypt_body(
    cipher: Cipher,
    selection: Selection,
    plain: bytes,
    note: Note,
    see: See = lambda _: View.PLAIN,
    *,
    bound: Mapping[str, bytes] = UNBOUND,
) -> bytes:
    """Return a request's JSON body with every selected leaf encrypted.

    Args:
        cipher: encrypts.
        selection: the protected leaves.
        plain: the client's body.
        note: told every leaf.
        see: what the acting role sees of a field. From one that may be shown null for
            a value a null is refused: it would overwrite what was hidden.
        bound: what values are bound to, by field.

    Raises:
        Refused: the body or a leaf cannot be encrypted, see ``splice`` and
            ``Cipher.encrypt``; or MASK_IN_REQUEST.
    """

    def encrypt(field: str, leaf: str) -> str:
        try:
            if leaf == NULL:
                _refuse_hidden_null(field, see(field))
            encrypted = cipher.encrypt(field, leaf, bound.get(field, b""))
        except Refused as refused:
            _note_refused(field, refused, note)
            raise
        if leaf == NULL:
            note(field, "encrypt", "null", NO_KEY)
        else:
            note(field, "encrypt", "ok", cipher.key(field))
        return encrypted

    return splice(plain, selection, encrypt, exact=True)


def encrypt_target(
    cipher: Cipher, parameters: Parameters, target: str, note: Note, see: See
) -> str:
    """Return a target with every protected parameter encrypted, as look-ups need it.

    Args:
        cipher: encrypts.
        parameters: the protected ones of the query.
        target: a path, with or without "?" and a query.
        note: told every parameter that has a value.
        see: what the acting role sees of a field. Who does not see it plainly may not
            look up by it: asking whether a guess finds something is seeing.

    Raises:
        Refused: FILTER_NOT_ALLOWED, or what ``encrypt_form`` raises.
    """

    def encrypt(field: str, value: str) -> str:
        if see(field) is not View.PLAIN:
            note(field, "encrypt", "refused", NO_KEY)
            raise Refused(Reason.FILTER_NOT_ALLOWED, f"The field is {field}.")
        return _noted(cipher, field, value, note)

    path, mark, query = target.partition("?")
    return path + mark + parameters.replace(query, encrypt)


def encrypt_form(
    cipher: Cipher,
    parameters: Parameters,
    form: bytes,
    note: Note,
    *,
    bound: Mapping[str, bytes] = UNBOUND,
) -> bytes:
    """Return an urlencoded form with every protected parameter encrypted.

    Args:
        cipher: encrypts.
        parameters: the protected ones.
        form: the client's body.
        note: told every parameter that has a value.
        bound: what values are bound to, by field.

    Raises:
        Refused: PARAMETER_AMBIGUOUS, or what ``Cipher.encrypt_text`` raises.
    """
    try:
        text = form.decode("ascii")
    except UnicodeDecodeError:
        detail = "A form is ASCII, and what is not is percent-encoded."
        raise Refused(Reason.PARAMETER_AMBIGUOUS, detail) from None
    return parameters.replace(
        text,
        lambda field, value: _noted(cipher, field, value, note, bound.get(field, b"")),
    ).encode("ascii")


def _noted(
    cipher: Cipher, field: str, value: str, note: Note, bound: bytes = b""
) -> str:
    try:
        encrypted = cipher.encrypt_text(field, value, bound)
    except Refused as refused:
        _note_refused(field, refused, note)
        raise
    note(field, "encrypt", "ok", cipher.key(field))
    return encrypted


def _note_refused(field: str, refused: Refused, note: Note) -> None:
    lost = refused.reason is Reason.KEYS_UNAVAILABLE
    outcome = Failure.KMS_UNAVAILABLE.value if lost else "refused"
    note(field, "encrypt", outcome, NO_KEY)


def _refuse_hidden_null(field: str, view: View) -> None:
    if view.shows_null:
        detail = f"The field is {field}: null may stand for a hidden value."
        raise Refused(Reason.MASK_IN_REQUEST, detail)


def decrypt_body(
    snapshot: tuple[Policy, Cipher],
    selection: Selection,
    sealed: bytes,
    role: str,
    note: Note,
    *,
    bound: Mapping[str, bytes] = UNBOUND,
) -> bytes:
    """Return an answer's JSON body with what ``role`` may see of every selected leaf.

    Args:
        snapshot: the policy, for its views, and the cipher.
        selection: the protected leaves.
        sealed: the backend's body.
        role: the acting role; "" without a token.
        note: told every leaf.
        bound: what values are bound to, by field.

    Raises:
        Refused: FIELD_UNDECRYPTABLE, where the field's ``on_error`` says nothing else,
            or RESPONSE_UNREADABLE.
    """
    policy, cipher = snapshot

    def show(field: str, leaf: str) -> str:
        view = policy.view(role, field)
        if leaf == NULL and view is not View.DROP:
            note(field, "decrypt", "null", NO_KEY)
            return leaf
        if view in _UNREAD:
            note(field, "decrypt", "masked", NO_KEY)
            return _UNREAD[view]
        try:
            plain = cipher.decrypt(field, leaf, bound.get(field, b""))
        except Undecryptable as refused:
            note(field, "decrypt", refused.failure.value, cipher.key(field, leaf))
            return _instead(policy.fields[field].on_error, refused, leaf)
        key = cipher.key(field, leaf)
        if view is View.PLAIN:
            note(field, "decrypt", "plaintext" if plain is leaf else "ok", key)
            return plain
        note(field, "decrypt", "masked", key)
        if view is View.PSEUDONYM:
            return cipher.pseudonym(field, plain, role)
        return _MASKS[view](plain)

    try:
        return splice(sealed, selection, show)
    except Refused as refused:
        if refused.reason is Reason.BODY_NOT_JSON:
            raise Refused(Reason.RESPONSE_UNREADABLE, refused.detail) from None
        raise


def asked_of(cipher: Cipher, selection: Selection, sealed: bytes) -> list[Name]:
    """Return the entries of the keystore that an answer's body needs.

    Args:
        cipher: of the tenant.
        selection: the protected leaves.
        sealed: the backend's body; what cannot be read asks for nothing.
    """
    asked: list[Name] = []

    def gather(field: str, leaf: str) -> str:
        name = cipher.asks(field, leaf)
        if name is not None:
            asked.append(name)
        return leaf

    try:
        splice(sealed, selection, gather)
    except Refused:
        return []  # decrypting says what is wrong
    return asked


def _instead(on_error: OnError, refused: Undecryptable, leaf: str) -> str:
    """Return what the policy shows of a value that does not decrypt."""
    if on_error is OnError.FAIL:
        raise refused
    if on_error is OnError.CIPHERTEXT:
        return leaf
    return NULL if on_error is OnError.NULL else _UNREAD[View.MASK_FIXED]
