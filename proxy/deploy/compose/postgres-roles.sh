#!/bin/sh
# The superuser is for the image; the LMS owns one database, the exporter only looks.
set -eu
psql --set ON_ERROR_STOP=1 --username postgres \
  --set lms="$(cat /run/secrets/postgres_lms_password)" \
  --set exporter="$(cat /run/secrets/postgres_exporter_password)" <<'SQL'
CREATE ROLE lms LOGIN PASSWORD :'lms';
CREATE DATABASE lms OWNER lms;
REVOKE ALL ON DATABASE lms FROM PUBLIC;
CREATE ROLE exporter LOGIN PASSWORD :'exporter' IN ROLE pg_monitor;
SQL
