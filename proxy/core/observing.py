"""What a policy says about logs, as frozen values."""

import dataclasses
import enum

from proxy.core.access_line import USUAL_KEYS


class Audit(enum.Enum):
    """What is written to the audit log of a request that a rule serves.

    NOTED: that it was served, afterwards. REQUIRED: that it is about to be, before
    the backend gets it; a request that cannot be written down is refused.
    """

    NOTED = "noted"
    REQUIRED = "required"


@dataclasses.dataclass(frozen=True, slots=True)
class Logging:
    """What the access log has of each request.

    Attributes:
        keys: of ``access_line.KEYS``.
        share: of served requests that are logged where their rule does not say, from
            0 to 1.
    """

    keys: tuple[str, ...] = USUAL_KEYS
    share: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What logs have of the requests of one rule.

    Attributes:
        share: of its served requests that the access log has, from 0 to 1.
        audit: what the audit log has of them; None for refusals only.
    """

    share: float = 1.0
    audit: Audit | None = None


ALL = Observed()
"""Where a rule says nothing."""

USUAL = Logging()
"""Where the policy says nothing."""
