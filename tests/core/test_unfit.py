"""What a field cannot hold is refused in the client's name, without the value."""

import pytest

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.core.unfit import refuse_longer, unfit
from tests.cipher_builders import a_field


def test_the_refusal_says_which_field_and_why() -> None:
    """One sentence for people."""
    refused = unfit(a_field(name="user.age"), "it is not a number")

    assert refused.reason is Reason.FIELD_UNENCRYPTABLE
    assert refused.detail == "The field is user.age: it is not a number."


@pytest.mark.parametrize(
    ("most", "size", "passes"),
    [(None, 10**9, True), (3, 3, True), (3, 4, False), (0, 0, True), (0, 1, False)],
)
def test_length_is_counted_in_bytes(
    most: int | None, size: int, *, passes: bool
) -> None:
    """None is no limit, and the limit itself still fits."""
    field = a_field(max_bytes=most)
    if passes:
        refuse_longer(field, size)
    else:
        with pytest.raises(Refused, match=f"at most {most} bytes fit"):
            refuse_longer(field, size)
