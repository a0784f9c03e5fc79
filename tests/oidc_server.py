"""A real OpenID provider for tests: started on a free loopback port, ended by its pid.

It is panva's ``oidc-provider`` from npm, with the Node that it needs
(``tests/oidc_provider``; ``make test`` installs both).
"""

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

_FOLDER = Path(__file__).parent / "oidc_provider"
_DEADLINE = 20.0
"""Seconds for the provider to answer, or to stop."""

MACHINE = {
    "client_id": "machine",
    "client_secret": "the secret of a client of the tests",
    "grant_types": ["client_credentials"],
    "redirect_uris": [],
    "response_types": [],
}
"""A client that gets tokens for itself; its role is ``accounts["machine"]``'s."""

ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "ada": {"role": "teacher", "name": "Ada Lovelace"},
    "ben": {"role": "student", "name": "Ben Bitdiddle"},
    "root": {"role": "admin", "name": "Root"},
    "machine": {"role": "teacher"},
}


def _node() -> str:
    """Return the Node that npm installed for this machine."""
    found = sorted(_FOLDER.glob("node_modules/node-linux-*/bin/node"))
    assert found, "npm ci --prefix tests/oidc_provider (make test does it)"
    return str(found[0])


class OidcProvider:
    """A running provider.

    Attributes:
        issuer: its ``iss``, which is its address.
        discovery: where it describes itself.
        jwks: where its keys are.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.discovery = f"{issuer}/.well-known/openid-configuration"
        self.jwks = f"{issuer}/jwks"

    def token(self, client: Mapping[str, Any] = MACHINE, **form: str) -> dict[str, Any]:
        """Return what the token endpoint answers; by default to the machine.

        ``resource="urn:opaque"`` asks for an opaque token; the usual is a JWT.
        """
        return self.post("/token", {"grant_type": "client_credentials"} | form, client)

    def post(
        self,
        path: str,
        form: Mapping[str, str],
        client: Mapping[str, Any] = MACHINE,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the answer to a form that a client sends."""
        who = {"client_id": str(client["client_id"])}
        if "client_secret" in client:
            who["client_secret"] = str(client["client_secret"])
        data = urllib.parse.urlencode({**form, **who}).encode()
        answer: dict[str, Any] = self._ask(path, data, dict(headers or {}))
        return answer

    def keys(
        self, order: Literal["show", "publish", "rotate", "promote", "retire"]
    ) -> list[str]:
        """Change the keys, see ``provider.mjs``; return the kids, the signing first."""
        kids: list[str] = self._tell("/-/keys", {"do": order})
        return kids

    def fail(self, path: str, how: int | str | None) -> None:
        """Let ``path`` answer with a status, "hang", or (None) as it should."""
        self._tell("/-/fail", {path: how})

    def seen(self, path: str) -> int:
        """Return how often ``path`` was asked for."""
        counts: dict[str, int] = self._ask("/-/seen", None, {})
        return counts.get(path, 0)

    def _tell(self, path: str, order: Mapping[str, Any]) -> Any:
        return self._ask(path, json.dumps(order).encode(), {})

    def _ask(self, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self.issuer + path, data, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_DEADLINE) as response:  # noqa: S310
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()
            raise AssertionError(f"{path}: {error.code} {said!r}") from None


@contextlib.contextmanager
def oidc_provider(
    *clients: Mapping[str, Any],
    accounts: Mapping[str, Mapping[str, Any]] = ACCOUNTS,
    lifetime: int = 300,
    port: int = 0,
) -> Iterator[OidcProvider]:
    """Run a provider for the length of a ``with`` block.

    Args:
        clients: its clients, as registered; the machine when there are none.
        accounts: claims by subject.
        lifetime: of access tokens, in seconds.
        port: to listen on; 0 is any free one.
    """
    told = {
        "port": port,
        "clients": clients or (MACHINE,),
        "accounts": accounts,
        "lifetime": lifetime,
    }
    with subprocess.Popen(
        [_node(), str(_FOLDER / "provider.mjs"), json.dumps(told)],
        cwd=_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().decode().strip()
            assert issuer, "the provider did not start"
            yield OidcProvider(issuer)
        finally:
            process.kill()
