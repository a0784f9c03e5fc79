"""What a value looks like, and what a name says it is: never the value itself.

For whoever drafts a policy from what passes: a field is worth protecting when its name
or the look of its values is personal. Both are guesses, and are shown as such.
"""

import itertools
import re
from typing import Final

_LOOKS: Final = (
    ("email", re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")),
    ("uuid", re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("instant", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{4}")),
    ("iban", re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?")),
    ("url", re.compile(r"https?://\S+")),
    ("phone", re.compile(r"\+\d(?:[ ()./-]?\d){6,14}|0\d{1,5}(?:[ ()./-]\d+){1,5}")),
    ("digits", re.compile(r"\d+")),
    ("person", re.compile(r"[A-ZÀ-Þ][\w'-]+(?: [A-ZÀ-Þ][\w'.-]*){1,3}")),
)
_OF_TYPES: Final = (
    (type(None), "null"),
    (bool, "boolean"),  # which is an int, too
    (int | float, "number"),
)
_LONG: Final = 200
_PERSONAL_LOOKS: Final = frozenset(("email", "iban", "phone"))
"""A look that is personal whatever the name says."""

_NAMES: Final = {
    "email": ("email", "mail", "emailaddress"),
    "phone": ("phone", "telephone", "mobile", "fax"),
    "name": (
        *("firstname", "lastname", "fullname", "surname", "givenname", "familyname"),
        *("middlename", "nickname", "displayname"),
    ),
    "birth": ("birth", "birthday", "birthdate", "dob", "dateofbirth"),
    "address": ("street", "postcode", "zipcode", "postalcode", "homeaddress"),
    "number": ("ssn", "passport", "taxid", "nationalid", "socialsecurity"),
    "bank": ("iban", "bic", "creditcard", "cardnumber", "accountnumber"),
}
_KINDS: Final = {word: kind for kind, words in _NAMES.items() for word in words}
_SECRETS: Final = frozenset(("password", "passwd", "secret", "token", "apikey"))


def look_of(value: object) -> str:
    """Return in a word what a JSON value looks like.

    Example:
        >>> look_of("ada@example.org"), look_of(7), look_of("Ada Lovelace")
        ('email', 'number', 'person')
    """
    if not isinstance(value, str):
        return next(
            (look for kind, look in _OF_TYPES if isinstance(value, kind)), "other"
        )
    if len(value) > _LONG:
        return "long"
    return next((look for look, one in _LOOKS if one.fullmatch(value)), "text")


def words_of(name: str) -> frozenset[str]:
    """Return the words of a name, in lower case, neighbours together, and singulars."""
    spread = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spread.lower()) if word]
    pairs = {one + other for one, other in itertools.pairwise(words)}
    found = (*words, *pairs, "".join(words))
    return frozenset((*found, *(word.removesuffix("s") for word in found)))


def personal_kind(name: str, looks: frozenset[str] = frozenset()) -> str | None:
    """Return what kind of personal value a member holds; None for none.

    Args:
        name: of the member, such as ``firstName``.
        looks: what its values look like.
    """
    words = words_of(name)
    if words & _SECRETS or (looks and looks <= {"boolean", "null"}):
        return None
    for word in sorted(words, key=len, reverse=True):
        if word in _KINDS:
            return _KINDS[word]
    if looks & _PERSONAL_LOOKS:
        return {"iban": "bank"}.get(look := min(looks & _PERSONAL_LOOKS), look)
    if "name" in words and "person" in looks:
        return "name"
    return None


_VALUE_LIKE: Final = re.compile(
    r"\d+|[0-9a-fA-F]{12,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=[^/]*\d)[A-Za-z0-9_-]{16,}|[^/]*@[^/]*|[^/]*%[^/]*|[^/]{41,}"
)


def is_value(segment: str) -> bool:
    """Say whether a segment of a path looks like a value, and not like a word.

    Numbers, ids, addresses, and whatever is encoded or long.
    """
    return bool(_VALUE_LIKE.fullmatch(segment))


def shape_of(path: str) -> str:
    """Return a path as a pattern, its values named after what stands before them.

    Example:
        >>> shape_of("/api/users/7/notes/0e8cd2a1b7f3")
        '/api/users/{user}/notes/{note}'
    """
    segments: list[str] = []
    named: set[str] = set()
    for segment in path.split("/")[1:]:
        if not segment or not is_value(segment):
            segments.append(segment)
            continue
        name = name_of(segments[-1] if segments else "", named)
        segments.append(f"{{{name}}}")
    return "/" + "/".join(segments)


def name_of(word: str, taken: set[str]) -> str:
    """Return the name of a parameter after a word; it is taken from then on."""
    name = re.sub(r"\W+", "_", word, flags=re.ASCII).strip("_").lower()
    name = name.removesuffix("s") if len(name) > 2 else name  # noqa: PLR2004 - "is"
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        name = "id"
    number = 1
    while name in taken:
        number += 1
        name = f"{name.rstrip('0123456789_')}_{number}"
    taken.add(name)
    return name
