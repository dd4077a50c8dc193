#!/bin/sh
# to_backup.sh --vip=IP[,IP] [--gw=IP]: for notify_backup of keepalived.conf.
set -eu
exec "$(dirname "$0")/dbproxy_notify.sh" --state=backup "$@"
