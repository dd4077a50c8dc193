#!/bin/sh
# dbproxy_check.sh [--config FILE]: should this host have the virtual addresses? 0: yes, 1: no, with the reason in one line.
set -eu
node=${DBPROXY_NODE:-/opt/dbproxy/node_modules/.bin/node}
program=${DBPROXY_PROGRAM:-/opt/dbproxy/dist/cli.js}
exec "$node" "$program" keepalived check "$@"
