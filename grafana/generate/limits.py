"""Limits on the security dashboard: what is used up, and what soon will be."""

from grafana.generate.panels import BLUE, ORANGE, lines, query, to_rule

_LIMITED = 'lumina_decisions_total{@, rule=~"$rule", reason="rate-limited"}'

LIMITS = [
    lines(
        "Over a limit, by rule",
        "Which rules refuse because a limit is used up.",
        query(
            f"sum by (rule) (rate({_LIMITED}[$__rate_interval]))",
            "{{rule}}",
        ),
        unit="reqps",
        shade=ORANGE,
        links=[to_rule()],
    ),
    lines(
        "Near a limit",
        "Requests that left less than a fifth of a limit's tokens: who is next to be "
        "refused.",
        query(
            "sum by (limit, role) (rate(lumina_limits_near_total{@}"
            "[$__rate_interval]))",
            "{{limit}} {{role}}",
        ),
        unit="reqps",
        shade=ORANGE,
    ),
    lines(
        "Over a limit, by limit",
        "What each limit refuses, or would refuse in shadow mode.",
        query(
            "sum by (limit, role, mode) (rate(lumina_limits_over_total{@}"
            "[$__rate_interval]))",
            "{{limit}} {{role}} {{mode}}",
        ),
        unit="reqps",
        shade=ORANGE,
    ),
    lines(
        "Takes",
        "Requests that took tokens from buckets, and those that found one empty.",
        query(
            "sum by (outcome) (rate(lumina_limiter_takes_total{@}[$__rate_interval]))",
            "{{outcome}}",
        ),
        unit="reqps",
        colors={"allowed": BLUE, "refused": ORANGE},
    ),
]
