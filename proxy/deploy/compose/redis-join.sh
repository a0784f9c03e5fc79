#!/bin/sh
set -eu
export REDISCLI_AUTH="$(cat /run/secrets/redis_admin_password)"
cli="redis-cli --tls --cacert /run/secrets/redis_ca --user admin"
if $cli -h redis-1 cluster info | grep -q cluster_state:ok; then exit 0; fi
nodes=""
for n in 1 2 3 4 5 6; do
  nodes="$nodes $(getent hosts redis-$n | cut -d ' ' -f 1):6379"
done
$cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
