#!/bin/sh
# The TLS edge in front of the proxy: nginx, configured by its environment.
#
#   edge.sh render    write the configuration under $EDGE_RUN/conf
#   edge.sh check     render it and let nginx read it
#   edge.sh start     render it, see to a certificate, and become nginx; then reload when the
#                     certificate or the addresses of the proxies change
#
# Every variable is explained in README.md beside this file. What is wrong with one is said
# in a line, and the exit status is 1; a wrong verb is 2.
set -eu
umask 077

here=$(dirname "$(readlink -f "$0")")
newline='
'

fail() {
  echo "edge: $*" >&2
  exit 1
}

# Read NAME, or the file that NAME_FILE names, or a default.
setting() {
  eval "value=\${$1:-} file=\${$1_FILE:-}"
  if [ -z "$value" ] && [ -n "$file" ]; then
    value=$(cat "$file") || fail "$1_FILE cannot be read."
  fi
  [ -n "$value" ] || value=$2
  # What could end a string or a directive of the configuration is no value of ours.
  case $value in
    *['"\$'"$newline"]*) fail "$1 must not hold quotes, backslashes, dollars or line ends." ;;
  esac
  eval "$1=\$value"
  export "${1?}"
}

# The same for names, numbers and addresses, which stand in the configuration unquoted.
word_setting() {
  setting "$1" "$2"
  eval "value=\$$1"
  case $value in
    *[!A-Za-z0-9._:/*\[\]\ -]*) fail "$1: '$value' has a character that no such value has." ;;
  esac
}

settings() {
  setting SERVER_NAMES ""
  [ -n "$SERVER_NAMES" ] || fail "SERVER_NAMES must be set: the host names that are served."
  word_setting SERVER_NAMES ""
  word_setting PROXY_SERVERS "proxy:8080"
  word_setting EDGE_RUN "/run/edge"
  word_setting EDGE_USER "www-data"
  word_setting SSL_CERT_PATH "/var/lib/edge/tls/fullchain.pem"
  word_setting SSL_KEY_PATH "/var/lib/edge/tls/privkey.pem"
  word_setting TLS_MIN "1.3"
  word_setting HTTP_LISTEN "8080"
  word_setting HTTPS_LISTEN "8443"
  word_setting STATUS_LISTEN "8081"
  word_setting GRAFANA_LISTEN ""
  word_setting GRAFANA_SERVER "grafana:3000"
  word_setting PROMETHEUS_LISTEN ""
  word_setting PROMETHEUS_SERVER "prometheus:9090"
  word_setting EDGE_RESOLVER "127.0.0.11"
  word_setting ACME_WEBROOT "/var/lib/edge/acme"
  word_setting ASSETS_PATH "/static/"
  word_setting ASSETS_FOLDER "/srv/assets"
  word_setting CDN_NETWORKS ""
  setting ORIGIN_SECRET ""
  setting HSTS "max-age=63072000"
  setting CONTENT_SECURITY_POLICY "base-uri 'self'; frame-ancestors 'self'"
  setting PERMISSIONS_POLICY "browsing-topics=(), interest-cohort=()"
  word_setting EDGE_MAX_BODY "1g"
  word_setting EDGE_RATE "50r/s"
  word_setting EDGE_BURST "200"
  word_setting EDGE_CONNECTIONS "100"
  word_setting EDGE_READ_TIMEOUT "75s"
  word_setting EDGE_DRAIN "30s"
  word_setting EDGE_WATCH "5"
  word_setting ACCESS_LOG "/dev/stdout"
  word_setting ERROR_LOG "stderr"
  word_setting ERROR_LOG_LEVEL "crit"
  case $ASSETS_PATH in
    /*/) ;;
    *) fail "ASSETS_PATH: '$ASSETS_PATH' does not begin and end with a slash." ;;
  esac
}

