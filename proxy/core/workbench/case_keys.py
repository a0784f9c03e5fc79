"""Every key that the test cases of a policy may have, and what it says.

Like ``policy_keys``: for the reader, which refuses what is not in it, and for editors.
"""

from proxy.core.policy_keys import Key, Keys

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
    "listener": Key("The port that the request comes to; the default one if missing."),
    "issuer": Key("Which issuer makes that token, when there are several."),
    "client": Key("The address of the client; 192.0.2.1 when it is missing."),
    "headers": Key("Fields of the request, by lower-case name."),
    "time": Key("When: 2026-03-01T08:30:00Z. Now when it is missing."),
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
