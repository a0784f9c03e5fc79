"""The data keys of a process that has a keystore: opened, kept fresh, let go of."""

from collections.abc import Callable, Mapping

from proxy.bindings import clocks, nonces
from proxy.core.ciphers import Ciphers
from proxy.core.key_records import KeystoreError
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.edge.keystore.configured import open_keks, open_store
from proxy.edge.keystore.custody import Custody
from proxy.edge.keystore.ports import KeysUnavailableError
from proxy.edge.keystore.vault import StoreVault
from proxy.starting import StartError


class DataKeys:
    """The keys of a keystore, where there is one.

    Args:
        environment: where the keystore is, and what opens it.
        used: encryptions of this process so far, by key id.

    Attributes:
        custody: what keeps the keys of the keystore; None without one.

    Raises:
        StartError: a setting is wrong.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        used: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        self._keyring: Keyring | None = None
        self._changed: Callable[[], object] = lambda: None
        self.custody: Custody | None = None
        self._vault: StoreVault | None = None
        url = environment.get("KEYSTORE", "")
        if url:
            legacy = _legacy(environment)
            try:
                store, keks = open_store(url), open_keks(environment)
            except KeystoreError as error:
                raise StartError(f"{error}.") from None
            self._vault = StoreVault(store, self._index_key)
            self.custody = Custody(
                store,
                keks,
                now=clocks().wall,
                legacy=legacy,
                used=used,
                on_change=self._put,
            )

    async def open(self) -> None:
        """Read the keystore, if there is one.

        Raises:
            StartError: its keys are not to be had.
        """
        if self.custody is not None:
            try:
                self._keyring = await self.custody.open()
            except (KeysUnavailableError, KeystoreError) as error:
                raise StartError(f"KEYSTORE: {error}.") from None

    def _index_key(self) -> bytes:
        return self.custody.index_key if self.custody else b""

    def start(self, changed: Callable[[], object]) -> None:
        """Call ``changed`` when other keys are to be put in force, and once now.

        They may have changed since what is in force was built.
        """
        self._changed = changed
        if self.custody is not None:
            changed()

    def _put(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._changed()

    def ciphers(self, policy: Policy) -> Ciphers | None:
        """Return what encrypts with the keystore's keys; None without a keystore.

        Raises:
            ValueError: a field of the policy names a key that is not there.
        """
        if self._keyring is None or self.custody is None:
            return None
        return Ciphers(
            self._keyring,
            policy.deployment,
            policy.fields,
            nonces().__next__,
            lease=self.custody.lease,
            missed=self.custody.missed,
        )

    @property
    def vault(self) -> StoreVault | None:
        """What is in the keystore beside its keys; None without a keystore."""
        return self._vault

    @property
    def state(self) -> str:
        """How the keys are, in a word or a sentence for people."""
        return "ok" if self.custody is None else self.custody.state

    async def close(self) -> None:
        """Stop keeping them fresh."""
        if self.custody is not None:
            await self.custody.close()


def _legacy(environment: Mapping[str, str]) -> Keyset | None:
    text = environment.get("ENCRYPTION_KEY", "")
    try:
        return Keyset.from_text(text) if text else None
    except ValueError as error:
        raise StartError(f"ENCRYPTION_KEY: {error}.") from None
