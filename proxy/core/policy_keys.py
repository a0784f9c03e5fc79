"""Every key that a policy and its test cases may have, and what it says.

One table for the parser, which refuses what is not in it, and for the JSON Schema, from
which editors complete and explain. Order is the order in which people write them.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key of a mapping.

    Attributes:
        says: what it says, in a sentence or two for people who write policies.
        required: whether it must be there.
    """

    says: str
    required: bool = False


Keys = Mapping[str, Key]


def required(keys: Keys) -> tuple[str, ...]:
    """Return the names of the keys that must be there."""
    return tuple(name for name, key in keys.items() if key.required)


DOCUMENT: Keys = {
    "version": Key("Which language this is; 1. Required in every file.", required=True),
    "deployment": Key(
        "A name bound into every ciphertext; 'default' when it is missing. Change it, "
        "and stored values no longer decrypt."
    ),
    "health": Key(
        "The path at which the data port itself says that it serves, or none. /health "
        "when it is missing. A rule that matches there wins."
    ),
    "backends": Key("The services behind the proxy, by name."),
    "issuers": Key("Whom tokens are trusted from, by name."),
    "roles": Key("The roles there are."),
    "limits": Key("Rate limits, by name."),
    "fields": Key("What is protected, by logical name, wherever it travels."),
    "views": Key(
        "What a role, or anyone, sees of each field: plain, a mask, a pseudonym, null "
        "or nothing (drop). What is not named is masked."
    ),
    "rules": Key("What may be done. A request that no rule matches is refused."),
}

BACKEND: Keys = {
    "servers": Key("Addresses: http://host:port.", required=True),
    "timeouts": Key("How long the backend may take."),
    "health": Key("An active check of each server."),
}

TIMEOUTS: Keys = {
    "connect": Key("Until the connection stands; 2s when it is missing."),
    "first_byte": Key(
        "From the request's last byte to the answer's head; 30s when it is missing."
    ),
    "idle": Key(
        "Between two reads of a body, and how long a pooled connection may rest; 60s "
        "when it is missing."
    ),
}

HEALTH: Keys = {
    "path": Key("What is asked for; 2xx is healthy.", required=True),
    "every": Key("How often: a duration such as 5s.", required=True),
}

ISSUER: Keys = {
    "issuer": Key("The exact iss of its tokens.", required=True),
    "audience": Key(
        "A token's aud must be this, or contain one of these.", required=True
    ),
    "algorithms": Key(
        "The only algorithms that its tokens may be signed with; all of one family.",
        required=True,
    ),
    "secret": Key(
        "The shared secret of HS256, HS384 or HS512; at least as long as the hash. "
        "Keep it out of the file: ${JWT_SECRET}."
    ),
    "public_key": Key("The public key of every other algorithm, in PEM."),
    "keys": Key("Several keys, each with its kid; two while a key is replaced."),
    "roles": Key("The claim with the role or roles, such as $.role.", required=True),
    "leeway": Key("What is forgiven clocks that differ; 5m at most, none usually."),
}

KEY: Keys = {
    "kid": Key("The id that tokens name the key by.", required=True),
    "secret": Key("The shared secret."),
    "public_key": Key("The public key, in PEM."),
}

LIMIT: Keys = {
    "rate": Key(
        "How often: 5/minute, 100/hour, 10/30s or unlimited; or one for each role, and "
        "default for the others.",
        required=True,
    ),
    "per": Key("Whose bucket: the token's subject (usual), or the client's address."),
    "burst": Key("How many at once; usually as many as the rate counts."),
    "on_store_failure": Key(
        "While the store does not answer: local (usual), each process counts its share "
        "of the rate; allow, the limit does not count; deny, it refuses."
    ),
    "precision": Key(
        "exact (usual), or leased: a process takes tokens ahead, so that most requests "
        "ask no store, and a client may find some of its tokens held elsewhere."
    ),
}

