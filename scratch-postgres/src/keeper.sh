# Owns one scratch cluster from its first file to its last: `keeper.sh BIN BASE [postgres options]`.
#
# Prints `ready FOLDER` once the server accepts connections, or else why it does not. Then it
# waits for the end of its stdin, a pipe whose other end only the process that started it holds:
# however that process ends, the kernel closes the pipe, and the server and its files go.

bin=$1 base=$2
shift 2
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

"$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale --no-sync </dev/null >"$log" 2>&1 ||
    give_up 'initdb failed:'

"$bin/postgres" -D "$data" -k "$dir" "$@" </dev/null >"$log" 2>&1 &
server=$!

# The status line of postmaster.pid is what `pg_ctl` itself waits for.
tries=6000
until grep -qs '^ready' "$data/postmaster.pid"; do
    kill -0 $server 2>/dev/null || give_up 'the server ended while it was starting:'
    tries=$((tries - 1))
    if [ $tries -eq 0 ]; then
        kill -KILL $server
        wait $server
        give_up 'the server was not ready after a minute:'
    fi
    sleep 0.01
done

echo "ready $dir"
read -r _
# An immediate shutdown: nothing is worth a checkpoint.
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$dir"
