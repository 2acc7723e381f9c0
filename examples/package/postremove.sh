#!/bin/sh
# After the files are gone. What the agent has written goes only with dpkg's
# "purge": it holds promises that a new installation would have to keep.
set -e

if [ "$1" = purge ]; then
	rm -rf /var/lib/doyen
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload
