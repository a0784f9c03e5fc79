"""What the keystore holds beside its document, and what one message needs of it.

Tokens stand for values that are too long for their column, and each subject has a key
of their own that can be destroyed: both are entries of the keystore. Core never waits,
so a message goes through two passes: one that says what is asked for, one that encrypts
or decrypts with what was found. Between the second pass and what comes before it there
is no waiting, so one ``Entries`` serves all messages of a cipher.

Kinds and names::

    "token"    LP(tenant) || LP(logical field) || token     the value's ciphertext
    "subject"  key id, 4 bytes                              the subject's key, encrypted
    "owner"    HMAC-SHA-256(index key,                      key id || the same
                 LP(tenant) || LP(subject))
"""

import hmac
from collections.abc import Iterable, Mapping

from proxy.core.keyset import length_prefixed

TOKEN = "token"  # noqa: S105 - a kind of entries
SUBJECT = "subject"
OWNER = "owner"

Name = tuple[str, bytes]
"""Kind and name of an entry."""


class LostError(Exception):
    """The keystore did not answer, and an entry of it is needed."""


class Entries:
    """What the message that is being encrypted or decrypted has, and adds.

    Attributes:
        found: what was asked for and is there.
        owners: the entry of the subject that each field's values belong to.
        new: what has to be stored before the message is passed on.
        lost: whether the keystore did not answer.
    """

    __slots__ = ("found", "lost", "new", "owners")

    def __init__(self) -> None:
        self.found: Mapping[Name, bytes] = {}
        self.owners: Mapping[str, bytes] = {}
        self.new: dict[Name, bytes] = {}
        self.lost = False

    def give(
        self,
        found: Mapping[Name, bytes] | None,
        owners: Mapping[str, bytes] | None = None,
    ) -> None:
        """Begin a message; None says that the keystore did not answer."""
        self.found = found or {}
        self.owners = owners or {}
        self.new = {}
        self.lost = found is None

    def get(self, name: Name) -> bytes | None:
        """Return an entry; None when there is none.

        Raises:
            LostError: nobody knows.
        """
        if self.lost:
            raise LostError
        return self.found.get(name)

    def __repr__(self) -> str:
        return "<Entries>"


def token_name(tenant: str, field: str, token: str) -> Name:
    """Return the name of what a token stands for."""
    parts = (tenant.encode(), field.encode())
    return TOKEN, b"".join(map(length_prefixed, parts)) + token.encode()


def subject_name(key_id: int) -> Name:
    """Return the name of a subject's key."""
    return SUBJECT, key_id.to_bytes(4, "big")


def owner_name(index_key: bytes, tenant: str, subject: str) -> Name:
    """Return the name under which a subject's key is found."""
    parts = (tenant.encode(), subject.encode())
    message = b"".join(map(length_prefixed, parts))
    return OWNER, hmac.digest(index_key, message, "sha256")


def by_kind(names: Iterable[Name]) -> dict[str, list[bytes]]:
    """Return names by their kinds, each once."""
    kinds: dict[str, list[bytes]] = {}
    for kind, name in dict.fromkeys(names):
        kinds.setdefault(kind, []).append(name)
    return kinds
