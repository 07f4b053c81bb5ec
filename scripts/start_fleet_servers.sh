#!/usr/bin/env bash
# Start the servers of a fleet without a container engine, from Debian packages: PostgreSQL, Redis and, with --rabbitmq,
# RabbitMQ. They listen on this machine only, keep their data in one folder, and belong to it: run this again to find
# them as they are, with --stop to end them. What to export is printed.
#
#   scripts/start_fleet_servers.sh [--folder DIR] [--postgres-port N] [--redis-port N] [--rabbitmq] [--stop]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "error: $1" >&2; exit 2; }
value() { [ -n "${2:-}" ] || fail "$1 needs a value"; echo "$2"; }
port() {
    [[ "${2:-}" =~ ^[0-9]{1,5}$ ]] && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] || fail "$1 needs a port, 1 to 65535"
    echo "$2"
}

folder=data/fleet postgres_port=5433 redis_port=6380 with_rabbitmq="" stop=""
while [ $# -gt 0 ]; do
    case $1 in
        --folder) folder=$(value "$@"); shift ;;
        --postgres-port) postgres_port=$(port "$@"); shift ;;
        --redis-port) redis_port=$(port "$@"); shift ;;
        --rabbitmq) with_rabbitmq=yes ;;
        --stop) stop=yes ;;
        *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done

as_postgres() { if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
find_postgres() { find /usr/lib/postgresql -maxdepth 3 -path '*/bin/pg_ctl' 2>/dev/null | sort -V | tail -n 1; }
is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# Redis is asked over a socket in the folder, so that no other one is ever taken for it, nor stopped in its place.
redis() { redis-cli -s "$folder/redis.sock" "$@" 2>/dev/null; }
has_redis() { [ "$(redis ping)" = PONG ]; }

if [ -n "$stop" ]; then
    pg_ctl=$(find_postgres)
    if [ -f "$folder/postgres/postmaster.pid" ]; then as_postgres "$pg_ctl" -D "$folder/postgres" -m fast stop >/dev/null; fi
    if has_redis; then redis shutdown nosave || true; fi
    echo "The servers of $folder are stopped; RabbitMQ, a service of the system, is left as it is."
    exit 0
fi

missing=()
[ -n "$(find_postgres)" ] || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
[ -z "$with_rabbitmq" ] || command -v rabbitmqctl >/dev/null || missing+=(rabbitmq-server)
if [ ${#missing[@]} -gt 0 ]; then
    echo "error: please install first: apt-get install ${missing[*]}" >&2
    exit 2
fi

# --- PostgreSQL ------------------------------------------------------------------------------------------------------

pg_ctl=$(find_postgres)
secret="$folder/postgres.password"
[ -s "$secret" ] || (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secret")
if [ ! -f "$folder/postgres/PG_VERSION" ]; then
    mkdir -p "$folder/postgres"
    [ "$(id -u)" -ne 0 ] || { chown postgres "$folder/postgres"; chmod o+x "$folder"; }
    as_postgres "$(dirname "$pg_ctl")/initdb" -D "$folder/postgres" -U postgres -E UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 >/dev/null
fi
if ! as_postgres "$pg_ctl" -D "$folder/postgres" status >/dev/null; then
    is_free "$postgres_port" || fail "port $postgres_port is in use by another program: choose one with --postgres-port"
    as_postgres "$pg_ctl" -D "$folder/postgres" -w -l "$folder/postgres/server.log" \
        -o "-c listen_addresses=127.0.0.1 -c port=$postgres_port -c unix_socket_directories=$folder/postgres" start >/dev/null \
        || fail "PostgreSQL did not start: $folder/postgres/server.log says why"
fi
postgres_port=$(sed -n 4p "$folder/postgres/postmaster.pid")  # as it runs, whatever was asked for this time
PGHOST=$folder/postgres PGPORT=$postgres_port CARTS_PASSWORD=$(cat "$secret")
export PGHOST PGPORT CARTS_PASSWORD
as_postgres env "CARTS_PASSWORD=$CARTS_PASSWORD" "PGHOST=$PGHOST" "PGPORT=$PGPORT" bash -s <scripts/fleet_database.sh

# --- Redis, RabbitMQ -------------------------------------------------------------------------------------------------

if ! has_redis; then
    is_free "$redis_port" || fail "port $redis_port is in use by another program: choose one with --redis-port"
    redis-server --daemonize yes --bind 127.0.0.1 --port "$redis_port" --save "" --appendonly no \
        --unixsocket "$folder/redis.sock" --pidfile "$folder/redis.pid" --logfile "$folder/redis.log" --dir "$folder" >/dev/null
    for _ in $(seq 100); do if has_redis; then break; fi; sleep 0.1; done
    has_redis || fail "Redis did not start: $folder/redis.log says why"
fi
redis_port=$(redis config get port | tail -n 1)
broker=""
if [ -n "$with_rabbitmq" ]; then
    rabbitmqctl status >/dev/null 2>&1 || service rabbitmq-server start >/dev/null
    broker="export CELERY_BROKER_URL=amqp://guest:guest@127.0.0.1:5672//"
fi

# A file to source rather than lines to paste: the password does not belong on a terminal.
(umask 077 && cat >"$folder/environment" <<EOF
export DATABASE_URL=postgresql://carts:$CARTS_PASSWORD@127.0.0.1:$postgres_port/carts
export REDIS_URL=redis://127.0.0.1:$redis_port/0
$broker
EOF
)
echo "Running: PostgreSQL on port $postgres_port, Redis on port $redis_port${with_rabbitmq:+, RabbitMQ on port 5672}."
echo "Next:    . $folder/environment && export MASTER_KEY=... && make migrate"
