"""Log-ins that fail: who guesses is made to wait, and who knows their password is not.

Three things are counted, each with a back-off (``counting``), and each by the backend's
own verdict, which is the status of its answer:

- the failures of an account, whoever makes them: a guessing attack on it is as slow
  from a thousand addresses as from one;
- the failures of a client, whatever account it tries: so is trying one password on
  thousands of accounts;
- the failures of an account from a client that is known to it, because a log-in from
  there succeeded lately: these count by themselves. So the owner of an account that is
  attacked gets in from where they always do.

A try counts as a failure until the backend says otherwise, so that many tries at once
are as many failures. Nobody learns whether an account exists: one that does not is made
to wait just the same. The name of an account stands in no key, only its keyed hash.
"""

import functools
import json
import unicodedata
from typing import Final
from urllib.parse import quote

from proxy.core.bucket import MAX_FAILURES, RateLimit
from proxy.core.errors import Refused
from proxy.core.fields import splice
from proxy.core.headers import is_json
from proxy.core.limit import Limit, Login, OnStoreFailure, Per
from proxy.core.limits import Quota, Take
from proxy.core.owner import owner_of, quoted, secret_hash
from proxy.core.parameters import is_form
from proxy.core.reasons import Reason

_CLIENT_ERROR: Final = 400


def account_of(
    login: Login, body: bytes, content_type: bytes | None, *, encoded: bool
) -> str | None:
    """Return the account that a log-in is for, in the spelling that counts.

    Backends find accounts by more than one spelling, and each shall be one account:
    white space around it, case and the forms of Unicode do not count.

    Args:
        login: says where it stands.
        body: the whole body.
        content_type: the value of Content-Type; None without one.
        encoded: whether the body has a content coding.

    Returns:
        None where the body names none.

    Raises:
        Refused: the body cannot be read, or could be read in two ways.
    """
    if not body:
        return None
    found: list[str] = []

    def note(_: str, value: str) -> str:
        found.append(value)
        return value

    if encoded:
        raise Refused(Reason.MEDIA_TYPE_NOT_ALLOWED)
    if login.json is not None and is_json(content_type):
        splice(body, login.json, note, exact=True)
        found = [text for leaf in found if (text := _text(leaf))]
    elif login.form is not None and is_form(content_type):
        try:
            login.form.replace(body.decode("ascii"), note)
        except UnicodeDecodeError:
            raise Refused(Reason.PARAMETER_AMBIGUOUS, "It is not ASCII.") from None
    else:
        raise Refused(Reason.MEDIA_TYPE_NOT_ALLOWED)
    names = {spelled(name) for name in found} - {""}
    if len(names) > 1:
        raise Refused(Reason.PARAMETER_AMBIGUOUS, "It names more than one account.")
    return names.pop() if names else None


def spelled(name: str) -> str:
    """Return the name of an account in the spelling that counts."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _text(leaf: str) -> str:
    value = json.loads(leaf)
    if value is None:
        return ""
    return value if isinstance(value, str) else leaf


class Tries:
    """What a try to log in counts for.

    Attributes:
        login: how it counts.
        known: a mark that the account was logged in to from this client lately; None
            where no account is named.
        pair: failures of the account from this client; None likewise.
        account: failures of the account; None likewise.
        client: failures of the client.
        is_known: whether the mark is there.
        taken: whether the try was let pass. Of one that was not, or whose client left
            before that was known, nothing is given back.
    """

    __slots__ = ("account", "client", "is_known", "known", "login", "pair", "taken")

    def __init__(
        self,
        login: Login,
        account: str | None,
        client: str,
        secret: bytes,
        *,
        shadow: bool = False,
    ) -> None:
        self.login = login
        self.is_known = False
        self.taken = False
        of = _quotas(login, shadow=shadow)
        who = quoted(owner_of(Per.CLIENT, "", client))
        self.client = of["client"].take(f"{{{who}}}")
        self.known = self.pair = self.account = None
        if account is not None:
            # surrogatepass: as with subjects, whatever is not Unicode makes a name.
            name = account.encode("utf-8", "surrogatepass")
            tag = f"{{a:{secret_hash(name, secret)}}}"
            self.known = of["known"].take(f"{tag},{who}")
            self.pair = of["pair"].take(f"{tag},{who}")
            self.account = of["account"].take(tag)

    def takes(self) -> list[Take]:
        """Return what the try is counted for beforehand."""
        if self.pair is not None and self.is_known:
            return [self.pair]
        return [self.client] if self.account is None else [self.account, self.client]

    def settlements(self, status: int, *, sent: bool) -> list[Take]:
        """Return what is to be settled once the backend's verdict is known.

        Args:
            status: of the answer; 0 where the client left before there was one.
            sent: whether the backend got the request.
        """
        takes = self.takes()
        if not self.taken:
            return []
        if status in self.login.failed or (sent and not status):
            # Failed; or nobody knows, since the client did not wait to be told.
            return []
        if status >= _CLIENT_ERROR or not sent:
            return [take.costing(-1) for take in takes]
        if self.known is None:
            return [take.costing(-1) for take in takes]
        # A success: full, then empty, is empty from now on for as long as it lasts.
        settled = [self.known.costing(-1), self.known.costing(1)]
        if self.is_known:
            return [*settled, takes[0].costing(-MAX_FAILURES)]
        return [*settled, *(take.costing(-1) for take in takes)]


class _Kind:
    """One of the things that are counted."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota

    def take(self, owner: str) -> Take:
        """Return a take of somebody's."""
        quota = self._quota
        return Take(f"lb:{owner}{quota.suffix}", quota.rate, quota, quota.cost)


@functools.lru_cache(maxsize=256)
def _quotas(login: Login, *, shadow: bool) -> dict[str, _Kind]:
    # One token, that needs as long to come back as somebody is known.
    known = RateLimit.of(1, login.known_us, 1)
    rates = {
        "known": known,
        "pair": login.per_known,
        "account": login.per_account,
        "client": login.per_client,
    }
    return {name: _Kind(_quota(login, name, rates[name], shadow)) for name in rates}


def _quota(login: Login, name: str, rate: RateLimit, shadow: bool) -> Quota:
    limit = Limit(
        id=f"{login.id} {quote(name)}",
        per=Per.CLIENT,
        rates={None: rate},
        on_store_failure=OnStoreFailure.LOCAL,
        # The mark refuses nobody anyway.
        shadow=shadow and name != "known",
    )
    return Quota(limit, None, rate)
