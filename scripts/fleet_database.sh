#!/usr/bin/env bash
# Make the login and the database of a new PostgreSQL server: a login that owns its database, may create the two roles
# of Row-Level Security, and is no superuser. Run as the server's superuser with CARTS_PASSWORD set; harmless when run again.
set -euo pipefail

PSQL=(psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres)
"${PSQL[@]}" --set password="${CARTS_PASSWORD:?set CARTS_PASSWORD}" <<'SQL'
SELECT 'CREATE ROLE carts LOGIN CREATEROLE NOINHERIT'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'carts') \gexec
ALTER ROLE carts PASSWORD :'password';
SELECT 'CREATE DATABASE carts OWNER carts'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'carts') \gexec
\connect carts
ALTER SCHEMA public OWNER TO carts;  -- a login that inherits nothing has no part in what the database's owner has
SQL
