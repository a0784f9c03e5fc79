"""The services around the proxies, and the hosts: the rest of System Overview."""

from grafana.generate.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    Panel,
    lines,
    number,
    query,
    steps,
)

UP_OR_DOWN = {"0": ("down", VERMILLION), "1": ("up", BLUE)}


def _up(title: str, metric: str, job: str) -> Panel:
    return number(
        title,
        f"Whether {title} answers: its exporter asks it at every scrape.",
        query(f'min({metric}{{job="{job}"}})', title),
        unit="none",
        words=UP_OR_DOWN,
        spark=False,
    )


HOSTS = [
    lines(
        "CPU of each host",
        "How busy all cores of a host are together.",
        query(
            '1 - avg by (instance) (rate(node_cpu_seconds_total{job="node", '
            'mode="idle"}[$__rate_interval]))',
            "{{instance}}",
        ),
        unit="percentunit",
        most=1,
        width=6,
    ),
    lines(
        "Memory of each host",
        "How much of a host's memory is in use, caches not counted.",
        query(
            '1 - node_memory_MemAvailable_bytes{job="node"} / '
            'node_memory_MemTotal_bytes{job="node"}',
            "{{instance}}",
        ),
        unit="percentunit",
        most=1,
        width=6,
    ),
    lines(
        "Fullest disks",
        "How full each file system is. Redis, PostgreSQL and Milvus stop at 1.",
        query(
            'topk(5, 1 - node_filesystem_avail_bytes{job="node", '
            'fstype!~"tmpfs|ramfs|overlay|squashfs"} / '
            'node_filesystem_size_bytes{job="node", '
            'fstype!~"tmpfs|ramfs|overlay|squashfs"})',
            "{{mountpoint}}, {{instance}}",
        ),
        unit="percentunit",
        most=1,
        width=6,
    ),
    lines(
        "Network of each host",
        "What goes over all of a host's interfaces but loopback.",
        query(
            'sum by (instance) (rate(node_network_receive_bytes_total{job="node", '
            'device!="lo"}[$__rate_interval]))',
            "in, {{instance}}",
        ),
        query(
            'sum by (instance) (rate(node_network_transmit_bytes_total{job="node", '
            'device!="lo"}[$__rate_interval]))',
            "out, {{instance}}",
        ),
        unit="Bps",
        width=6,
    ),
]

REDIS = [
    _up("Redis", "redis_up", "redis"),
    number(
        "Memory",
        "How much of maxmemory Redis uses. When it is used up, buckets are forgotten.",
        query(
            'max(redis_memory_used_bytes{job="redis"} / '
            '(redis_memory_max_bytes{job="redis"} != 0))'
        ),
        unit="percentunit",
        limits=steps((None, BLUE), (0.9, VERMILLION)),
    ),
    number(
        "Forgotten",
        "Keys that were evicted in this time. Each was a bucket of somebody's limit.",
        query('sum(increase(redis_evicted_keys_total{job="redis"}[$__range]))'),
        unit="short",
        limits=steps((None, BLUE), (1, VERMILLION)),
        spark=False,
    ),
    number(
        "Clients",
        "Connections to Redis: one for each proxy, and one of the exporter.",
        query('sum(redis_connected_clients{job="redis"})'),
        unit="short",
    ),
    number(
        "Limits shared",
        "Whether every proxy reaches the store of limits. While one does not, it "
        "counts for itself.",
        query("min(lumina_limiter_store_up{@})"),
        unit="none",
        words={"0": ("no", VERMILLION), "1": ("yes", BLUE)},
        spark=False,
    ),
    lines(
        "Commands",
        "What Redis does each second. A request costs a proxy less than one: the takes "
        "of one tick go together.",
        query(
            'sum(rate(redis_commands_processed_total{job="redis"}[$__rate_interval]))',
            "commands",
        ),
        query(
            "sum(rate(lumina_limiter_batches_total{@}[$__rate_interval]))",
            "calls of proxies",
        ),
        unit="ops",
        colors={"commands": BLUE, "calls of proxies": ORANGE},
    ),
    lines(
        "Store of limits",
        "How often a proxy gave up on Redis and counted for itself.",
        query(
            "sum by (instance) (increase(lumina_limiter_store_failures_total{@}"
            "[$__rate_interval]))",
            "{{instance}}",
        ),
        unit="short",
        shade=VERMILLION,
    ),
    lines(
        "Without the store",
        "Requests with limits that Redis did not answer: counted by the proxy itself "
        "(local), let pass (allow) or refused (deny), as their limits say.",
        query(
            "sum by (answer) (rate(lumina_limiter_local_takes_total{@}"
            "[$__rate_interval]))",
            "{{answer}}",
        ),
        unit="reqps",
        colors={"local": BLUE, "allow": ORANGE, "deny": VERMILLION},
    ),
]

