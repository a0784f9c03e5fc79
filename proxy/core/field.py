"""A protected field: how its values are encrypted, wherever they travel.

Frozen values and nothing else: ``policy_fields`` builds them, ``cipher`` obeys them.
"""

import dataclasses
import enum

MIN_PASSWORD = 8
"""How many characters a password has at least (NIST SP 800-63B section 5.1.1.1)."""


class Mode(enum.Enum):
    """How values of a field are encrypted; the words of the policy.

    RANDOM: another ciphertext every time.
    DETERMINISTIC: equal values have equal ciphertexts, so that look-ups work.
    DIGITS: digits become other digits, as many; equal ones equal ones.
    PEPPER: passwords become other passwords, and never come back.
    TOKEN: a random word stands for the value, which the keystore holds.
    FERNET: what an older service wrote; decrypted, and never written.
    """

    RANDOM = "random"
    DETERMINISTIC = "deterministic"
    DIGITS = "digits"
    PEPPER = "pepper"
    TOKEN = "token"  # noqa: S105 - a word of the policy
    FERNET = "fernet"

    @property
    def keeps_equality(self) -> bool:
        """Whether equal values stay equal, and so another key would break look-ups."""
        return self in {Mode.DETERMINISTIC, Mode.DIGITS, Mode.PEPPER}


class Source(enum.Enum):
    """Where a request says what a value is bound to; the words of the policy."""

    CLAIM = "claim"
    PATH = "path"


@dataclasses.dataclass(frozen=True, slots=True)
class Bind:
    """What a value is bound to besides its field: ``source(name)``.

    Attributes:
        source: where the request says it.
        name: of the claim, or of the path's parameter.
    """

    source: Source
    name: str

    def __str__(self) -> str:
        """Format as the policy writes it."""
        return f"{self.source.value}({self.name})"


class OnError(enum.Enum):
    """What is shown of a value that does not decrypt; the words of the policy.

    FAIL: nothing, the whole answer is refused.
    NULL: null.
    MASK: a mask that holds nothing of it.
    CIPHERTEXT: what is stored; for an emergency.
    """

    FAIL = "fail"
    NULL = "null"
    MASK = "mask"
    CIPHERTEXT = "ciphertext"


class Step(enum.Enum):
    """What is done to a string before it is encrypted, in this order.

    STRIP: white space around it is removed.
    NFC: canonically equivalent characters become the same (Unicode TR 15).
    LOWER: lower case.
    CASEFOLD: more than lower case: what differs by case only becomes the same.
    """

    STRIP = "strip"
    NFC = "nfc"
    LOWER = "lower"
    CASEFOLD = "casefold"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A logical field that is protected wherever it travels.

    Attributes:
        id: its name in the policy; bound into every ciphertext.
        mode: how it is encrypted.
        compact: shorter ciphertexts that do not commit to their key; RANDOM only.
        mail_domain: ciphertexts are e-mail addresses at this domain, which belongs to
            the deployer and has no other addresses; None for ciphertexts of no shape.
            DETERMINISTIC only.
        normalise: what is done to strings first; DETERMINISTIC only.
        accept_leakage: whether a field of few values may be DETERMINISTIC.
        key: the id of the key that encrypts where equality must last; None for the
            only key there is.
        reads: modes whose older values of this field decrypt, too.
        max_bytes: the longest value, in bytes of UTF-8; None for any length.
        min_length: the shortest password, in characters; PEPPER only.
        bind: what values are bound to besides, so that nobody moves them to another
            row; None for nothing. RANDOM only.
        subject: whose a value is, and so whose key it is under; None for the
            tenant's. RANDOM only.
        token_length: how many characters a token has; None for as many as there may
            be. TOKEN only.
        on_error: what is shown of a value that does not decrypt.
        shared: whether its keys are those of no tenant, whoever asks.
    """

    id: str
    mode: Mode = Mode.RANDOM
    compact: bool = False
    mail_domain: str | None = None
    normalise: frozenset[Step] = frozenset()
    accept_leakage: bool = False
    key: int | None = None
    reads: frozenset[Mode] = frozenset()
    max_bytes: int | None = None
    min_length: int = MIN_PASSWORD
    bind: Bind | None = None
    subject: Bind | None = None
    token_length: int | None = None
    on_error: OnError = OnError.FAIL
    shared: bool = False
