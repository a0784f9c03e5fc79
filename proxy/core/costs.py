"""How many tokens a request costs, before and after it is known."""

from proxy.core.bucket import RateLimit
from proxy.core.errors import Refused
from proxy.core.limit import Cost, CostOf
from proxy.core.owner import Asking
from proxy.core.reasons import Reason


def cost_of(cost: Cost, rate: RateLimit, asking: Asking) -> int:
    """Return how many tokens a request costs beforehand.

    Raises:
        Refused: MALFORMED, when a field that says the cost says no number.
    """
    if cost.of is CostOf.BODY:
        # What it really is is charged when it is known; more than a burst is a burst.
        return min(tokens_of(cost, asking.length or 0), rate.burst)
    if cost.of is CostOf.HEADER:
        value = asking.header(cost.name)
        if value is not None:
            tokens = number_of(value, cost.most)
            if tokens is None:
                raise Refused(
                    Reason.MALFORMED,
                    f"The field {cost.name} is a whole number from 1 to {cost.most}.",
                )
            return tokens
    return cost.tokens


def tokens_of(cost: Cost, length: int) -> int:
    """Return the tokens that a body of so many bytes costs; at least 1."""
    return max(1, -(-length // cost.unit))


def number_of(value: bytes, most: int) -> int | None:
    """Return a whole number from 1 to ``most``; None if a value is none."""
    if not value.isdigit() or len(value) > 15:  # noqa: PLR2004 - as in policies
        return None
    number = int(value)
    return number if 1 <= number <= most else None
