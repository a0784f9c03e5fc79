"""Every key that a policy may have, and what it says.

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
    "include": Key(
        "Further files of the policy, or folders of them, from this file's folder on."
    ),
    "deployment": Key(
        "A name bound into every ciphertext; 'default' when it is missing. Change it, "
        "and stored values no longer decrypt."
    ),
    "tenant": Key(
        "The claim that says whose keys protect a value, such as $.school. Without it "
        "all share one tenant."
    ),
    "health": Key(
        "The path at which the data port itself says that it serves, or none. /health "
        "when it is missing. A rule that matches there wins."
    ),
    "mode": Key(
        "enforce (usual); or shadow: every rule decides and notes what it would have "
        "refused, and nothing is enforced."
    ),
    "listeners": Key(
        "The ports that clients connect to, by name, each with rules of its own; "
        "default is the one at LISTEN."
    ),
    "backends": Key("The services behind the proxy, by name."),
    "issuers": Key("Whom tokens are trusted from, by name."),
    "roles": Key(
        "The roles there are. {teacher: [student]} is a role that may whatever the "
        "roles in the list may."
    ),
    "addresses": Key("Lists of addresses and networks, by name."),
    "limits": Key("Rate limits, by name."),
    "logins": Key("How failed log-ins are counted, by name."),
    "limit_headers": Key(
        "What clients are told of limits: draft (usual), the RateLimit-Policy and "
        "RateLimit of the IETF; or both, and X-RateLimit-Limit, -Remaining and -Reset."
    ),
    "fields": Key("What is protected, by logical name, wherever it travels."),
    "views": Key(
        "What a role, or anyone, sees of each field: plain, a mask, a pseudonym, null "
        "or nothing (drop). What is not named is masked."
    ),
    "log": Key("What the access log has of each request."),
    "responses": Key("What is done to the header fields of every answer."),
    "rules": Key("What may be done. A request that no rule matches is refused."),
}

LOG: Keys = {
    "keys": Key(
        "What is logged of a request, and nothing else; everything but subject when it "
        "is missing."
    ),
    "sample": Key(
        "The share of served requests that is logged: 10%, all (usual) or none. What "
        "was refused or broke off is always logged."
    ),
}

BACKEND: Keys = {
    "servers": Key(
        "Addresses: http://host:port, https://host:port or unix:/path.", required=True
    ),
    "balance": Key(
        "Which of several servers gets a request: least-outstanding (usual), the one "
        "with the fewest under way; or round-robin."
    ),
    "timeouts": Key("How long the backend may take."),
    "health": Key("An active check of each server."),
    "limits": Key("Names of limits that every rule has that uses this backend."),
    "eject": Key(
        "When a server that fails gets no requests for a while, if there are others; "
        "or none. After 5 failures, for 10s, when it is missing."
    ),
    "breaker": Key(
        "How much the backend may be asked at once, by each process; what is more is "
        "refused with 503."
    ),
    "retry": Key(
        "safe (usual): a request may be sent once more if no answer began, its method "
        "is idempotent and its body is at hand; never: it may not."
    ),
    "tls": Key("How https servers prove who they are, and the proxy to them."),
}

TIMEOUTS: Keys = {
    "connect": Key(
        "Until the connection stands, and how long a request waits for one; 2s when "
        "it is missing."
    ),
    "first_byte": Key(
        "From the request's last byte to the answer's head; 30s when it is missing."
    ),
    "idle": Key(
        "Between two reads of a body, and how long a pooled connection may rest; 60s "
        "when it is missing."
    ),
}

RULE_TIMEOUTS: Keys = {
    "first_byte": Key(
        "From the request's last byte to the answer's head; the backend's when it is "
        "missing."
    ),
    "idle": Key("Between two reads of a body; the backend's when it is missing."),
}

HEALTH: Keys = {
    "path": Key("What is asked for; 2xx is healthy.", required=True),
    "every": Key("How often: a duration such as 5s.", required=True),
    "timeout": Key(
        "How long a check may take, and never longer than every; usually 2s."
    ),
    "host": Key("The Host that is asked for; the server's address when it is missing."),
    "down_after": Key("Failures in a row until a server is down; usually 2."),
    "up_after": Key("Successes in a row until it is up again; usually 1."),
}

EJECT: Keys = {
    "after": Key(
        "Failures in a row: connections refused or reset, answers that are late or no "
        "HTTP. 5 when it is missing. Statuses do not count."
    ),
    "for": Key(
        "How long; longer each time it happens again, 5m at most. 10s when it is "
        "missing."
    ),
    "at_most": Key("How many servers at once; half of them when it is missing."),
}

BREAKER: Keys = {
    "connections": Key("To each server; 1024 when it is missing."),
    "pending": Key(
        "Requests that wait for a connection to each server; 1024 when it is missing."
    ),
    "in_flight": Key("Requests of the whole backend, under way or waiting."),
}

BACKEND_TLS: Keys = {
    "ca": Key(
        "The file with the authorities that are trusted; the system's when it is "
        "missing."
    ),
    "certificate": Key("The file with the proxy's own certificate and its chain."),
    "key": Key("The file with its private key, when certificate has none."),
    "server_name": Key(
        "What the servers' certificate is for; the server's host when it is missing."
    ),
    "verify": Key(
        "full (usual): the chain and the name; chain: not the name; none: nothing, and "
        "anybody can be the backend."
    ),
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
    "jwks": Key(
        "Where its keys are: the https address of a JWK Set, or file: and the path of "
        "a JWK Set or of public keys in PEM."
    ),
    "discovery": Key(
        "Where the issuer describes itself, which says where its keys are: usually "
        "https://…/.well-known/openid-configuration."
    ),
    "refresh": Key("How often keys are looked at again; 10m when it is missing."),
    "keep": Key(
        "How long keys stay good when nobody answers for them; 24h when it is missing."
    ),
    "roles": Key("The claim with the role or roles, such as $.role.", required=True),
    "leeway": Key("What is forgiven clocks that differ; 5m at most, none usually."),
    "types": Key(
        "What the token's typ must be: at+jwt, for tokens that are for access and "
        "nothing else. JWT, at+jwt or nothing when it is missing."
    ),
    "max_lifetime": Key(
        "How long a token may be good, from its iat, which it needs then, to its exp."
    ),
    "require": Key("Claims that have to be there, besides iss, aud, sub and exp."),
}

KEY: Keys = {
    "kid": Key("The id that tokens name the key by.", required=True),
    "secret": Key("The shared secret."),
    "public_key": Key("The public key, in PEM."),
}

FIELD: Keys = {
    "mode": Key(
        "How values are encrypted: random; deterministic, for look-ups; digits, for "
        "numbers; pepper, for passwords; token, for short columns; fernet, for what an "
        "older service wrote.",
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
    "bind": Key(
        "What a value is bound to besides its field: claim(sub), whoever asks; or "
        "path(id), a parameter of the path. It decrypts nowhere else."
    ),
    "subject": Key(
        "Whose a value is: claim(sub) or path(id). Each has a key of their own, and "
        "`keys forget` destroys it."
    ),
    "shared": Key(
        "true keeps the field under the keys that all tenants share, so that a request "
        "without a token finds it."
    ),
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
    "require": Key("What the log-in behind the token must have been like."),
    "scopes": Key("The token must have all of these scopes."),
    "owner": Key("The parameter of the path that must be the token's sub."),
    "when": Key(
        "What must be true, in CEL: claims, role, path.NAME, method, headers, client, "
        "now. An error of it refuses."
    ),
    "addresses": Key("Where requests may come from; deny wins."),
    "mode": Key(
        "enforce (usual); or shadow: who may, and how often, is decided and noted, and "
        "not enforced. What is protected stays protected."
    ),
    "listener": Key("Which port it is for; default, the one at LISTEN, if missing."),
    "backend": Key("Where requests go, when there are several backends."),
    "limits": Key(
        "Names of limits, or limits written out. A request takes from all, or from "
        "none."
    ),
    "login": Key("How failed log-ins are counted here, by name: who guesses waits."),
    "protect": Key("Values of bodies that are encrypted, and decrypted or masked."),
    "count": Key("A counter that each 2xx answer adds one to: lumina_…_total."),
    "tolerate": Key("Ways in which a path may be read in two ways, and still passes."),
    "log": Key("The share of its served requests that is logged: 10%, all or none."),
    "audit": Key(
        "noted: each served request is written to the audit log; required: before the "
        "backend gets it, or it is refused."
    ),
    "max_body": Key("The largest request body: 64KiB, 10MB, 1GiB."),
    "timeouts": Key("How long the backend may take for this rule."),
    "responses": Key(
        "What is done to the header fields of this rule's answers, over what the "
        "policy says of every answer; none for nothing."
    ),
    "upgrade": Key(
        "Protocols that a connection may go on in, such as [websocket]; or those and "
        "when it ends. Without it every Upgrade is declined."
    ),
}

ADDRESSES: Keys = {
    "allow": Key("Nobody else may: addresses, networks and names of lists."),
    "deny": Key("These may not, whatever allow says."),
}

UPGRADE: Keys = {
    "protocols": Key("Names of protocols: [websocket].", required=True),
    "idle": Key("Without a byte either way for so long it ends; 1h when missing."),
    "close_on_expiry": Key(
        "false lets it outlive the token that it was opened with; true when missing."
    ),
}

REQUIRE: Keys = {
    "acr": Key(
        "How strong, as the issuer calls it: the token's acr is one of these, of which "
        "the first is asked for."
    ),
    "amr": Key("By what means: the token's amr has all of these, such as otp."),
    "max_age": Key(
        "How long ago the log-in may be: the token's auth_time, such as 5m."
    ),
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

RESPONSES: Keys = {
    "set": Key(
        "Fields that every answer has, whatever the backend says; none takes away what "
        "the policy sets."
    ),
    "default": Key("Fields that an answer gets if the backend does not say them."),
    "remove": Key("Fields that are dropped, such as Server and X-Powered-By."),
    "frame_ancestors": Key(
        "Who may show a page in a frame: self, none, or origins. Beside what the "
        "backend says of it; X-Frame-Options is written to match."
    ),
    "cookies": Key("What the backend's cookies are given that do not have it."),
    "cors": Key(
        "Whose pages may read answers, instead of what the backend says of it. The "
        "proxy answers preflights."
    ),
}

COOKIES: Keys = {
    "secure": Key("Over TLS only; true when it is missing."),
    "http_only": Key("Not for scripts; true when it is missing."),
    "same_site": Key("strict, lax or none; lax when it is missing."),
    "readable": Key(
        "Names of cookies that scripts have to read: no HttpOnly for these."
    ),
}

CORS: Keys = {
    "origins": Key(
        "Whose pages: https://app.example, https://*.app.example, or * for everybody.",
        required=True,
    ),
    "headers": Key(
        "What pages may send; Authorization and Content-Type when it is missing."
    ),
    "expose": Key("Fields of the answer that scripts may read."),
    "credentials": Key(
        "Whether browsers send cookies along; false when it is missing."
    ),
    "max_age": Key("How long a browser remembers it; 10m when it is missing."),
}
