"""From a policy and the secrets of this process to what requests hold: a Snapshot."""

from collections.abc import Mapping

from proxy.bindings import nonces
from proxy.core.authn import Authenticator
from proxy.core.cipher import Cipher
from proxy.core.field_keys import Scope
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.edge.policy_history import PolicyHistory
from proxy.edge.policy_source import PolicySource
from proxy.edge.tls import TlsError, context_for_client
from proxy.ports import Snapshot
from proxy.settings import Settings
from proxy.starting import StartError


def source_of(settings: Settings, environment: Mapping[str, str]) -> PolicySource:
    """Return where the policy comes from: the disk, or what is pinned."""
    folder = settings.policy_state
    history = None if folder is None else PolicyHistory(folder)
    return PolicySource(settings.policy, environment, history=history)


def snapshot_of(policy: Policy, environment: Mapping[str, str]) -> Snapshot:
    """Build what is in force from a policy and the secrets beside it.

    Args:
        policy: has no errors.
        environment: where the keys are; asked again by every reload, for a file may
            hold another one than at the start.

    Raises:
        StartError: the keys are none, or lack one that the policy asks for; or a file
            of a backend's certificates cannot be used.
    """
    try:
        keyset = Keyset.from_text(environment.get("ENCRYPTION_KEY", ""))
        scope = Scope(policy.deployment)
        cipher = Cipher(keyset, scope, policy.fields, nonces().__next__)
    except ValueError as error:
        raise StartError(f"ENCRYPTION_KEY: {error}.") from None
    _try_certificates(policy)
    authenticator = Authenticator(policy.issuers, keep_claims=policy.asks_claims)
    return Snapshot(policy, authenticator, cipher)


def _try_certificates(policy: Policy) -> None:
    """See that the files can be used, before anything of the policy is in force."""
    for backend in policy.backends.values():
        if any(server.tls for server in backend.servers):
            try:
                context_for_client(
                    ca=backend.tls.ca,
                    certificate=backend.tls.certificate,
                    key=backend.tls.key,
                    verify=backend.tls.verify,
                )
            except TlsError as error:
                raise StartError(f"backends: {error}.") from None
