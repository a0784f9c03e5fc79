"""From a policy and the secrets of this process to what requests hold: a Snapshot."""

from collections.abc import Mapping

from proxy.bindings import nonces
from proxy.core.authn import Authenticator, Trusted
from proxy.core.cipher import Cipher
from proxy.core.field_keys import Scope
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.ports import Snapshot


class StartError(Exception):
    """The process cannot start; the message is one line for people."""


def snapshot_of(
    policy: Policy, environment: Mapping[str, str], trusted: Trusted
) -> Snapshot:
    """Build what is in force from a policy and the secrets beside it.

    Args:
        policy: has no errors.
        environment: where the keys are; asked again by every reload, for a file may
            hold another one than at the start.
        trusted: what the process knows of issuers.

    Raises:
        StartError: the keys are none, or lack one that the policy asks for.
    """
    try:
        keyset = Keyset.from_text(environment.get("ENCRYPTION_KEY", ""))
        scope = Scope(policy.deployment)
        cipher = Cipher(keyset, scope, policy.fields, nonces().__next__)
    except ValueError as error:
        raise StartError(f"ENCRYPTION_KEY: {error}.") from None
    authenticator = Authenticator(
        policy.issuers, trusted=trusted, keep_claims=policy.asks_claims
    )
    return Snapshot(policy, authenticator, cipher)
