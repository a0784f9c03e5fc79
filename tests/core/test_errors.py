"""The errors that cross a boundary, and how they read."""

import pytest

from proxy.core.errors import Finding, PolicyError, ProxyError, Refused
from proxy.core.reasons import Reason


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (Refused(Reason.NO_RULE), "no-rule: No rule of the policy matches."),
        (Refused(Reason.BODY_NOT_JSON, "At byte 7."), "body-not-json: At byte 7."),
    ],
    ids=["title", "detail"],
)
def test_refusal_reads_as_slug_and_sentence(refused: Refused, text: str) -> None:
    """What happened this time, or else the sentence of the reason."""
    assert str(refused) == text


def test_refusal_carries_what_the_answer_is_made_of() -> None:
    """Reason, detail and extra fields; nothing but the reason is required."""
    plain = Refused(Reason.NO_RULE)
    full = Refused(Reason.RATE_LIMITED, "Used up.", (("Retry-After", "1"),))

    assert (plain.reason, plain.detail, plain.headers) == (Reason.NO_RULE, "", ())
    assert full.reason is Reason.RATE_LIMITED
    assert (full.detail, full.headers) == ("Used up.", (("Retry-After", "1"),))


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (
            Finding("p.yaml", 3, 7, "rules[0].id", "it is empty", "give it a name"),
            "p.yaml:3:7: error: rules[0].id: it is empty (give it a name)",
        ),
        (
            Finding("p.yaml", 1, 1, "", "it is empty"),
            "p.yaml:1:1: error: it is empty",
        ),
        (
            Finding("p.yaml", 2, 1, "limits", "none is used", severity="warning"),
            "p.yaml:2:1: warning: limits: none is used",
        ),
    ],
    ids=["everything", "root", "warning"],
)
def test_finding_is_a_line_that_editors_can_jump_to(
    finding: Finding, line: str
) -> None:
    """The place comes first; what is empty leaves no trace."""
    assert str(finding) == line


def test_findings_sort_by_file_line_and_column() -> None:
    """Numbers sort as numbers."""
    places = [("b", 1, 1), ("a", 10, 1), ("a", 9, 2), ("a", 9, 10)]
    findings = [Finding(*place, "", "") for place in places]

    assert [(one.file, one.line, one.column) for one in sorted(findings)] == [
        ("a", 9, 2),
        ("a", 9, 10),
        ("a", 10, 1),
        ("b", 1, 1),
    ]


def test_policy_error_reads_as_a_line_per_finding() -> None:
    """Whoever prints it prints every finding."""
    first, second = Finding("p", 1, 1, "", "one"), Finding("p", 2, 1, "", "two")
    error = PolicyError((first, second))

    assert error.findings == (first, second)
    assert str(error) == "p:1:1: error: one\np:2:1: error: two"


@pytest.mark.parametrize("kind", [Refused, PolicyError])
def test_every_error_of_ours_has_one_base(kind: type[Exception]) -> None:
    """So that what is ours can be told from a bug."""
    assert issubclass(kind, ProxyError)
