"""Who logs in too often in vain has to wait: a stage of ``Pipeline.handle``.

What is counted, and how, is ``core.login``'s; here the store is asked, and told the
verdict of the backend when the request is over (``Taking.settle``).
"""

from proxy.bodies import Bodies
from proxy.core.bill import Bill
from proxy.core.exchange import Exchange
from proxy.core.headers import RequestHeaders
from proxy.core.login import Tries, account_of
from proxy.core.message import Request
from proxy.core.policy import Rule
from proxy.ports import BucketStore, Snapshot
from proxy.taking import Taking


class Logins:
    """Counts tries to log in.

    Args:
        store: where they are counted.
        bodies: reads who logs in.
        taking: told who presses.
    """

    def __init__(self, store: BucketStore, bodies: Bodies, taking: Taking) -> None:
        self._store = store
        self._bodies = bodies
        self._taking = taking

    async def check(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> None:
        """Let a try to log in pass.

        Raises:
            Refused: LOGINS_DELAYED; or the body is too large, cannot be read, or does
                not say clearly who logs in.
        """
        login = rule.login
        # In shadow mode, what an earlier stage would have refused gets no further.
        if login is None or exchange.shadow is not None:
            return
        body = await self._bodies.held(rule, request, headers, exchange)
        noted = headers.noted
        account = account_of(
            login,
            body,
            noted.get(b"content-type"),
            encoded=b"content-encoding" in noted,
        )
        secret, client = snapshot.limit_secret, exchange.client
        tries = Tries(login, account, client, secret, shadow=rule.shadow)
        if tries.known is not None:
            [mark] = await self._store.take([tries.known.costing(0)])
            tries.is_known = not mark.remaining and not mark.lost
        if exchange.bill is None:
            exchange.bill = Bill([], request.body)
        if isinstance(exchange.bill, Bill):
            exchange.bill.tries = tries
        takes = tries.takes()
        self._taking.try_login(tries, takes, await self._store.take(takes), exchange)
