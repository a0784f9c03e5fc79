"""Which stage gives which reason."""

import pytest

from proxy.core.reasons import Reason
from proxy.core.stages import Stage, stage_of


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_has_a_stage(reason: Reason) -> None:
    """Whoever was refused is told where."""
    assert isinstance(stage_of(reason), Stage)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.MALFORMED, Stage.MESSAGE),
        (Reason.NO_RULE, Stage.MATCH),
        (Reason.TOKEN_MISSING, Stage.AUTHENTICATE),
        (Reason.NOT_OWNER, Stage.AUTHORISE),
        (Reason.RATE_LIMITED, Stage.LIMITS),
        (Reason.FILTER_NOT_ALLOWED, Stage.ENCRYPT),
        (Reason.MASK_IN_REQUEST, Stage.ENCRYPT),
        (Reason.UPSTREAM_TIMEOUT, Stage.EXCHANGE),
        (Reason.FIELD_UNDECRYPTABLE, Stage.DECRYPT),
    ],
)
def test_reason_is_of_the_stage_that_gives_it(reason: Reason, expected: Stage) -> None:
    """One of each stage."""
    assert stage_of(reason) is expected
