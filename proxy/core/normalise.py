"""One form of a string for every way to write it, where equality shall hold.

What a person types at login is not, byte for byte, what was typed at registration.
The steps run in one order whatever the policy's: strip, NFC, case, and NFC again, for
folding case can undo it (Unicode Standard section 3.13, definition D145).
"""

import unicodedata
from collections.abc import Collection

from proxy.core.field import Step


def normalise(text: str, steps: Collection[Step]) -> str:
    """Return the one form of a string.

    Example:
        >>> normalise(" Ada@Example.org", {Step.STRIP, Step.LOWER})
        'ada@example.org'
    """
    if Step.STRIP in steps:
        text = text.strip()
    if text.isascii():  # NFC already, and both case mappings are one
        folds = Step.LOWER in steps or Step.CASEFOLD in steps
        return text.lower() if folds else text
    if Step.NFC in steps:
        text = unicodedata.normalize("NFC", text)
    if Step.CASEFOLD in steps:
        text = text.casefold()
    elif Step.LOWER in steps:
        text = text.lower()
    return unicodedata.normalize("NFC", text) if Step.NFC in steps else text
