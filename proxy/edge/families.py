"""Every family of metrics that the proxy has, declared in one place.

A family's labels come from closed sets; no subject, path, token or value is ever one.
Where several processes serve, counters and histograms are summed; what becomes of
gauges is said here too.
"""

from typing import Final

OVERHEAD: Final[tuple[float, ...]] = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
DURATION: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
STAGE: Final[tuple[float, ...]] = (
    *(0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.025, 0.1, 1.0),
)
STAGES: Final = ("decide", "take", "encrypt", "answer")
BY_RESPONSE: Final = ("rule", "method", "status")

HISTOGRAMS: Final[dict[str, tuple[str, tuple[float, ...], tuple[str, ...]]]] = {
    "lumina_request_duration_seconds": (
        "From a request's complete head to the last byte of its response.",
        DURATION,
        BY_RESPONSE,
    ),
    "lumina_upstream_duration_seconds": (
        "From sending a request to the backend to the last byte of its answer.",
        DURATION,
        BY_RESPONSE,
    ),
    "lumina_overhead_seconds": (
        "The proxy's own share of a request: total minus upstream.",
        OVERHEAD,
        BY_RESPONSE,
    ),
    "lumina_stage_duration_seconds": (
        "Time in each stage of the proxy that requests passed.",
        STAGE,
        ("stage",),
    ),
}

COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "lumina_decisions": (
        "Requests by the rule and role that decided and the reason, or served.",
        ("rule", "role", "reason"),
    ),
    "lumina_shadow_refusals": (
        "Requests that were served and, were their rule enforced, would not have been.",
        ("rule", "role", "reason"),
    ),
    "lumina_aborted": ("Responses that broke off before their end.", ("rule",)),
    "lumina_cipher_operations": (
        "Protected leaves by field, operation, outcome and key id.",
        ("field", "operation", "outcome", "key"),
    ),
    "lumina_internal_errors": ("Bugs of the proxy: logged, answered with 500.", ()),
    "lumina_limits_near": (
        "Requests that left a limit less than a fifth of its tokens.",
        ("limit", "role"),
    ),
    "lumina_limits_over": (
        "Requests that a limit refused, or would have refused in shadow mode.",
        ("limit", "role", "mode"),
    ),
    "lumina_limiter_takes": ("Requests that took tokens.", ("outcome",)),
    "lumina_limiter_store_failures": (
        "Calls that the store of limits did not answer in time.",
        (),
    ),
    "lumina_limiter_local_takes": (
        "Requests that the store of limits did not answer, by what was done instead.",
        ("answer",),
    ),
    "lumina_jwks_fetch_failures": (
        "Times that an issuer did not answer for its keys as it should.",
        ("issuer",),
    ),
    "lumina_limiter_batches": ("Calls to the store of limits.", ()),
    "lumina_listener_connections_refused": (
        "Connections whose TLS handshake or PROXY header was none, or not in time.",
        ("listener",),
    ),
    "lumina_upstream_retries": (
        "Requests sent again, or to another server, where that was safe.",
        ("backend",),
    ),
    "lumina_upstream_failures": (
        "Exchanges that a server failed, and connections that it did not take.",
        ("backend", "server"),
    ),
    "lumina_upstream_ejections": (
        "How often a server was left alone for a while, because it failed.",
        ("backend", "server"),
    ),
    "lumina_tunnels_closed": (
        "Tunnels of upgraded connections that have ended, by rule and reason.",
        ("rule", "reason"),
    ),
    "lumina_log_lines_dropped": ("Lines of the access log that were not written.", ()),
    "lumina_audit_lines": ("Lines that this process wrote to the audit log.", ()),
    "lumina_audit_write_failures": ("Attempts to write the audit log that failed.", ()),
    "lumina_audit_events_dropped": ("Security events that were never written.", ()),
    "python_gc_collections": ("Garbage collections.", ("generation",)),
    "python_gc_objects_collected": (
        "Objects that the garbage collector found.",
        ("generation",),
    ),
    "python_gc_objects_uncollectable": (
        "Objects that the garbage collector found and could not free.",
        ("generation",),
    ),
    "lumina_worker_restarts": ("Workers that took the place of one that ended.", ()),
    "lumina_pathways_generated": ("Learning pathways generated.", ()),
    "lumina_assessments_completed": ("Assessments completed.", ()),
}

GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "lumina_system_cpu_usage": ("CPU usage of the machine in percent.", ()),
    "lumina_system_memory_usage": ("Memory usage of the machine in percent.", ()),
    "lumina_active_users": (
        "Distinct subjects in this minute and the four before it.",
        (),
    ),
    "lumina_revocations": ("Revocations in force.", ()),
    "lumina_revocations_age_seconds": (
        "Seconds since revocations were known to be current.",
        (),
    ),
    "lumina_jwks_age_seconds": (
        "Seconds since the keys of an issuer were known to be current.",
        ("issuer",),
    ),
    "lumina_limiter_store_up": ("Whether the store of limits answers.", ()),
    "lumina_upstream_connections": (
        "Connections to backends by what they do.",
        ("backend", "state"),
    ),
    "lumina_upstream_pending": (
        "Requests that wait for a connection to a backend.",
        ("backend",),
    ),
    "lumina_upstream_up": (
        "Whether a server's health check succeeds.",
        ("backend", "server"),
    ),
    "lumina_upstream_ejected": (
        "Whether a server gets no requests for a while, because it failed them.",
        ("backend", "server"),
    ),
    "lumina_upstream_certificate_expiry_timestamp_seconds": (
        "When the proxy's certificate for a backend expires, in epoch seconds.",
        ("backend",),
    ),
    "lumina_upstream_certificate_reload_success": (
        "Whether the files of a backend's certificates could be used when last read.",
        ("backend",),
    ),
    "lumina_listener_certificate_expiry_timestamp_seconds": (
        "When a listener's certificate expires, in epoch seconds.",
        ("listener",),
    ),
    "lumina_listener_certificate_reload_success": (
        "Whether the files of a listener's certificate could be used when last read.",
        ("listener",),
    ),
    "lumina_downstream_connections": ("Open connections of clients.", ()),
    "lumina_tunnels_open": ("Open tunnels of upgraded connections.", ("rule",)),
    "lumina_policy_info": ("The policy in force, by its digest.", ("digest",)),
    "lumina_policy_last_reload_timestamp_seconds": (
        "When the policy was last loaded, or refused, in epoch seconds.",
        (),
    ),
    "lumina_policy_last_reload_success": (
        "Whether the last load of the policy succeeded.",
        (),
    ),
    "lumina_policy_pinned": (
        "Whether a policy is pinned, and what is on disk is not read.",
        (),
    ),
    "lumina_key_age_seconds": (
        "How long ago each key of the keystore that decrypts was made.",
        ("key", "tenant", "state"),
    ),
    "lumina_keystore_up": ("Whether the last refresh of the keys went well.", ()),
    "lumina_key_lease_valid": (
        "Whether keys were refreshed within their bound, so that values are encrypted.",
        (),
    ),
    "lumina_workers": ("Processes that serve.", ()),
    "lumina_build_info": ("The running version.", ("version",)),
}

WORST: Final = frozenset(
    (
        "lumina_key_age_seconds",
        "lumina_key_lease_valid",
        "lumina_keystore_up",
        "lumina_limiter_store_up",
        "lumina_policy_last_reload_success",
        "lumina_listener_certificate_expiry_timestamp_seconds",
        "lumina_listener_certificate_reload_success",
        "lumina_upstream_certificate_expiry_timestamp_seconds",
        "lumina_upstream_certificate_reload_success",
        "lumina_upstream_up",
    )
)
"""Gauges of which the smallest of all processes counts."""

SAME: Final = frozenset(
    (
        "lumina_build_info",
        "lumina_jwks_age_seconds",
        "lumina_revocations",
        "lumina_revocations_age_seconds",
        "lumina_policy_info",
        "lumina_policy_last_reload_timestamp_seconds",
        "lumina_system_cpu_usage",
        "lumina_system_memory_usage",
        "lumina_upstream_ejected",
    )
)
"""Gauges of which the largest of all processes counts."""


def combined(name: str, one: float, other: float) -> float:
    """Return the value of a counter or gauge over two processes."""
    if name in WORST:
        return min(one, other)
    if name in SAME:
        return max(one, other)
    return one + other
