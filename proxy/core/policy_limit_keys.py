"""Every key that a limit may have, and what it says; as ``policy_keys``."""

from proxy.core.policy_keys import Key, Keys

LIMIT: Keys = {
    "rate": Key(
        "How often: 5/minute, 100/hour, 10/30s or unlimited; or one for each role, and "
        "default for the others. This, quota or concurrent is required."
    ),
    "quota": Key(
        "How many until the calendar says so: 5000/day, or an hour, week or month; or "
        "one for each role."
    ),
    "concurrent": Key("How many at a time: 10; or one for each role."),
    "per": Key(
        "Whose bucket: subject (usual), client, role, rule, tenant, everyone, "
        "header.NAME or path.NAME; or a list of them, which together have one."
    ),
    "burst": Key("How many at once; usually as many as the rate counts."),
    "cost": Key(
        "What a request costs: a number of tokens; or what says so. One token when it "
        "is missing."
    ),
    "zone": Key("Whose calendar a quota goes by: Europe/Berlin; UTC usually."),
    "mode": Key(
        "enforce (usual); or shadow: it is counted, and noted when it would refuse."
    ),
    "everywhere": Key("true: every rule has it."),
    "on_store_failure": Key(
        "While the store does not answer: local (usual), each process counts its share "
        "of the rate; allow, the limit does not count; deny, it refuses."
    ),
    "precision": Key(
        "exact (usual), or leased: a process takes tokens ahead, so that most requests "
        "ask no store, and a client may find some of its tokens held elsewhere."
    ),
}

COST: Keys = {
    "header": Key("A header of the request with the number of tokens."),
    "body": Key("As many bytes of the request's body as cost one token: 64KiB."),
    "response_header": Key(
        "A header of the answer with the number of tokens; usual is taken beforehand, "
        "and the rest afterwards, whatever the bucket holds."
    ),
    "most": Key("The highest cost that is believed; usually a whole burst."),
    "usual": Key("The cost when the header is not there; 1 usually."),
}
