#!/bin/sh
# install.sh: makes dbproxy of this checkout a service of this host, or upgrades the one that is there. As root, on a
# machine with systemd, npm and Node.js 20 or newer.
#
# It builds beside what runs, in /opt/dbproxy.new, and puts it in place at the end: keepalived asks the program in
# /opt/dbproxy each second. What runs already goes on with the old one in its memory until `systemctl restart dbproxy`.
set -eu
cd "$(dirname "$0")/.."

complain() {
  echo "install.sh: $1" >&2
  exit 69
}

[ "$(id -u)" = 0 ] || complain 'only root can install a service'
command -v systemctl >/dev/null || complain 'there is no systemd here; see contrib/README.md for what a service needs'
# Everybody may read the program, and root alone may change it.
umask 022

npm run -s build
rm -rf /opt/dbproxy.new /opt/dbproxy.old
mkdir -p /opt/dbproxy.new
cp -R dist docs contrib README.md CHANGELOG.md LICENSE proxy.conf.example package.json package-lock.json /opt/dbproxy.new/
(cd /opt/dbproxy.new && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
# The old one is gone for some milliseconds, and a check of keepalived that fails once changes nothing.
[ ! -e /opt/dbproxy ] || mv /opt/dbproxy /opt/dbproxy.old
mv /opt/dbproxy.new /opt/dbproxy
rm -rf /opt/dbproxy.old

id dbproxy >/dev/null 2>&1 || useradd --system --home-dir /var/lib/dbproxy --shell /usr/sbin/nologin dbproxy
# What is put here belongs to the group of the service, which reads it and can change nothing.
install -d -o root -g dbproxy -m 2750 /etc/dbproxy
install -m 0644 contrib/systemd/dbproxy.service /etc/systemd/system/dbproxy.service
install -D -m 0644 contrib/systemd/keepalived.service.d/dbproxy.conf /etc/systemd/system/keepalived.service.d/dbproxy.conf
printf '#!/bin/sh\nexec /opt/dbproxy/node_modules/.bin/node /opt/dbproxy/dist/cli.js "$@"\n' >/usr/local/bin/dbproxy
chmod 0755 /usr/local/bin/dbproxy
echo "$(dbproxy version) is installed: the command dbproxy, the service dbproxy, and /etc/dbproxy for proxy.conf"
# An image that is being built has no systemd that runs.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if systemctl --quiet is-active dbproxy; then
  echo 'The service still runs what was here before: systemctl restart dbproxy'
fi
