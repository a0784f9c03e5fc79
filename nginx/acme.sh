#!/bin/sh
# A certificate from an ACME authority (Let's Encrypt), for as long as this runs.
#
#   acme.sh            issue one if there is none, then renew it when it is due
#   acme.sh once       the same, once
#   acme.sh deploy     certbot's deploy hook: put a new one where the edge looks for it
#
# The edge serves the proofs from ACME_WEBROOT and notices a new certificate by itself, so
# nothing here has to reach it.
set -eu
umask 077

: "${SERVER_NAMES:?the names that the certificate is for}"
: "${SSL_CERT_PATH:=/var/lib/edge/tls/fullchain.pem}"
: "${SSL_KEY_PATH:=/var/lib/edge/tls/privkey.pem}"
: "${ACME_WEBROOT:=/var/lib/edge/acme}"
: "${ACME_DIRECTORY:=https://acme-v02.api.letsencrypt.org/directory}"
: "${ACME_STATE:=/var/lib/edge/certbot}"
: "${ACME_EMAIL:=}"
: "${ACME_EVERY:=12h}"
: "${ACME_ALIVE:=/tmp/acme-alive}"

# The key first: until the certificate is there, too, the edge keeps the old pair.
deploy() {
  cp "$RENEWED_LINEAGE/privkey.pem" "$SSL_KEY_PATH.new"
  cp "$RENEWED_LINEAGE/fullchain.pem" "$SSL_CERT_PATH.new"
  mv "$SSL_KEY_PATH.new" "$SSL_KEY_PATH"
  mv "$SSL_CERT_PATH.new" "$SSL_CERT_PATH"
  echo "acme: a new certificate is at $SSL_CERT_PATH."
}

# With --keep-until-expiring this is both: the first certificate, and each that follows.
certificate() {
  domains=""
  for name in $SERVER_NAMES; do domains="$domains --domain $name"; done
  account="--register-unsafely-without-email"
  [ -z "$ACME_EMAIL" ] || account="--email $ACME_EMAIL"
  mkdir -p "$ACME_WEBROOT/.well-known/acme-challenge"
  chmod 755 "$ACME_WEBROOT" "$ACME_WEBROOT/.well-known" "$ACME_WEBROOT/.well-known/acme-challenge"
  # certbot splits the hook at its spaces and knows no quotes, so $self must have none.
  # shellcheck disable=SC2086 # these are several words
  (umask 022 && certbot certonly --non-interactive --agree-tos --keep-until-expiring \
    --server "$ACME_DIRECTORY" --webroot --webroot-path "$ACME_WEBROOT" $domains $account \
    --cert-name edge --key-type ecdsa --elliptic-curve secp256r1 \
    --config-dir "$ACME_STATE" --work-dir "$ACME_STATE/work" --logs-dir "$ACME_STATE/logs" \
    --deploy-hook "$self deploy")
}

self=$(readlink -f "$0")
case ${1:-run} in
  deploy)
    deploy
    ;;
  once)
    certificate
    ;;
  run)
    trap 'exit 0' TERM INT
    while :; do
      # What failed is tried again: the certificate in force is good for weeks.
      if certificate; then touch "$ACME_ALIVE"; fi
      sleep "$ACME_EVERY" &
      wait $!
    done
    ;;
  *)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