POSTGRES = [
    _up("PostgreSQL", "pg_up", "postgres"),
    _up("PgBouncer", "pgbouncer_up", "pgbouncer"),
    number(
        "Connections used",
        "Of those that PostgreSQL accepts.",
        query(
            'sum(pg_stat_activity_count{job="postgres"}) / '
            'max(pg_settings_max_connections{job="postgres"})'
        ),
        unit="percentunit",
        limits=steps((None, BLUE), (0.8, VERMILLION)),
    ),
    number(
        "Longest wait",
        "How long the client that waits longest has waited for a connection of the "
        "pool.",
        query('max(pgbouncer_pools_client_maxwait_seconds{job="pgbouncer"})'),
        unit="s",
        limits=steps((None, BLUE), (1, VERMILLION)),
    ),
    number(
        "Deadlocks",
        "Transactions that were ended in this time because they waited for each other.",
        query('sum(increase(pg_stat_database_deadlocks{job="postgres"}[$__range]))'),
        unit="short",
        limits=steps((None, BLUE), (1, ORANGE)),
        spark=False,
    ),
    lines(
        "Transactions",
        "What PostgreSQL commits and rolls back.",
        query(
            'sum(rate(pg_stat_database_xact_commit{job="postgres"}[$__rate_interval]))',
            "committed",
        ),
        query(
            'sum(rate(pg_stat_database_xact_rollback{job="postgres"}[$__rate_interval]))',
            "rolled back",
        ),
        unit="ops",
        colors={"committed": BLUE, "rolled back": ORANGE},
    ),
    lines(
        "Pool",
        "Clients of PgBouncer and its connections to PostgreSQL. Clients that wait "
        "need a larger pool, or faster queries.",
        query(
            'sum(pgbouncer_pools_client_active_connections{job="pgbouncer"})',
            "clients, served",
        ),
        query(
            'sum(pgbouncer_pools_client_waiting_connections{job="pgbouncer"})',
            "clients, waiting",
        ),
        query(
            'sum(pgbouncer_pools_server_active_connections{job="pgbouncer"})',
            "PostgreSQL, busy",
        ),
        query(
            'sum(pgbouncer_pools_server_idle_connections{job="pgbouncer"})',
            "PostgreSQL, idle",
        ),
        unit="short",
        colors={
            "clients, served": BLUE,
            "clients, waiting": VERMILLION,
            "PostgreSQL, busy": ORANGE,
            "PostgreSQL, idle": GREY,
        },
    ),
    lines(
        "Read from memory",
        "The share of blocks that PostgreSQL had in its cache. Low for long: give it "
        "memory.",
        query(
            'sum(rate(pg_stat_database_blks_hit{job="postgres"}[$__rate_interval])) / '
            '(sum(rate(pg_stat_database_blks_hit{job="postgres"}[$__rate_interval])) + '
            'sum(rate(pg_stat_database_blks_read{job="postgres"}[$__rate_interval])))',
            "cache",
        ),
        unit="percentunit",
        most=1,
    ),
    lines(
        "Size",
        "How large each database is on disk.",
        query('pg_database_size_bytes{job="postgres"}', "{{datname}}"),
        unit="bytes",
    ),
]

NGINX = [
    _up("nginx", "nginx_up", "nginx"),
    number(
        "Dropped",
        "Connections that nginx accepted in this time and could not handle.",
        query(
            'sum(increase(nginx_connections_accepted{job="nginx"}[$__range]) - '
            'increase(nginx_connections_handled{job="nginx"}[$__range]))'
        ),
        unit="short",
        limits=steps((None, BLUE), (1, VERMILLION)),
        spark=False,
    ),
    number(
        "Certificate",
        "How long the first certificate of the edge to expire is still good.",
        query('min(probe_ssl_earliest_cert_expiry{job="edge"}) - time()'),
        unit="s",
        limits=steps((None, VERMILLION), (3 * 86400, ORANGE), (14 * 86400, BLUE)),
        spark=False,
    ),
    _up("Edge", "probe_success", "edge"),
    lines(
        "Connections of nginx",
        "What nginx's connections do. Writing: an answer is on its way; waiting: kept "
        "open for the next request.",
        query('sum(nginx_connections_reading{job="nginx"})', "reading"),
        query('sum(nginx_connections_writing{job="nginx"})', "writing"),
        query('sum(nginx_connections_waiting{job="nginx"})', "waiting"),
        unit="short",
        stacked=True,
        colors={"reading": ORANGE, "writing": BLUE, "waiting": GREY},
    ),
    lines(
        "Requests at the edge",
        "Requests that nginx got, beside those that the proxies got: the difference is "
        "what nginx answered by itself.",
        query(
            'sum(rate(nginx_http_requests_total{job="nginx"}[$__rate_interval]))',
            "nginx",
        ),
        query(
            "sum(rate(lumina_request_duration_seconds_count{@}[$__rate_interval]))",
            "proxies",
        ),
        unit="reqps",
        colors={"nginx": GREEN, "proxies": BLUE},
    ),
]

MILVUS = [
    _up("Milvus", "up", "milvus"),
    number(
        "Operations",
        "What Milvus is asked for each second.",
        query(
            'sum(rate(milvus_proxy_req_count{job="milvus", status="total"}'
            "[$__rate_interval]))"
        ),
        unit="ops",
    ),
    number(
        "Failed operations",
        "The share of them that Milvus could not do.",
        query(
            'sum(rate(milvus_proxy_req_count{job="milvus", status="fail"}'
            "[$__rate_interval])) / "
            'sum(rate(milvus_proxy_req_count{job="milvus", status="total"}'
            "[$__rate_interval]))"
        ),
        unit="percentunit",
        limits=steps((None, BLUE), (0.01, VERMILLION)),
    ),
    lines(
        "Operations of Milvus",
        "What Milvus is asked for, by how it ended.",
        query(
            "sum by (status) "
            '(rate(milvus_proxy_req_count{job="milvus"}[$__rate_interval]))',
            "{{status}}",
        ),
        unit="ops",
        colors={"total": GREY, "success": BLUE, "fail": VERMILLION},
    ),
    lines(
        "Latency of Milvus",
        "How long searches and queries take.",
        query(
            "histogram_quantile(0.99, sum by (le, query_type) "
            '(rate(milvus_proxy_sq_latency_bucket{job="milvus"}[$__rate_interval])))',
            "{{query_type}}, p99",
        ),
        unit="ms",
    ),
]
