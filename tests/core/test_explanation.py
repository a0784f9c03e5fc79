"""Decisions in sentences."""

import ast
from pathlib import Path

import pytest

from proxy.core.errors import Refused
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.core.workbench.advice import advice
from proxy.core.workbench.decision import Decision, decide, with_roles, without_token
from proxy.core.workbench.explanation import Verdict, steps

ROOT = Path(__file__).parents[2]
SECRETS = {"JWT_SECRET": "c0ffee" * 12}


def decided_before_limits() -> list[Reason]:
    """Return the reasons that the stages from match to authorise give."""
    names = {
        node.attr
        for module in ("target", "routing", "authn", "authz")
        for node in ast.walk(
            ast.parse((ROOT / f"proxy/core/{module}.py").read_text("utf-8"))
        )
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Reason"
    }
    return [reason for reason in Reason if reason.name in names]


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """The policy that is delivered."""
    text = (ROOT / "policies" / "lms.yaml").read_text("utf-8")
    return parse_policy([("lms.yaml", text)], SECRETS)[0]


@pytest.mark.parametrize(
    "reason", decided_before_limits(), ids=lambda reason: reason.slug
)
def test_every_refusal_has_advice(policy: Policy, reason: Reason) -> None:
    """Whatever a policy decides alone comes with a sentence on how to get on."""
    decision = Decision(method="GET", path="/x", refused=Refused(reason))

    sentence = advice(policy, decision)
    assert sentence.endswith(".")
    assert "{" not in sentence


def test_stages_after_a_refusal_are_not_reached(policy: Policy) -> None:
    """A refusal is the last thing that is explained."""
    decision = decide(policy, "POST", "/api/users", with_roles("student"))

    assert [(step.verdict, step.details) for step in steps(decision)] == [
        (Verdict.OK, ("user-create: POST /api/users",)),
        (Verdict.OK, ("taken for granted: a token with the role student",)),
        (
            Verdict.REFUSED,
            (
                "The role of this token may not do this.",
                "The rule allows admin and teacher; the token has student.",
            ),
        ),
        *[(Verdict.NOT_REACHED, ())] * 3,
    ]
    assert advice(policy, decision) == (
        "Use a token with the role admin or teacher, or add a role to the rule's allow."
    )


def test_allowed_request_needs_no_advice(policy: Policy) -> None:
    """Where nothing was refused there is nothing to do."""
    decision = decide(policy, "GET", "/login", without_token(policy, 0.0))

    assert advice(policy, decision) == ""
    assert [step.details for step in steps(decision)] == [
        ("login-form: GET /login",),
        ("no token is asked for",),
        ("anyone may",),
        ("none",),
        ("nothing: the body passes as it is",),
        ("nothing: the answer passes as it is",),
    ]


def test_detail_of_a_refusal_is_told(policy: Policy) -> None:
    """What a refusal says about this request stands behind what it always says."""
    decision = decide(policy, "GET", "/api//users", without_token(policy, 0.0))

    assert steps(decision)[0].details == (
        "The path can be read in two ways.",
        "Found in the path: empty-segment.",
    )


def test_slash_at_the_end_is_suggested(policy: Policy) -> None:
    """Whoever wrote one slash too many, or too few, is told which rule that misses."""
    decision = decide(policy, "GET", "/api/users/", without_token(policy, 0.0))

    assert advice(policy, decision).startswith(
        "A slash at the end counts: /api/users would be matched by user-list. "
    )


def test_other_methods_are_suggested(policy: Policy) -> None:
    """A method that is not allowed comes with those that are."""
    decision = decide(policy, "PUT", "/api/users", without_token(policy, 0.0))

    assert advice(policy, decision) == (
        "Use GET, HEAD or POST, or add PUT to the match of a rule for this path."
    )
