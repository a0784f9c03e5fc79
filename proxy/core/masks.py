"""What is left of a value for a role that may not see it.

A mask keeps at most first letters, and always holds ``MARKER``: so a masked value that
a client sends back can be told from a real one, and never overwrites it.
"""

import json

MARKER = "\u2022\u2022\u2022"
"""Three bullets; no value that holds them is ever taken for a real one."""


def mask(leaf: str) -> str:
    """Return the mask of a value, both as JSON text.

    An e-mail address keeps its first letter, other text the first letter of each of
    its first three words. Numbers, booleans, lists and objects become null, for a
    shape or a size can say as much as the value. An empty string stays empty.

    Example:
        >>> mask('"Ada Lovelace"') == f'"A{MARKER} L{MARKER}"'
        True
    """
    if not leaf.startswith('"'):
        return "null"
    text = json.loads(leaf, strict=False)
    if "@" in text:
        masked = (
            f"{text[0]}{MARKER}@{MARKER}" if text[0] != "@" else f"{MARKER}@{MARKER}"
        )
    else:
        masked = " ".join(word[0] + MARKER for word in text.split()[:3])
        if text and not masked:
            masked = MARKER
    return json.dumps(masked, ensure_ascii=False)


def looks_masked(text: str) -> bool:
    """Say whether a text holds what only masks hold."""
    return MARKER in text
