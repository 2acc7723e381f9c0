#!/bin/sh
# Runs after the files are removed. Only dpkg's "purge" removes the agent's own files:
# they hold promises that a new installation must keep.
set -e

if [ "$1" = purge ]; then
	rm -rf /var/lib/doyen
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload
