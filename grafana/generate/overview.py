"""System Overview: is everything up, is it fast, and who is slow when it is not."""

from grafana.generate.layout import dashboard
from grafana.generate.panels import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    bars,
    heat,
    lines,
    number,
    query,
    steps,
    table,
    to_rule,
)
from grafana.generate.services import HOSTS, MILVUS, NGINX, POSTGRES, REDIS


def _quantile(share: float, histogram: str) -> str:
    return (
        f"histogram_quantile({share}, "
        f"sum by (le) (rate({histogram}_bucket{{@}}[$__rate_interval])))"
    )


SUMMARY = [
    number(
        "Requests",
        "How many requests a second arrive at all proxies together.",
        query("sum(rate(lumina_request_duration_seconds_count{@}[$__rate_interval]))"),
        unit="reqps",
    ),
    number(
        "Failed",
        "The share of requests that were answered with a 5xx. The objective is under "
        "0.1 %: see the SLO dashboard.",
        query(
            'sum(rate(lumina_request_duration_seconds_count{@, status="5xx"}'
            "[$__rate_interval])) / "
            "sum(rate(lumina_request_duration_seconds_count{@}[$__rate_interval])) "
            "or vector(0)"
        ),
        unit="percentunit",
        limits=steps((None, BLUE), (0.001, ORANGE), (0.0144, VERMILLION)),
    ),
    number(
        "p99 latency",
        "99 of 100 requests take less time than this, the backend included.",
        query(_quantile(0.99, "lumina_request_duration_seconds")),
        unit="s",
    ),
    number(
        "p99 own overhead",
        "99 of 100 requests spend less time than this in the proxy itself. The "
        "objective is under 5 ms.",
        query(_quantile(0.99, "lumina_overhead_seconds")),
        unit="s",
        limits=steps((None, BLUE), (0.005, ORANGE)),
    ),
    number(
        "Active users",
        "Different people, by their verified subject, in the last five minutes.",
        query("sum(lumina_active_users{@})"),
        unit="short",
    ),
    number(
        "Proxies up",
        "How many proxies answer Prometheus.",
        query('sum(up{job=~"$job"})'),
        unit="short",
        limits=steps((None, VERMILLION), (1, BLUE)),
    ),
]

TRAFFIC = [
    lines(
        "Traffic by answer",
        "What requests are answered with. 4xx are refusals and mistakes of clients; "
        "5xx are ours or the backend's; none means that the client left first.",
        query(
            "sum by (status) "
            "(rate(lumina_request_duration_seconds_count{@}[$__rate_interval]))",
            "{{status}}",
        ),
        unit="reqps",
        stacked=True,
        colors={
            "2xx": BLUE,
            "3xx": SKY,
            "4xx": ORANGE,
            "5xx": VERMILLION,
            "none": GREY,
        },
    ),
    lines(
        "Failures by reason",
        "Why requests failed that were allowed. upstream-…: the backend; "
        "field-undecryptable: stored data; limits-unavailable: Redis, by the policy's "
        "wish; keys-unavailable: the key service; issuer-unavailable: who made the "
        "token; audit-unavailable: the audit log's disk; internal-error: a bug of the "
        "proxy.",
        query(
            'sum by (reason) (rate(lumina_decisions_total{@, reason=~"upstream-.*|'
            "field-undecryptable|response-unreadable|limits-unavailable|"
            'keys-unavailable|issuer-unavailable|audit-unavailable|internal-error"}'
            "[$__rate_interval]))",
            "{{reason}}",
        ),
        unit="reqps",
        shade=VERMILLION,
    ),
    heat(
        "Latency",
        "How long requests take: the brighter, the more of them. Two bands are two "
        "kinds of request; a band that climbs is something that slows down.",
        "lumina_request_duration_seconds",
        unit="s",
    ),
    heat(
        "Own overhead",
        "How long requests stay in the proxy itself.",
        "lumina_overhead_seconds",
        unit="s",
    ),
    lines(
        "Overhead against upstream",
        "Whose fault slowness is: the proxy's own share of a request beside the time "
        "that the backend takes.",
        query(_quantile(0.5, "lumina_overhead_seconds"), "proxy, p50"),
        query(_quantile(0.99, "lumina_overhead_seconds"), "proxy, p99"),
        query(_quantile(0.5, "lumina_upstream_duration_seconds"), "backend, p50"),
        query(_quantile(0.99, "lumina_upstream_duration_seconds"), "backend, p99"),
        unit="s",
        colors={
            "proxy, p50": SKY,
            "proxy, p99": BLUE,
            "backend, p50": ORANGE,
            "backend, p99": VERMILLION,
        },
    ),
    lines(
        "Time in each stage",
        "Where the proxy's own share goes, p99. decide: match, token, rights. take: "
        "limits, and Redis with them; the audit log where it is required. encrypt: "
        "protected fields, and waiting for the body that has them. answer: from the "
        "end of the backend's answer to that of ours.",
        query(
            "histogram_quantile(0.99, sum by (stage, le) "
            "(rate(lumina_stage_duration_seconds_bucket{@}[$__rate_interval])))",
            "{{stage}}",
        ),
        unit="s",
        colors={"decide": BLUE, "take": ORANGE, "encrypt": PURPLE, "answer": SKY},
    ),
    lines(
        "Connections",
        "Open connections of clients, and those to backends by what they do. Many that "
        "connect: the backend is slow to accept.",
        query("sum(lumina_downstream_connections{@})", "clients"),
        query("sum by (state) (lumina_upstream_connections{@})", "backends, {{state}}"),
        query("sum(lumina_upstream_pending{@})", "requests that wait for one"),
        unit="short",
        colors={
            "requests that wait for one": VERMILLION,
            "clients": PURPLE,
            "backends, idle": SKY,
            "backends, active": BLUE,
            "backends, connecting": ORANGE,
        },
    ),
    lines(
        "Tunnels",
        "Open WebSockets and other tunnels, and what ends them: a side of its own "
        "will, idleness, the end of its token, or this process's drain.",
        query("sum(lumina_tunnels_open{@})", "open"),
        query(
            "sum by (reason) (rate(lumina_tunnels_closed_total{@}[$__rate_interval]))",
            "ended a second, {{reason}}",
        ),
        unit="short",
        colors={"open": PURPLE, "ended a second, expired": VERMILLION},
    ),
    bars(
        "Slowest rules",
        "The slowest twentieth of each rule's requests takes longer than this.",
        query(
            "topk(10, histogram_quantile(0.95, sum by (rule, le) "
            '(rate(lumina_request_duration_seconds_bucket{@, rule!=""}[$__range]))))',
            "{{rule}}",
            instant=True,
        ),
        unit="s",
        links=[to_rule()],
    ),
    lines(
        "Failures by server",
        "Exchanges that a server failed and connections that it did not take, and "
        "requests that were sent again for it. One server that stands out is ejected "
        "by the proxy; all of them are a matter of the backend.",
        query(
            "sum by (backend, server) "
            "(rate(lumina_upstream_failures_total{@}[$__rate_interval]))",
            "{{backend}}, {{server}}",
        ),
        query(
            "sum by (backend) "
            "(rate(lumina_upstream_retries_total{@}[$__rate_interval]))",
            "{{backend}}, sent again",
        ),
        unit="reqps",
        shade=VERMILLION,
    ),
    lines(
        "Ejected servers",
        "How many proxies leave a server alone for a while because it failed them.",
        query(
            "sum by (backend, server) (lumina_upstream_ejected{@})",
            "{{backend}}, {{server}}",
        ),
        unit="short",
        shade=VERMILLION,
    ),
    table(
        "Certificates for backends",
        "Until when the certificate is good that the proxy shows to a backend.",
        query(
            "min by (backend) "
            "(lumina_upstream_certificate_expiry_timestamp_seconds{@}) * 1000"
        ),
        unit="dateTimeAsIso",
        columns={"backend": "Backend", "Value": "Expires"},
    ),
    table(
        "Backends",
        "Whether each server of a backend passes its health check, as the proxy that "
        "thinks worst of it sees it: 1 is up, 0 is down.",
        query("min by (backend, server) (lumina_upstream_up{@})"),
        unit="none",
        columns={"backend": "Backend", "server": "Server", "Value": "Up"},
    ),
    lines(
        "Broken off",
        "Responses that were not sent to their end, because the client left or the "
        "backend broke off.",
        query(
            'sum by (rule) (rate(lumina_aborted_total{@, rule!=""}[$__rate_interval]))',
            "{{rule}}",
        ),
        unit="reqps",
        shade=ORANGE,
        links=[to_rule()],
    ),
    lines(
        "Bugs",
        "Requests that the proxy answered with a 500 because of a bug of its own. The "
        "log has a traceback for each.",
        query(
            "sum by (instance) (increase(lumina_internal_errors_total{@}"
            "[$__rate_interval]))",
            "{{instance}}",
        ),
        unit="short",
        shade=VERMILLION,
    ),
]

