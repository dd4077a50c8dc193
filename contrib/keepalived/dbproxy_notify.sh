#!/bin/sh
# dbproxy_notify.sh --state=master|backup|fault|check|status --vip=IP[,IP] [--gw=IP]: what keepalived tells dbproxy.
# It may be called twice, late, or in any order. Exit codes: 0 well, 1 not well, 64 usage, 78 configuration.
set -eu
node=${DBPROXY_NODE:-/opt/dbproxy/node_modules/.bin/node}
program=${DBPROXY_PROGRAM:-/opt/dbproxy/dist/cli.js}
exec "$node" "$program" keepalived notify "$@"
