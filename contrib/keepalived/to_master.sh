#!/bin/sh
# to_master.sh --vip=IP[,IP] [--gw=IP]: for notify_master of keepalived.conf.
set -eu
exec "$(dirname "$0")/dbproxy_notify.sh" --state=master "$@"
