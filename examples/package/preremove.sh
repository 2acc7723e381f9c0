#!/bin/sh
# Before the files go: dpkg says "remove", rpm 0, if no other version follows.
set -e

[ -d /run/systemd/system ] || exit 0
case "$1" in
remove | 0) systemctl disable --now doyen.service ;;
esac
