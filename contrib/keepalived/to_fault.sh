#!/bin/sh
# to_fault.sh --vip=IP[,IP] [--gw=IP]: for notify_fault of keepalived.conf.
set -eu
exec "$(dirname "$0")/dbproxy_notify.sh" --state=fault "$@"
