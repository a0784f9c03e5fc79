"""What encrypting and decrypting one value costs, by mode; and ten values of a body.

``python -m tests.benchmarks.ciphers`` prints microseconds of one core, the median of
several rounds, beside the goals they are held against. It takes about ten seconds.
"""

import argparse
import base64
import json
import statistics
import sys
import timeit
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from cryptography.fernet import Fernet

from proxy.bindings import nonces
from proxy.core.cipher import Cipher
from proxy.core.field_keys import Scope
from proxy.core.fields import Selection
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.protection import decrypt_body, encrypt_body

KEY = bytes(range(32))
ROUNDS = 7
SECONDS_A_ROUND = 0.05

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
fields:
  random: {mode: random}
  compact: {mode: random, overhead: compact}
  deterministic: {mode: deterministic}
  email: {mode: deterministic, shape: email, mail_domain: enc.lms.example}
  digits: {mode: digits}
  pepper: {mode: pepper}
views: {anyone: {"*": plain}}
rules: [{id: home, match: GET /, allow: anyone}]
"""

VALUES = {
    "random": '"Ada Lovelace, London W1"',
    "compact": '"Ada Lovelace, London W1"',
    "deterministic": '"ada.lovelace@example.org"',
    "email": '"ada.lovelace@example.org"',
    "digits": '"+44 20 7946 0123"',
    "pepper": '"correct horse battery staple"',
}

GOALS = {"random": 15.0, "deterministic": 12.0, "body": 200.0}
"""Microseconds, for either way; of the body for both ways together."""


@dataclass(frozen=True)
class Row:
    """One line of the table: microseconds, or None for what cannot be done."""

    what: str
    encrypt: float
    decrypt: float | None
    goal: float | None

    @property
    def met(self) -> bool:
        """Whether each way, or of a body both together, takes no longer than that."""
        times = [self.encrypt, self.decrypt or 0.0]
        spent = sum(times) if self.what.startswith("body") else max(times)
        return self.goal is None or spent <= self.goal


def microseconds(call: Callable[[], object]) -> float:
    """Return the median cost of a call."""
    timer = timeit.Timer(call)
    count = 1 + int(1000 * SECONDS_A_ROUND / (1e-6 + timer.timeit(1000)))
    rounds = timer.repeat(ROUNDS, count)
    return statistics.median(rounds) / count * 1e6


def single_values(cipher: Cipher) -> Iterator[Row]:
    """Measure each mode on a value of its kind."""
    for field, leaf in VALUES.items():
        sealed = cipher.encrypt(field, leaf)
        yield Row(
            what=field,
            encrypt=microseconds(lambda: cipher.encrypt(field, leaf)),  # noqa: B023
            decrypt=None
            if field == "pepper"
            else microseconds(lambda: cipher.decrypt(field, sealed)),  # noqa: B023
            goal=GOALS.get(field),
        )


def fernet() -> Row:
    """Measure what the original specification's sample used."""
    token = Fernet(base64.urlsafe_b64encode(KEY))
    value = json.loads(VALUES["random"]).encode()
    sealed = token.encrypt(value)
    return Row(
        what="Fernet, for comparison",
        encrypt=microseconds(lambda: token.encrypt(value)),
        decrypt=microseconds(lambda: token.decrypt(sealed)),
        goal=None,
    )


def body_of_ten(policy: Policy, cipher: Cipher) -> Row:
    """Measure a body of 2 KiB with ten protected values, five of them looked up."""
    names = [f"field_{n}" for n in range(10)]
    fields = ["random", "email"] * 5
    document = {
        name: json.loads(VALUES[f]) for name, f in zip(names, fields, strict=True)
    }
    filler = 2048 - len(json.dumps(document)) - len(', "filler": ""')
    plain = json.dumps({**document, "filler": "x" * filler}).encode()
    places = {f"$.{name}": field for name, field in zip(names, fields, strict=True)}
    selection = Selection.compile(places)

    def encrypted() -> bytes:
        return encrypt_body(cipher, selection, plain, lambda *_: None)

    sealed = encrypted()
    return Row(
        what=f"body of {len(plain)} bytes, ten values",
        encrypt=microseconds(encrypted),
        decrypt=microseconds(
            lambda: decrypt_body(
                (policy, cipher), selection, sealed, "", lambda *_: None
            )
        ),
        goal=GOALS["body"],
    )


def main() -> int:
    """Print the table; return the exit code, 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="JSON in place of the table"
    )
    options = parser.parse_args()
    policy, _ = parse_policy([("benchmark.yaml", POLICY)], {})
    cipher = Cipher(Keyset([KEY]), Scope("lms"), policy.fields, nonces().__next__)
    rows = [*single_values(cipher), fernet(), body_of_ten(policy, cipher)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    print(f"{'microseconds':36}{'encrypt':>9}{'decrypt':>9}{'goal':>8}")
    for row in rows:
        decrypt = "-" if row.decrypt is None else f"{row.decrypt:.2f}"
        goal = "-" if row.goal is None else f"{row.goal:.0f}"
        verdict = "" if row.goal is None else ("  met" if row.met else "  MISSED")
        print(f"{row.what:36}{row.encrypt:9.2f}{decrypt:>9}{goal:>8}{verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
