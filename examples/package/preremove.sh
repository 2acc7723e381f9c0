#!/bin/sh
# Runs before the files are removed. If no other version follows, the argument is
# "remove" from dpkg and 0 from rpm.
set -e

[ -d /run/systemd/system ] || exit 0
case "$1" in
remove | 0) systemctl disable --now doyen.service ;;
esac
