# Two of three agree that the master is away. Its name is known a moment after its pod is there.
. /scripts/master.sh
tries=0
until getent hosts "$master" > /dev/null || [ "$tries" -ge 60 ]; do tries=$((tries + 1)); sleep 1; done
cat > /data/sentinel.conf <<END
port 26379
dir /data
requirepass "$password"
sentinel sentinel-pass "$password"
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip "$me"
sentinel monitor headrace $master 6379 2
sentinel auth-pass headrace "$password"
sentinel down-after-milliseconds headrace 5000
sentinel failover-timeout headrace 30000
sentinel parallel-syncs headrace 1
END
exec redis-server /data/sentinel.conf --sentinel
