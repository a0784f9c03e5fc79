#!/bin/sh
# Joins the six nodes to a cluster of three masters with a replica each, and waits until they
# are one. Nodes that know each other already are only waited for.
set -eu
REDISCLI_AUTH="$(cat /run/secrets/redis_admin_password)"
export REDISCLI_AUTH
cli="redis-cli --tls --cacert /run/secrets/redis_ca --user admin"

if $cli -h redis-1 cluster info | grep -q '^cluster_known_nodes:1\b'; then
  nodes=""
  for n in 1 2 3 4 5 6; do
    nodes="$nodes $(getent hosts redis-$n | cut -d ' ' -f 1):6379"
  done
  # shellcheck disable=SC2086 # six words
  $cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
for _ in $(seq 60); do
  if $cli -h redis-1 cluster info | grep -q '^cluster_state:ok'; then exit 0; fi
  sleep 1
done
echo "The cluster is not complete after a minute." >&2
exit 1