FIELD: Keys = {
    "mode": Key(
        "How values are encrypted: random; deterministic, for look-ups; digits, for "
        "numbers; pepper, for passwords; fernet, for what an older service wrote.",
        required=True,
    ),
    "overhead": Key("compact: shorter ciphertexts that do not commit to their key."),
    "shape": Key("email: ciphertexts are addresses below mail_domain."),
    "mail_domain": Key("A domain of yours that has no other addresses."),
    "normalise": Key(
        "What is done to strings before they are encrypted, or none; strip and nfc "
        "when it is missing, and lower for e-mail."
    ),
    "accept_leakage": Key(
        "true lets a field of few values be deterministic, so that they can be told "
        "apart in the store."
    ),
    "key": Key("The id of the key that the field stays with, when there are several."),
    "max_length": Key("How many characters the backend's column takes."),
    "max_bytes": Key("The longest value, in bytes of UTF-8; a longer one is refused."),
    "min_length": Key("The shortest password, in characters; 8 when it is missing."),
    "reads": Key("Other modes whose older values still decrypt."),
    "on_error": Key(
        "What is shown of a value that does not decrypt: fail (usual) refuses the "
        "answer; null, mask; or ciphertext, for an emergency."
    ),
}
"""Which mode has which of them, is in ``policy_fields``."""

RULE: Keys = {
    "id": Key("What metrics, logs and refusals call the rule.", required=True),
    "match": Key(
        "Methods, a space and a path: GET,POST /users/{id}. {name} is one segment, "
        "{name...} the rest, * every method. GET has HEAD.",
        required=True,
    ),
    "allow": Key("A list of roles; or anyone, who needs no token.", required=True),
    "backend": Key("Where requests go, when there are several backends."),
    "limits": Key(
        "Names of limits, or limits written out. A request takes from all, or from "
        "none."
    ),
    "protect": Key("Values of bodies that are encrypted, and decrypted or masked."),
    "count": Key("A counter that each 2xx answer adds one to: lumina_…_total."),
    "tolerate": Key("Ways in which a path may be read in two ways, and still passes."),
    "max_body": Key("The largest request body: 64KiB, 10MB, 1GiB."),
}

PROTECT: Keys = {
    "request": Key("Encrypted on the way in: JSONPath of the value, and its field."),
    "response": Key(
        "Decrypted or masked on the way back: JSONPath of the value, and its field."
    ),
    "query": Key("Encrypted in the query: name of the parameter, and its field."),
    "form": Key(
        "Encrypted in an urlencoded form: name of the parameter, and its field."
    ),
}

CASES: Keys = {
    "version": Key("Which language this is; 1.", required=True),
    "cases": Key("Requests, and what has to come out.", required=True),
}

CASE: Keys = {
    "name": Key("What the case is about, for people."),
    "request": Key(
        "A method, a space and a path: GET /users/7. A list makes a case of each.",
        required=True,
    ),
    "as": Key("Who asks: a role, several roles, or anyone, who has no token."),
    "claims": Key(
        "Who asks, as the claims of a token: beside, or instead of, the usual iss, "
        "aud, sub and exp. Times are durations from now: exp: -1m is a minute ago."
    ),
    "issuer": Key("Which issuer makes that token, when there are several."),
    "expect": Key("What has to come out; only this is compared.", required=True),
}

EXPECT: Keys = {
    "outcome": Key("allowed (usual) or refused."),
    "reason": Key("Why the request is refused."),
    "rule": Key("The rule that matches."),
    "role": Key("The role that acts."),
    "backend": Key("The backend that gets the request."),
    "limits": Key(
        "The limits that the request takes from; or each with its rate, unlimited ones "
        "too."
    ),
    "encrypted": Key("The fields of the request that are encrypted."),
    "plain": Key("The fields of the answer that are decrypted."),
    "masked": Key("The fields of the answer that are masked."),
}
