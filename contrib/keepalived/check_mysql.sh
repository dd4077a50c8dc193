#!/bin/sh
# check_mysql.sh [--config FILE]: is one of the servers online, as dbproxy sees them? 0: yes, 1: no. Not for vrrp_script: the
# other host has the same servers, so its dbproxy would see no other ones.
set -eu
node=${DBPROXY_NODE:-/opt/dbproxy/node_modules/.bin/node}
program=${DBPROXY_PROGRAM:-/opt/dbproxy/dist/cli.js}
online=$("$node" "$program" admin "$@" --batch "SHOW BACKENDS WHERE state = 'online'") || exit 1
case $online in
  *online*) echo 'a server is online' ;;
  *) echo 'no server is online'; exit 1 ;;
esac
