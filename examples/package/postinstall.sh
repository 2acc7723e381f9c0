#!/bin/sh
# After the files are in place. dpkg calls it with "configure" and the version that
# was there before, rpm with the number of versions that there are now.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers doyen.conf
elif ! getent passwd doyen >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/doyen --no-create-home --shell /usr/sbin/nologin doyen
fi

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
case "$1:$2" in
configure: | 1:)
	# Without seeds an agent would soon lead alone, so it is not started unasked.
	echo "doyen: name the other machines in /etc/doyen/agent.yaml, then: systemctl enable --now doyen"
	;;
*)
	# A leader hands over, and comes back as the youngest.
	systemctl try-restart doyen.service
	;;
esac
