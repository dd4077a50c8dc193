#!/bin/sh
# dbproxy_check.sh [--config FILE]: should this host have the virtual addresses? 0: yes, 1: no, with the reason in one line.
# It runs before all others: on a busy host its answer would come too late.
set -eu
node=${DBPROXY_NODE:-/opt/dbproxy/node_modules/.bin/node}
program=${DBPROXY_PROGRAM:-/opt/dbproxy/dist/cli.js}
exec nice -n -20 "$node" "$program" keepalived check "$@"
