# Owns one scratch cluster from its first file to its last: `keeper.sh BIN BASE PRIMARY [postgres options]`.
#
# PRIMARY is the folder of the cluster to follow as a streaming replica, or empty for a cluster of its own.
# Prints `ready FOLDER` once the server accepts connections, or else why it does not. Then it
# reads its stdin, a pipe whose other end only the process that started it holds. A line kills
# the server and starts it again on the same files, `ready` included. At the end of the pipe,
# which the kernel closes however that process ends, the server and its files go.

bin=$1 base=$2 primary=$3
shift 3
exec 2>&1
# Writing to a starter that has gone must not end the keeper before it has cleaned up.
trap '' PIPE

# $base may be closed to the account that the server runs as.
dir=$(mktemp -d "$base/threadline-XXXXXX" 2>/dev/null || mktemp -d /tmp/threadline-XXXXXX) || exit
data=$dir/data log=$dir/log

give_up() {
    echo "$1"
    cat "$log"
    rm -rf "$dir"
    exit 1
}

make() {
    if [ -z "$primary" ]; then
        "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale --no-sync
    else
        # --write-recovery-conf makes it a standby of the server that it copies.
        "$bin/pg_basebackup" -D "$data" -d "host=$primary port=5432 user=postgres" --write-recovery-conf \
            --wal-method=stream --checkpoint=fast --no-sync
    fi
}
make </dev/null >"$log" 2>&1 || give_up 'the files of the cluster were not made:'
: >"$log"

# Before PostgreSQL 15 everyone may create objects in the schema public. 15 ended that, and a scratch cluster is like it.
if [ "$(cat "$data/PG_VERSION")" -lt 15 ]; then
    for database in template1 postgres; do
        echo 'REVOKE CREATE ON SCHEMA public FROM PUBLIC' |
            "$bin/postgres" --single -D "$data" -c fsync=off $database >"$log" 2>&1 || give_up 'REVOKE failed:'
    done
    : >"$log"
fi

# The status line of postmaster.pid is what `pg_ctl` itself waits for; a killed server leaves the file behind.
is_ready() {
    [ "$(head -n 1 "$data/postmaster.pid" 2>/dev/null)" = $server ] && grep -q '^ready' "$data/postmaster.pid"
}

start() {
    "$bin/postgres" -D "$data" -k "$dir" "$@" </dev/null >>"$log" 2>&1 &
    server=$!
    until is_ready; do
        kill -0 $server 2>/dev/null || return
        tries=$((tries - 1))
        if [ $tries -eq 0 ]; then
            kill -KILL $server
            wait $server
            give_up 'the server was not ready after a minute:'
        fi
        sleep 0.01
    done
    echo "ready $dir"
}

tries=6000
start "$@" || give_up 'the server ended while it was starting:'
# Some shells say here that a process which they wait for was killed.
exec 2>/dev/null
while read -r _; do
    kill -KILL $server
    wait $server
    tries=6000
    # It does not start while processes of its predecessor are at the shared memory.
    until start "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || give_up 'the server did not start again:'
        sleep 0.01
    done
done
# An immediate shutdown: nothing is worth a checkpoint.
kill -QUIT $server
wait $server
rm -rf "$dir"
