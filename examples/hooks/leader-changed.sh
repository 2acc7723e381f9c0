#!/bin/sh
# A hook that only reports: it writes one line to the system log for each event, and
# the leader's address to a file that other programs may read.
#
#   agent … --hook /usr/local/lib/doyen/leader-changed.sh
#
# LEADER_FILE may be changed here or set in the agent's environment. It is the file of
# the group's own election; that of another, such as web, is LEADER_FILE-web, because
# the hooks of several elections run at the same time.
set -eu

LEADER_FILE=${LEADER_FILE:-/run/doyen-leader}
election=${DOYEN_ELECTION:-group}
in=
if [ "$election" != group ]; then
	LEADER_FILE=$LEADER_FILE-$election
	in="$election: "
fi

# tell writes to the system log, where there is one, and to the agent's log.
tell() {
	echo "$in$*"
	if command -v logger >/dev/null 2>&1; then
		logger -t doyen -- "$in$*" || true
	fi
}

# remember replaces the file in one step, so that no reader sees half of it. The new
# one has a name of its own, because other agents of this host may write as well.
remember() {
	trap 'rm -f "$LEADER_FILE.$$"' EXIT
	printf '%s\n' "$1" >"$LEADER_FILE.$$"
	mv -f "$LEADER_FILE.$$" "$LEADER_FILE"
}

case "${1:-}" in
acquire)
	remember "$DOYEN_ADDR"
	tell "$DOYEN_NODE leads (term $DOYEN_TERM, $DOYEN_REASON)"
	;;
release)
	# At start no leader is known, and the file of a former run is stale.
	if [ "${DOYEN_REASON:-}" = startup ]; then
		rm -f "$LEADER_FILE"
	else
		tell "$DOYEN_NODE leads no more (term $DOYEN_TERM, $DOYEN_REASON)"
	fi
	;;
change)
	if [ -n "${DOYEN_LEADER_ADDR:-}" ]; then
		remember "$DOYEN_LEADER_ADDR"
	else
		rm -f "$LEADER_FILE"
	fi
	tell "the leader is now ${DOYEN_LEADER:-none} (was ${DOYEN_PREVIOUS_LEADER:-none})"
	;;
check) ;; # this hook holds nothing that could be lost
*)
	echo "usage: $0 release|acquire|check|change" >&2
	exit 64
	;;
esac
