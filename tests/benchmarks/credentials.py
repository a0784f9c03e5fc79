"""One secret, one RSA key, and a token for each subject: made anew for every run."""

import base64
import dataclasses
import os
import time
from collections.abc import Collection
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SUBJECTS = 1000
LIFETIME_SECONDS = 6 * 3600


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What the peers verify with, and the files of tokens that wrk sends.

    Attributes:
        secret: of HS256.
        public_key: of RS256, as PEM.
        encryption_key: 32 bytes in URL-safe base64.
        tokens: the file of each algorithm, a token a line; "" is one empty line.
    """

    secret: str
    public_key: str
    encryption_key: str
    tokens: dict[str, Path]

    def first_token(self, algorithm: str) -> str:
        """Return the token of the first subject, or "" for no algorithm."""
        with self.tokens[algorithm].open(encoding="ascii") as lines:
            return lines.readline().rstrip("\n")


def make_credentials(
    folder: Path, algorithms: Collection[str] = ("HS256", "RS256")
) -> Credentials:
    """Make keys and tokens, and write the tokens to files in ``folder``."""
    secret = os.urandom(24).hex()
    pem = b""
    signers: dict[str, str | rsa.RSAPrivateKey] = {"HS256": secret}
    if "RS256" in algorithms:
        signers["RS256"] = private_key = rsa.generate_private_key(65537, 2048)
        pem = private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    tokens = {"": folder / "no-tokens.txt"}
    tokens[""].write_text("\n", encoding="ascii")
    expires = int(time.time()) + LIFETIME_SECONDS
    for algorithm in algorithms:
        tokens[algorithm] = folder / f"{algorithm}-tokens.txt"
        lines = (
            jwt.encode(
                {
                    "iss": "lumina",
                    "aud": "lms",
                    "sub": f"user-{number:04}",
                    "role": "student",
                    "exp": expires,
                },
                signers[algorithm],
                algorithm,
            )
            for number in range(SUBJECTS)
        )
        tokens[algorithm].write_text("\n".join(lines) + "\n", encoding="ascii")
    return Credentials(
        secret=secret,
        public_key=pem.decode("ascii"),
        encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode("ascii"),
        tokens=tokens,
    )