PROCESSES = [
    lines(
        "CPU of each proxy",
        "How much of a core each proxy uses. A process cannot use more than one: near "
        "1 requests begin to wait.",
        query("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{instance}}"),
        unit="percentunit",
        limits=steps((None, BLUE), (0.9, VERMILLION)),
    ),
    lines(
        "Memory of each proxy",
        "What each proxy holds in memory. It depends on open connections and on known "
        "subjects, and not on how long it runs.",
        query("process_resident_memory_bytes{@}", "{{instance}}"),
        unit="bytes",
    ),
    lines(
        "Machine, as each proxy sees it",
        "CPU and memory of the machine that each proxy runs on, in percent.",
        query("lumina_system_cpu_usage{@}", "CPU, {{instance}}"),
        query("lumina_system_memory_usage{@}", "memory, {{instance}}"),
        unit="percent",
        most=100,
    ),
    lines(
        "Open files of each proxy",
        "Of those that it may open: each connection is one. At 1 it accepts no more.",
        query("process_open_fds{@} / process_max_fds{@}", "{{instance}}"),
        unit="percentunit",
        limits=steps((None, BLUE), (0.8, VERMILLION)),
    ),
    lines(
        "Lost log lines",
        "Lines of the access log that were dropped, because whoever takes them was too "
        "slow. Requests never wait for the log.",
        query(
            "rate(lumina_log_lines_dropped_total{@}[$__rate_interval])", "{{instance}}"
        ),
        unit="ops",
        shade=VERMILLION,
    ),
]

MONITORING = [
    table(
        "Targets",
        "What Prometheus scrapes: 1 answers, 0 does not. What does not answer is not "
        "measured, and its panels are empty.",
        query("up"),
        unit="none",
        columns={"job": "Job", "instance": "Target", "Value": "Up"},
    ),
    table(
        "Alerts",
        "What fires now, or is about to (pending). The Watchdog always fires.",
        query("count by (alertname, severity, alertstate) (ALERTS)"),
        unit="short",
        columns={
            "alertname": "Alert",
            "severity": "Severity",
            "alertstate": "State",
            "Value": "How many",
        },
    ),
]

DASHBOARD = dashboard(
    "lumina-overview",
    "lumina: System Overview",
    "Is everything up, is it fast, and who is slow when it is not.",
    {
        "Now": SUMMARY,
        "Traffic": TRAFFIC,
        "Proxies": PROCESSES,
        "Hosts": HOSTS,
        "Redis, the store of limits": REDIS,
        "PostgreSQL and PgBouncer": POSTGRES,
        "nginx, the edge": NGINX,
        "Milvus": MILVUS,
        "Monitoring": MONITORING,
    },
)
