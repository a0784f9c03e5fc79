"""From a policy and the keys of this process to what requests hold: a Snapshot."""

from collections.abc import Mapping

from proxy.bindings import nonces
from proxy.core.authn import Authenticator, Trusted
from proxy.core.ciphers import Ciphers
from proxy.core.field import Mode
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.data_keys import DataKeys
from proxy.edge.policy_history import PolicyHistory
from proxy.edge.policy_source import PolicySource
from proxy.edge.tls import TlsError, context_for_client, tls_of
from proxy.ports import Snapshot
from proxy.settings import Settings
from proxy.starting import StartError

LIMIT_PURPOSE = "lumina limit owners v1"
"""Of the key that hashes what limits count by and may be a secret."""


def source_of(settings: Settings, environment: Mapping[str, str]) -> PolicySource:
    """Return where the policy comes from: the disk, or what is pinned."""
    folder = settings.policy_state
    history = None if folder is None else PolicyHistory(folder)
    return PolicySource(settings.policy, environment, history=history)


def snapshot_of(
    policy: Policy,
    environment: Mapping[str, str],
    keys: DataKeys | None = None,
    trusted: Trusted | None = None,
) -> Snapshot:
    """Build what is in force from a policy and the secrets beside it.

    Args:
        policy: has no errors.
        environment: where ENCRYPTION_KEY is; asked again by every reload, for a file
            may hold another one than at the start.
        keys: of a keystore, opened; None, or some without one, for ENCRYPTION_KEY.
        trusted: what the process knows of issuers; None where nobody is served.

    Raises:
        StartError: the keys are none, or lack one that the policy asks for; or a file
            of a backend's certificates cannot be used.
    """
    name = "KEYSTORE"
    try:
        ciphers = keys.ciphers(policy) if keys else None
        if ciphers is None:
            name = "ENCRYPTION_KEY"
            keyring = Keyring(Keyset.from_text(environment.get(name, "")))
            fields, nonce = policy.fields, nonces().__next__
            ciphers = Ciphers(keyring, policy.deployment, fields, nonce)
    except ValueError as error:
        raise StartError(f"{name}: {error}.") from None
    _try_certificates(policy)
    authenticator = Authenticator(
        policy.issuers, trusted=trusted, keep_claims=policy.asks_claims
    )
    vault = keys.vault if keys else None
    if vault is None:
        _refuse_vaulted(policy)
    secret = ciphers.secret(LIMIT_PURPOSE)
    return Snapshot(policy, authenticator, ciphers, secret, vault)


def _refuse_vaulted(policy: Policy) -> None:
    """Refuse fields that have something in a keystore which there is not."""
    for field in policy.fields.values():
        if field.mode is Mode.TOKEN or field.subject is not None:
            what = "subject's keys" if field.subject else "values"
            raise StartError(
                f"KEYSTORE is not set, and a keystore has the {what} of the field "
                f"{field.id}."
            )


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
    for listener in policy.listeners.values():
        if listener.tls is not None:
            try:
                tls_of(listener.tls)
            except TlsError as error:
                raise StartError(f"listeners: {error}.") from None