# host:port of each proxy, by address: a name may stand for many, and changes over time.
addresses() {
  for server in $PROXY_SERVERS; do
    host=${server%:*} port=${server##*:}
    host=${host#[}
    # A resolver that does not answer is no reason to keep clients waiting.
    timeout 2 getent ahosts "${host%]}" | awk -v port="$port" '
      $2 == "STREAM" { print (index($1, ":") ? "[" $1 "]" : $1) ":" port }'
  done | sort -u
}

# What depends on the versions of nginx and OpenSSL, and what is a list.
derived() {
  case $TLS_MIN in
    1.3) TLS_VERSIONS="include tls-1.3.conf;" ;;
    1.2) TLS_VERSIONS="include tls-1.2.conf;" ;;
    *) fail "TLS_MIN is 1.3 or 1.2." ;;
  esac
  # OpenSSL 3.5 and newer know the hybrid of X25519 and ML-KEM-768; others refuse its name.
  TLS_GROUPS="X25519:prime256v1:secp384r1"
  if openssl list -kem-algorithms 2>/dev/null | grep -q X25519MLKEM768; then
    TLS_GROUPS="X25519MLKEM768:$TLS_GROUPS"
  fi
  # nginx 1.25.1 made HTTP/2 a directive of its own, and warns of the former word.
  version=$(nginx -v 2>&1 | sed 's|.*/||; s| .*||')
  if [ "$(printf '%s\n' 1.25.1 "$version" | sort -V | head -n 1)" = 1.25.1 ]; then
    HTTP2="http2 on;" word=
  else
    HTTP2="" word=" http2"
  fi
  LISTEN_HTTP="" LISTEN_HTTP_DEFAULT="" LISTEN_HTTPS="" LISTEN_HTTPS_DEFAULT=""
  for at in $HTTP_LISTEN; do
    LISTEN_HTTP="$LISTEN_HTTP listen $at;"
    LISTEN_HTTP_DEFAULT="$LISTEN_HTTP_DEFAULT listen $at default_server;"
  done
  for at in $HTTPS_LISTEN; do
    LISTEN_HTTPS="$LISTEN_HTTPS listen $at ssl$word;"
    LISTEN_HTTPS_DEFAULT="$LISTEN_HTTPS_DEFAULT listen $at ssl$word default_server;"
  done
  UPSTREAM_SERVERS=""
  for at in $(addresses); do
    UPSTREAM_SERVERS="${UPSTREAM_SERVERS}server $at max_fails=2 fail_timeout=5s;$newline    "
  done
  # No proxy has an address yet: the edge comes up all the same, and answers 502.
  [ -n "$UPSTREAM_SERVERS" ] || UPSTREAM_SERVERS="server 127.0.0.1:1 down;"
  CDN=""
  for network in $CDN_NETWORKS; do
    CDN="${CDN}set_real_ip_from $network;$newline"
  done
  ORIGIN_SECRETS="default 0;"
  if [ -n "$ORIGIN_SECRET" ]; then
    ORIGIN_SECRETS="default 1;"
    for secret in $(echo "$ORIGIN_SECRET" | tr ',' ' '); do
      # A map compares strings without case, a regular expression does not.
      case $secret in
        *[!A-Za-z0-9_-]*) fail "ORIGIN_SECRET has a character that is no letter, digit, - or _." ;;
        ????????????????????????????????*) ;;
        *) fail "ORIGIN_SECRET has fewer than 32 characters." ;;
      esac
      ORIGIN_SECRETS="$ORIGIN_SECRETS \"~^$secret\$\" 0;"
    done
  fi
  GRAFANA="" PROMETHEUS=""
  [ -z "$GRAFANA_LISTEN" ] || GRAFANA="include grafana.conf;"
  [ -z "$PROMETHEUS_LISTEN" ] || PROMETHEUS="include prometheus.conf;"
  USER_LINE=""
  [ "$(id -u)" -ne 0 ] || USER_LINE="user $EDGE_USER;"
  export TLS_VERSIONS TLS_GROUPS HTTP2 LISTEN_HTTP LISTEN_HTTP_DEFAULT LISTEN_HTTPS \
    LISTEN_HTTPS_DEFAULT UPSTREAM_SERVERS CDN ORIGIN_SECRETS GRAFANA \
    PROMETHEUS USER_LINE
}

# Templates name our variables in capitals and braces; nginx's own, in small letters, stay.
render() {
  settings
  derived
  mkdir -p "$EDGE_RUN/conf" "$EDGE_RUN/tmp"
  [ "$(id -u)" -ne 0 ] || chown "$EDGE_USER" "$EDGE_RUN" "$EDGE_RUN/tmp"
  # shellcheck disable=SC2016 # these dollars are for envsubst
  names=$(sed -n 's/[^$]*\(${[A-Z0-9_]*}\)[^$]*/\1 /gp' "$here"/templates/*.conf)
  for template in "$here"/templates/*.conf; do
    envsubst "$names" <"$template" >"$EDGE_RUN/conf/$(basename "$template")"
  done
}

nginx_here() {
  nginx -p "$EDGE_RUN" -c "$EDGE_RUN/conf/nginx.conf" -e stderr "$@"
}

# nginx does not start without a certificate, and a certificate is not issued without nginx.
first_certificate() {
  [ ! -e "$SSL_CERT_PATH" ] || [ ! -e "$SSL_KEY_PATH" ] || return 0
  if [ -e "$SSL_CERT_PATH" ] || [ -e "$SSL_KEY_PATH" ]; then
    fail "of SSL_CERT_PATH and SSL_KEY_PATH only one exists."
  fi
  mkdir -p "$(dirname "$SSL_CERT_PATH")" "$(dirname "$SSL_KEY_PATH")" ||
    fail "SSL_CERT_PATH does not exist, and its folder cannot be written."
  names=""
  for name in $SERVER_NAMES; do names="$names,DNS:$name"; done
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 \
    -subj "/O=lumina-proxy self-signed" -addext "subjectAltName=${names#,}" \
    -keyout "$SSL_KEY_PATH" -out "$SSL_CERT_PATH" 2>/dev/null ||
    fail "no self-signed certificate could be made at SSL_CERT_PATH."
  echo "edge: $SSL_CERT_PATH did not exist; a self-signed certificate for 30 days is there now." >&2
}

# What a running nginx has to be told of.
fingerprint() {
  addresses
  cksum "$SSL_CERT_PATH" "$SSL_KEY_PATH"
}

# Reload for as long as nginx lives. What nginx would refuse, such as a certificate whose key
# has not been written yet, is tried again; what is in force stays until then.
watch() {
  seen=$(fingerprint)
  while sleep "$EDGE_WATCH" && kill -0 "$1" 2>/dev/null; do
    now=$(fingerprint 2>/dev/null) || continue
    [ "$now" != "$seen" ] || continue
    (render && nginx_here -t -q) || continue
    kill -HUP "$1" && seen=$now
    echo "edge: reloaded, for a certificate or a proxy's address has changed." >&2
  done
}

case ${1:-} in
  render)
    render
    ;;
  check)
    render
    first_certificate
    nginx_here -t -q
    ;;
  start)
    render
    first_certificate
    nginx_here -t -q
    # It keeps this process id, so that a signal to us is a signal to nginx.
    watch "$$" &
    exec nginx -p "$EDGE_RUN" -c "$EDGE_RUN/conf/nginx.conf" -e stderr -g "daemon off;"
    ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
