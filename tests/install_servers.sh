#!/usr/bin/env bash
# Installs the servers and tools that `make test`, `make bench`, `make wheel`, `make stack` or
# `make test-grafana` needs and the machine lacks.
#
#   tests/install_servers.sh test|bench|wheel|stack|grafana
#
# Only Debian's package manager is driven; elsewhere this says what to install. The
# tests start their own instances, so no service of the packages is started here.
set -euo pipefail

# What to look for (a command on PATH, or a pattern of files), and the package that has it.
test_needs=(
  "redis-server redis-server"
  "curl curl"
  "jq jq"
  "openssl openssl"
  "nginx nginx"
  "envsubst gettext-base"
  "certbot certbot"
  "pebble pebble"
  "promtool prometheus"
  "amtool prometheus-alertmanager"
  "prometheus-node-exporter prometheus-node-exporter"
  "prometheus-redis-exporter prometheus-redis-exporter"
  "prometheus-postgres-exporter prometheus-postgres-exporter"
  "prometheus-nginx-exporter prometheus-nginx-exporter"
  "prometheus-blackbox-exporter prometheus-blackbox-exporter"
  "/usr/lib/postgresql/*/bin/postgres postgresql"
  "pgbouncer pgbouncer"
  "rsyslogd rsyslog"
  "chromium chromium"
  "npm npm"
)
bench_needs=(
  "${test_needs[@]}"
  "haproxy haproxy"
  "npm npm"
  "taskset util-linux"
  "wrk wrk"
  "/usr/lib/nginx/modules/ngx_http_lua_module.so libnginx-mod-http-lua"
  "/usr/share/lua/5.1/openssl/hmac.lua lua-luaossl"
  "/usr/share/lua/5.1/nginx/redis.lua lua-nginx-redis"
  "/usr/share/lua/5.1/resty/core.lua lua-resty-core"
  "/usr/lib/*/lua/5.1/cjson.so lua-cjson"
)
grafana_needs=(
  "${test_needs[@]}"
  "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core"
)
stack_needs=(
  "dockerd docker.io"
  "debootstrap debootstrap"
)

wheel_needs=(
  "cc gcc"
)

case "${1:-}" in
  wheel) needs=("${wheel_needs[@]}") ;;
  test) needs=("${test_needs[@]}") ;;
  bench) needs=("${bench_needs[@]}") ;;
  grafana) needs=("${grafana_needs[@]}") ;;
  stack) needs=("${stack_needs[@]}") ;;
  *) echo "usage: $0 test|bench|wheel|stack|grafana" >&2; exit 2 ;;
esac

# Debian keeps some servers where only root's PATH looks.
export PATH="$PATH:/usr/sbin:/sbin"

lacking() {
  local need probe package
  for need in "${needs[@]}"; do
    read -r probe package <<<"$need"
    command -v "$probe" >/dev/null || compgen -G "$probe" >/dev/null || echo "$package"
  done
}

mapfile -t missing < <(lacking)
[ ${#missing[@]} -gt 0 ] || exit 0

refuse() {
  echo "$0: $1 Install these and run again: ${missing[*]}" >&2
  exit 1
}

command -v apt-get >/dev/null || refuse "no apt-get here."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || refuse "neither root nor sudo without a password."
  as_root=(sudo -n)
fi

# invoke-rc.d(8) asks this file before a package may start its service; 101 forbids.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >/dev/null
}

echo "Installing ${missing[*]} ..."
apt update || echo "apt-get update failed; going on with the lists at hand." >&2
apt install --yes --no-install-recommends "${missing[@]}" || refuse "apt-get failed."

mapfile -t missing < <(lacking)
[ ${#missing[@]} -eq 0 ] || refuse "installed, but not found where expected."
