"""Why a protected value of an answer cannot be shown: typed, for those who operate.

Clients learn one reason and no more (``field-undecryptable``): what tells a wrong key
from a changed byte helps whoever changes bytes. Metrics and logs have the type, and the
id of the key that the value names.
"""

import enum

from cryptography.exceptions import InvalidTag

from proxy.core.errors import Refused
from proxy.core.reasons import Reason


class Failure(enum.Enum):
    """The outcome that is counted.

    UNKNOWN_KEY: the value names a key that is not there, or is disabled.
    BAD_TAG: it was changed, or is no ciphertext at all.
    WRONG_CONTEXT: it is whole, and belongs to another field, tenant or person.
    KMS_UNAVAILABLE: the store that has to be asked for it does not answer.
    """

    UNKNOWN_KEY = "unknown-key"
    BAD_TAG = "bad-tag"
    WRONG_CONTEXT = "wrong-context"
    KMS_UNAVAILABLE = "kms-unavailable"


class WrongContextError(InvalidTag):
    """A ciphertext is whole, but of another field, tenant, key or person.

    The commitment tells that apart from damage, but for damage to itself.
    """


class Undecryptable(Refused):
    """A value of a field does not decrypt.

    Args:
        field: the logical field.
        failure: why.
    """

    def __init__(self, field: str, failure: Failure) -> None:
        super().__init__(Reason.FIELD_UNDECRYPTABLE, f"The field is {field}.")
        self.failure = failure
