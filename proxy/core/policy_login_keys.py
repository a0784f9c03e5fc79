"""Every key that counting failed log-ins may have, and what it says."""

from proxy.core.policy_keys import Key, Keys

LOGIN: Keys = {
    "account": Key("Where the body names the account.", required=True),
    "failed": Key(
        "Statuses of the backend that say that a log-in failed; 401 when it is missing."
    ),
    "per_account": Key("How an account that is guessed at waits, whoever guesses."),
    "per_client": Key("How a client that guesses waits, at whatever account."),
    "per_known": Key(
        "How an account waits when it fails from a client that it logged in from "
        "lately; instead of the others."
    ),
    "known_for": Key(
        "How long a client is known to an account after a log-in; 30d usually."
    ),
}

ACCOUNT: Keys = {
    "json": Key("Of a JSON body: JSONPath of the value, such as $.email."),
    "form": Key("Of an urlencoded form: name of the parameter."),
}

BACKOFF: Keys = {
    "free": Key("Failures that wait for nothing."),
    "wait": Key("After the next one; twice as long after each one more."),
    "most": Key("The longest wait."),
    "forget": Key("After so long without a failure all are forgotten."),
}
