"""SLO: what was promised for 30 days, what is left of it, how fast it goes.

The objectives, and why a refusal is no error, are in prometheus/rules/recording.yml.
"""

from grafana.generate.layout import dashboard
from grafana.generate.panels import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILLION,
    Panel,
    lines,
    number,
    query,
    steps,
    table,
)

NAMES = {
    "availability": (
        "Availability",
        "requests that are not answered with a 5xx",
    ),
    "overhead": (
        "Own overhead",
        "requests that spend less than 5 ms in the proxy itself",
    ),
}


def _objective(slo: str) -> list[Panel]:
    title, counted = NAMES[slo]
    chosen = f'{{slo="{slo}"}}'
    return [
        number(
            f"{title}: promised",
            f"Of 30 days, the share of {counted}.",
            query(f"slo:objective:ratio{chosen}"),
            unit="percentunit",
            spark=False,
        ),
        number(
            f"{title}: kept",
            f"Of the last 30 days, the share of {counted}.",
            query(f"1 - slo:sli_error:ratio_rate30d{chosen}"),
            unit="percentunit",
        ),
        number(
            f"{title}: budget left",
            "How much of what may go wrong in 30 days has not. Below 0 the promise is "
            "broken: what is risky waits.",
            query(f"slo:budget_left:ratio{chosen}"),
            unit="percentunit",
            limits=steps((None, VERMILLION), (0, ORANGE), (0.25, BLUE)),
        ),
        number(
            f"{title}: burn",
            "How many times too fast the budget went in the last hour. 1 uses it up in "
            "exactly 30 days; somebody is called at 14.4.",
            query(f"slo:burn:rate1h{chosen}"),
            unit="short",
            limits=steps((None, BLUE), (1, ORANGE), (14.4, VERMILLION)),
        ),
        number(
            f"{title}: events",
            "How many requests a second count for this objective.",
            query(f"slo:events:rate5m{chosen}"),
            unit="reqps",
        ),
        number(
            f"{title}: errors",
            "How many of them a second do not keep it.",
            query(f"slo:errors:rate5m{chosen}"),
            unit="reqps",
        ),
        lines(
            f"{title}: burn rate by window",
            "How many times too fast the budget goes, over windows of different "
            "length. A page: 1 hour and 5 minutes over 14.4, or 6 hours and 30 "
            "minutes over 6. A ticket: 1 day over 3, or 3 days over 1.",
            *(
                query(
                    f"slo:sli_error:ratio_rate{window}{chosen} / on (slo) "
                    f"(1 - slo:objective:ratio{chosen})",
                    window,
                )
                for window in ("5m", "1h", "6h", "1d", "3d")
            ),
            unit="short",
            limits=steps((None, BLUE), (1, ORANGE), (14.4, VERMILLION)),
            colors={
                "5m": GREY,
                "1h": VERMILLION,
                "6h": ORANGE,
                "1d": BLUE,
                "3d": SKY,
            },
        ),
        lines(
            f"{title}: budget over time",
            "How the budget of 30 days went. It rises when bad days fall out of the "
            "30.",
            query(f"slo:budget_left:ratio{chosen}", "left"),
            unit="percentunit",
            least=None,
            most=1,
            limits=steps((None, VERMILLION), (0, BLUE)),
            colors={"left": BLUE},
        ),
    ]


ALERTS = [
    table(
        "Alerts of the budget",
        "Which of these alerts fire now. grafana/README.md says what to do for each.",
        query('ALERTS{alertname=~"Lumina(Availability|Overhead)Burn.*|Watchdog"}'),
        unit="none",
        columns={
            "alertname": "Alert",
            "severity": "Severity",
            "alertstate": "State",
            "Value": "Now",
        },
        width=24,
        height=6,
    ),
]

DASHBOARD = dashboard(
    "lumina-slo",
    "lumina: SLO",
    "What was promised for 30 days, what is left of it, and how fast it goes.",
    {
        "Availability: 99.9 % of requests are not answered with a 5xx": _objective(
            "availability"
        ),
        "Own overhead: 99 % of requests spend less than 5 ms in the proxy": _objective(
            "overhead"
        ),
        "Alerts": ALERTS,
    },
    since="now-7d",
)
