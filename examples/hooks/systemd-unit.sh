#!/bin/sh
# A hook with which systemd runs units only on the leader, such as cron on one host
# of many:
#
#   UNITS=cron.service agent … --hook /usr/local/lib/doyen/systemd-unit.sh
#
# UNITS may be changed here or set in the agent's environment. Several units are started
# in their order and stopped in the reverse order. No host may start them at boot:
# systemctl disable --now cron.service, or write them without an [Install] section
# (examples/systemd/leader-only.service). If the agent is a service itself, do not order
# a unit after it in a way that makes each wait for the other.
#
# The agent runs as root, or as a user who may manage the units; for the user doyen, in
# /etc/polkit-1/rules.d/doyen.rules:
#
#   polkit.addRule(function(action, subject) {
#     if (action.id == "org.freedesktop.systemd1.manage-units" &&
#         action.lookup("unit") == "cron.service" && subject.user == "doyen")
#       return polkit.Result.YES;
#   });
#
# Every event may come again at any time: a unit that runs is not started again.
set -eu

UNITS=${UNITS:?is not set: for example cron.service}

reverse() {
	reversed=
	for unit in $UNITS; do
		reversed="$unit $reversed"
	done
	echo "$reversed"
}

# stop stops a unit, and kills it after half of the time: it must have ended before
# another node leads.
stop() {
	half=$((${DOYEN_DEADLINE_MS:-30000} / 2))
	if timeout "$((half / 1000)).$(printf %03d $((half % 1000)))" systemctl stop -- "$1"; then
		return
	fi
	systemctl kill --signal=KILL -- "$1"
	systemctl stop -- "$1"
}

case "${1:-}" in
acquire)
	for unit in $UNITS; do
		systemctl start -- "$unit"
	done
	;;
check)
	for unit in $UNITS; do
		systemctl is-active --quiet -- "$unit"
	done
	;;
release)
	# All units are tried: the others are stopped even if one does not stop.
	failed=0
	for unit in $(reverse); do
		stop "$unit" || failed=1
	done
	exit "$failed"
	;;
change) ;; # acquire and release suffice
*)
	echo "usage: $0 release|acquire|check|change" >&2
	exit 64
	;;
esac
