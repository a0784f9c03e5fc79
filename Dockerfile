# The proxy as an image, the LMS stub of the demo and the collector of logs as two more:
#
#   docker build --tag lumina-proxy .
#   docker build --target stub --tag lumina-stub .
#   docker build --target logs --tag lumina-logs .
#
# Both stages that matter stand on one base, so a virtual environment made in the first
# works in the last. Debian's own Python is used: whoever rebuilds gets its security fixes.
# Pin the base by digest where builds must be repeatable:
#   --build-arg BASE_IMAGE=debian:trixie-slim@sha256:…
ARG BASE_IMAGE=debian:trixie-slim

# --- The interpreter, and nothing to build with --------------------------------------------
FROM ${BASE_IMAGE} AS python

# Versions are Debian's to choose: a pinned one is gone from the mirrors with its next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/*

# --- What is needed to build, which no image that runs has ---------------------------------
FROM python AS build

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies before code: while the locks stay as they are, so do these layers. Both locks
# are complete, so nothing is resolved and nothing without a known hash is installed.
COPY requirements-dev.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --no-deps --require-hashes --requirement requirements-dev.txt

# The environment that is shipped gets no pip of its own.
COPY requirements.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv --without-pip /opt/lumina \
    && /opt/build/bin/pip --python /opt/lumina/bin/python install --quiet --no-deps --require-hashes \
        --requirement requirements.txt

# The wheel with the data path compiled, as `make wheel` builds it.
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY proxy ./proxy
RUN HATCH_BUILD_HOOKS_ENABLE=1 /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/build/bin/pip --python /opt/lumina/bin/python install --quiet --no-deps --no-index /dist/*.whl \
    && /opt/build/bin/pip --python /opt/lumina/bin/python check

# What is inside, for scanners (CycloneDX): the same environment gives the same bytes.
RUN /opt/build/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --pyproject pyproject.toml --output-file /dist/sbom.cdx.json /opt/lumina/bin/python

# --- What runs -----------------------------------------------------------------------------
FROM python AS runtime

LABEL org.opencontainers.image.title="lumina-proxy" \
    org.opencontainers.image.description="A sidecar hardening proxy: policy, tokens, limits, field encryption and metrics in front of an LMS nobody may change." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.documentation="/usr/share/doc/lumina-proxy/README.md"

RUN groupadd --system --gid 10001 lumina \
    && useradd --system --uid 10001 --gid lumina --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin lumina

COPY --from=build /opt/lumina /opt/lumina
COPY --from=build /dist/sbom.cdx.json /usr/share/sbom/lumina-proxy.cdx.json
COPY LICENSE README.md /usr/share/doc/lumina-proxy/

# Nothing is written at run time, so the root file system may be read-only.
ENV PATH=/opt/lumina/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 10001:10001

# --- The collector of logs: rsyslog, with a configuration that compose brings ----------------
FROM ${BASE_IMAGE} AS logs

LABEL org.opencontainers.image.title="lumina-logs" \
    org.opencontainers.image.description="rsyslog, for all containers' logs in one place."

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends rsyslog \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* /etc/rsyslog.conf /etc/rsyslog.d \
    && printf '#!/bin/sh\nmv /var/log/lumina/all.jsonl /var/log/lumina/all.jsonl.1\n' >/usr/local/bin/rotate \
    && chmod 755 /usr/local/bin/rotate

# Root, with no capability but to read: the engine keeps its logs for root alone.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["sh", "-c", "kill -0 $(cat /run/rsyslogd.pid)"]
ENTRYPOINT ["rsyslogd", "-n", "-f", "/etc/rsyslog.conf", "-i", "/run/rsyslogd.pid"]

# --- The LMS of the demo: never to be deployed for real ------------------------------------
FROM runtime AS stub

LABEL org.opencontainers.image.title="lumina-stub" \
    org.opencontainers.image.description="A small LMS to try lumina-proxy with; made to be attacked through it."

USER 0
RUN install --directory --owner lumina --group lumina /var/lib/stub
USER 10001:10001
COPY backend_stub /opt/stub/backend_stub
ENV PYTHONPATH=/opt/stub
WORKDIR /var/lib/stub
VOLUME /var/lib/stub
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-I", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 9000, timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "backend_stub", "--host", "0.0.0.0", "--database", "/var/lib/stub/lms.sqlite3"]

# --- The proxy -----------------------------------------------------------------------------
FROM runtime AS proxy

# Mount your own policy over this one, which is the demo's.
COPY policies/lms.yaml /etc/lumina-proxy/policies/lms.yaml
# A container's loopback is nobody's: publish the data port only, and keep the metrics port
# on a network of those who watch.
ENV LISTEN=0.0.0.0:8080 \
    METRICS_LISTEN=0.0.0.0:8000 \
    POLICY=/etc/lumina-proxy/policies
EXPOSE 8080 8000
# Drains; a second one ends it at once. Give it more than DRAIN_GRACE and DRAIN_TIMEOUT.
STOPSIGNAL SIGTERM
# Ready, not only alive: who waits for this container wants to send it requests.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-I", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['METRICS_LISTEN'].rpartition(':')[2]), timeout=2); c.request('GET', '/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["lumina-proxy"]
CMD ["serve"]
