"""The keys of a listener in a policy; all others are in ``policy_keys``."""

from proxy.core.policy_keys import Key, Keys

LISTENER: Keys = {
    "listen": Key(
        "Where: host:port, :port for every interface, or unix:/path. Not for default, "
        "which is at LISTEN."
    ),
    "tls": Key("Its certificate; without it, connections are plain."),
    "proxy_protocol": Key(
        "true: trusted peers begin each connection with a PROXY header, version 1 or "
        "2, that says who the client is."
    ),
    "max_connections": Key(
        "At a time, of each process; as many as MAX_CONNECTIONS when it is missing."
    ),
}

LISTENER_TLS: Keys = {
    "certificate": Key("The file with its chain, in PEM.", required=True),
    "key": Key("The file with its private key, unless the chain's file has it."),
    "oldest": Key("The oldest version of TLS that is spoken: 1.3 (usual) or 1.2."),
}
