# Nothing is kept on disk: replies and embeddings can be computed again.
. /scripts/master.sh
cat > /data/redis.conf <<END
port 6379
dir /data
save ""
appendonly no
repl-diskless-sync yes
repl-diskless-load on-empty-db
maxmemory 2693mb
maxmemory-policy noeviction
requirepass "$password"
masterauth "$password"
replica-announce-ip "$me"
min-replicas-to-write 1
min-replicas-max-lag 10
END
if [ "$master" != "$me" ]; then echo "replicaof $master 6379" >> /data/redis.conf; fi
exec redis-server /data/redis.conf
