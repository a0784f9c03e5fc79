"""Application: what people do with the LMS, and how well each rule serves them."""

from grafana.generate.layout import dashboard
from grafana.generate.panels import (
    BLUE,
    ORANGE,
    VERMILLION,
    bars,
    lines,
    number,
    query,
    steps,
    table,
    to_rule,
)

RULES = '@, rule=~"$rule", rule!=""'
"""Of requests that matched a rule; what matched none is in Security."""


def _done(rule: str, window: str) -> str:
    """Return how often the backend did what a rule of policies/lms.yaml asks for."""
    return (
        f"sum(increase(lumina_request_duration_seconds_count"
        f'{{@, rule="{rule}", status="2xx"}}[{window}]))'
    )


def _step(rule: str, name: str) -> str:
    return f'label_replace({_done(rule, "$__range")}, "step", "{name}", "", "")'


FUNNEL = " or ".join(
    [
        _step("register", "1 registered"),
        _step("login", "2 logged in"),
        _step("pathway-create", "3 pathway created"),
        _step("assessment-generate", "4 assessment generated"),
        _step("assessment-complete", "5 assessment completed"),
    ]
)

LEARNING = [
    number(
        "Active users",
        "Different people, by their verified subject, in the last five minutes.",
        query("sum(lumina_active_users{@})"),
        unit="short",
    ),
    number(
        "Registered",
        "People who registered in this time.",
        query(_done("register", "$__range")),
        unit="short",
        spark=False,
    ),
    number(
        "Logged in",
        "Log-ins that succeeded in this time.",
        query(_done("login", "$__range")),
        unit="short",
        spark=False,
    ),
    number(
        "Pathways",
        "Learning pathways that were generated in this time.",
        query("sum(increase(lumina_pathways_generated_total{@}[$__range]))"),
        unit="short",
        spark=False,
    ),
    number(
        "Assessments",
        "Assessments that were completed in this time.",
        query("sum(increase(lumina_assessments_completed_total{@}[$__range]))"),
        unit="short",
        spark=False,
    ),
    number(
        "Pathways for each user",
        "How many pathways there are for each person who is active now.",
        query(
            "sum(increase(lumina_pathways_generated_total{@}[$__range])) / "
            "sum(lumina_active_users{@})"
        ),
        unit="short",
        spark=False,
    ),
    lines(
        "Active users over time",
        "Different people in five minutes, by proxy. Somebody whose requests go to two "
        "proxies counts at both.",
        query("lumina_active_users{@}", "{{instance}}"),
        unit="short",
        stacked=True,
    ),
    bars(
        "Learning funnel",
        "How far people come in this time, from registering to a completed assessment. "
        "A step far shorter than the one above it is where they stop.",
        query(FUNNEL, "{{step}}", instant=True),
        unit="short",
    ),
    lines(
        "Pathways and assessments",
        "How many an hour are generated and completed.",
        query(
            "3600 * sum(rate(lumina_pathways_generated_total{@}[$__rate_interval]))",
            "pathways generated",
        ),
        query(
            "3600 * sum(rate(lumina_assessments_completed_total{@}[$__rate_interval]))",
            "assessments completed",
        ),
        unit="short",
        colors={"pathways generated": BLUE, "assessments completed": ORANGE},
    ),
    lines(
        "Requests by role",
        "Who uses the service, by the role that acts.",
        query(
            "label_replace(sum by (role) (rate(lumina_decisions_total"
            f"{{{RULES}}}[$__rate_interval])), "
            '"role", "without a token", "role", "")',
            "{{role}}",
        ),
        unit="reqps",
        stacked=True,
    ),
]

BY_RULE = [
    bars(
        "Busiest rules",
        "Which rules of the policy most requests go to.",
        query(
            "topk(15, sum by (rule) (rate(lumina_request_duration_seconds_count"
            f"{{{RULES}}}[$__range])))",
            "{{rule}}",
            instant=True,
        ),
        unit="reqps",
        links=[to_rule()],
        height=10,
    ),
    bars(
        "Slowest rules",
        "The slowest twentieth of each rule's requests takes longer than this, the "
        "backend included.",
        query(
            "topk(15, histogram_quantile(0.95, sum by (rule, le) "
            f"(rate(lumina_request_duration_seconds_bucket{{{RULES}}}[$__range]))))",
            "{{rule}}",
            instant=True,
        ),
        unit="s",
        links=[to_rule()],
        height=10,
    ),
    lines(
        "Requests",
        "How many requests each rule gets.",
        query(
            "sum by (rule) (rate(lumina_request_duration_seconds_count"
            f"{{{RULES}}}[$__rate_interval]))",
            "{{rule}}",
        ),
        unit="reqps",
        links=[to_rule()],
    ),
    lines(
        "Failed",
        "Which share of each rule's requests was answered with a 5xx.",
        query(
            "sum by (rule) (rate(lumina_request_duration_seconds_count"
            f'{{{RULES}, status="5xx"}}[$__rate_interval])) / '
            "sum by (rule) (rate(lumina_request_duration_seconds_count"
            f"{{{RULES}}}[$__rate_interval]))",
            "{{rule}}",
        ),
        unit="percentunit",
        shade=VERMILLION,
        links=[to_rule()],
    ),
    lines(
        "Time in the backend",
        "How long the backend takes for 95 of 100 requests of each rule.",
        query(
            "histogram_quantile(0.95, sum by (rule, le) "
            "(rate(lumina_upstream_duration_seconds_bucket"
            f"{{{RULES}}}[$__rate_interval])))",
            "{{rule}}",
        ),
        unit="s",
        shade=ORANGE,
        links=[to_rule()],
    ),
    lines(
        "Time in the proxy",
        "How long 95 of 100 requests of each rule stay in the proxy itself. Rules that "
        "protect fields stay longer.",
        query(
            "histogram_quantile(0.95, sum by (rule, le) "
            f"(rate(lumina_overhead_seconds_bucket{{{RULES}}}[$__rate_interval])))",
            "{{rule}}",
        ),
        unit="s",
        limits=steps((None, BLUE), (0.005, VERMILLION)),
        links=[to_rule()],
    ),
    table(
        "Who does what",
        "How many requests of each role each rule served in this time.",
        query(
            "sum by (rule, role) (increase(lumina_decisions_total"
            f'{{{RULES}, reason="served"}}[$__range])) > 0'
        ),
        unit="short",
        columns={"rule": "Rule", "role": "Role", "Value": "Requests"},
        width=24,
        height=10,
    ),
]

DASHBOARD = dashboard(
    "lumina-application",
    "lumina: Application",
    "What people do with the LMS, and how well each rule serves them. The funnel and "
    "the log-ins go by the rule ids of policies/lms.yaml.",
    {"Learning": LEARNING, "Rules": BY_RULE},
    rule=True,
)
