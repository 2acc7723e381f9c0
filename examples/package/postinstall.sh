#!/bin/sh
# Runs after the files are installed. dpkg calls it with "configure" and the former
# version, rpm with the number of installed versions.
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
	# It is not started by itself, because an agent without seeds would lead alone.
	echo "doyen: name the other machines in /etc/doyen/agent.yaml, then: systemctl enable --now doyen"
	;;
*)
	# A leader hands over before the restart.
	systemctl try-restart doyen.service
	;;
esac
