"""What is known of whoever asks."""

from proxy.core.principal import NEVER, Principal


def test_a_principal_says_no_more_than_it_knows() -> None:
    """What a token did not say is empty, or never; the subject is safe in a header."""
    one = Principal(subject="Zoë", roles=(), issuer="id", expires_at=1.0)

    assert one.subject_value == b"Zo%C3%AB"
    assert (one.token_id, one.session, one.acr, one.amr) == ("", "", "", ())
    assert (one.issued_at, one.authenticated_at) == (NEVER, NEVER)
    assert one.claims == {}


def test_claims_are_not_shown() -> None:
    """Whatever else a token said does not get into a log with its principal."""
    one = Principal(
        subject="a", roles=(), issuer="id", expires_at=1.0, claims={"name": "hush"}
    )

    assert "hush" not in repr(one)
