# Sets $me and $master: the server that a Sentinel names; where none answers, the first.
set -eu
password=$(cat /etc/headrace/redis/password)
me="$HOSTNAME.headrace-redis-nodes.headrace.svc.cluster.local"
export REDISCLI_AUTH="$password"
master=$(timeout 3 redis-cli -h headrace-redis-nodes -p 26379 sentinel get-master-addr-by-name headrace | head -n 1) || true
case "$master" in
  *.headrace-redis-nodes.headrace.svc.cluster.local) ;;
  *) master="headrace-redis-nodes-0.headrace-redis-nodes.headrace.svc.cluster.local" ;;
esac
