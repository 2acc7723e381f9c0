#!/bin/sh
# A hook for a machine with nginx: it makes nginx pass all requests to the leader. Run
# it on the members, or on another machine with an agent that neither votes nor leads:
#
#   agent --role observer --seeds … --hook /usr/local/lib/doyen/nginx-leader.sh
#
# SERVICE_PORT is the port of the leader's service, UPSTREAM_FILE the file that
# nginx.conf includes, and RELOAD the command that makes nginx read it again. They may
# be changed here or set in the agent's environment. With several elections each has a
# file of its own, such as doyen-leader-web.conf for web; the group's own has
# UPSTREAM_FILE.
set -eu

SERVICE_PORT=${SERVICE_PORT:-8080}
UPSTREAM_FILE=${UPSTREAM_FILE:-/etc/nginx/doyen-leader.conf}
RELOAD=${RELOAD:-nginx -s reload}
if [ "${DOYEN_ELECTION:-group}" != group ]; then
	UPSTREAM_FILE=${UPSTREAM_FILE%.conf}-$DOYEN_ELECTION.conf
fi

# point replaces the file in one step, and makes nginx read it if it has changed.
point() {
	trap 'rm -f "$UPSTREAM_FILE.$$"' EXIT
	printf '%s\n' "$1" >"$UPSTREAM_FILE.$$"
	if cmp -s "$UPSTREAM_FILE.$$" "$UPSTREAM_FILE"; then
		return
	fi
	mv -f "$UPSTREAM_FILE.$$" "$UPSTREAM_FILE"
	$RELOAD
	echo "nginx: $1"
}

case "${1:-}" in
acquire) point "server ${DOYEN_ADDR%:*}:$SERVICE_PORT;" ;;
change)
	# Without a leader the last one stays, because there is no better address.
	if [ -n "${DOYEN_LEADER_ADDR:-}" ]; then
		point "server ${DOYEN_LEADER_ADDR%:*}:$SERVICE_PORT;"
	fi
	;;
release)
	# nginx starts neither without the file nor with an empty upstream.
	if [ "${DOYEN_REASON:-}" = startup ] && [ ! -e "$UPSTREAM_FILE" ]; then
		printf 'server 127.0.0.1:1 down;\n' >"$UPSTREAM_FILE"
	fi
	;;
check) ;; # the file does not change by itself
*)
	echo "usage: $0 release|acquire|check|change" >&2
	exit 64
	;;
esac
