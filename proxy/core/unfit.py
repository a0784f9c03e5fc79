"""The refusal of a value that its field cannot hold."""

from proxy.core.errors import Refused
from proxy.core.field import Field
from proxy.core.reasons import Reason


def unfit(field: Field, why: str) -> Refused:
    """Return the refusal; ``why`` is a public clause and never holds the value."""
    return Refused(Reason.FIELD_UNENCRYPTABLE, f"The field is {field.id}: {why}.")


def refuse_longer(field: Field, value_bytes: int) -> None:
    """Refuse a value of more bytes than the field takes.

    Its ciphertext would not fit where the backend puts it, and a backend that cuts it
    off destroys it.

    Raises:
        Refused: FIELD_UNENCRYPTABLE.
    """
    if field.max_bytes is not None and value_bytes > field.max_bytes:
        raise unfit(field, f"at most {field.max_bytes} bytes fit")
