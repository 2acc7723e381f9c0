#!/bin/sh
# Reports every change to an HTTP server, such as a chat or a pager, by a POST with
# JSON.
#
#   WEBHOOK_URL=https://hooks.example.org/T0/B0 \
#   agent … --hook /usr/local/lib/doyen/leader-webhook.sh
#
# Settings, from the agent's environment or from WEBHOOK_CONF, a file of such lines
# (/etc/doyen/webhook.conf if that is not set):
#
#   WEBHOOK_URL         the URL; if it contains a secret, use WEBHOOK_URL_FILE instead
#   WEBHOOK_URL_FILE    a file with only the URL, readable by the agent alone
#   WEBHOOK_TOKEN_FILE  a token, sent as Authorization: Bearer
#   WEBHOOK_EVENTS      "acquire release": the events that are reported; every member
#                       reports a change
#
# Needs curl. The body is
#   {"event":…,"node":…,"leader":…,"previous_leader":…,"term":…,"reason":…,
#    "cluster":…,"election":…,"text":…}
# where text is a sentence. A report that fails must not stop a leader, so the exit
# status is always 0, and the log says what failed.
set -eu

WEBHOOK_CONF=${WEBHOOK_CONF:-/etc/doyen/webhook.conf}
if [ -r "$WEBHOOK_CONF" ]; then
	# shellcheck source=/dev/null
	. "$WEBHOOK_CONF"
fi

event=${1:-}
case $event in
acquire | release | change) ;;
check) exit 0 ;; # this hook holds nothing that could be lost
*)
	echo "usage: $0 release|acquire|check|change" >&2
	exit 64
	;;
esac
case " ${WEBHOOK_EVENTS:-acquire release} " in
*" $event "*) ;;
*) exit 0 ;;
esac
# The release at start is not reported, because nothing was held.
[ "${DOYEN_REASON:-}" != startup ] || exit 0

case $event in
acquire) text="$DOYEN_NODE leads" ;;
release) text="$DOYEN_NODE leads no more" ;;
change) text="$DOYEN_NODE follows ${DOYEN_LEADER:-none}" ;;
esac
[ "${DOYEN_ELECTION:-group}" = group ] || text="$DOYEN_ELECTION: $text"
text="$text (${DOYEN_REASON:-unknown}, term ${DOYEN_TERM:-0})"

# string prints its argument as a JSON string. Names may contain any character.
string() {
	printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"
}

body=$(
	printf '{"event":%s' "$(string "$event")"
	printf ',"node":%s' "$(string "$DOYEN_NODE")"
	printf ',"leader":%s' "$(string "${DOYEN_LEADER:-}")"
	printf ',"previous_leader":%s' "$(string "${DOYEN_PREVIOUS_LEADER:-}")"
	printf ',"term":%s' "${DOYEN_TERM:-0}"
	printf ',"reason":%s' "$(string "${DOYEN_REASON:-}")"
	printf ',"cluster":%s' "$(string "${DOYEN_CLUSTER:-}")"
	printf ',"election":%s' "$(string "${DOYEN_ELECTION:-group}")"
	printf ',"text":%s}' "$(string "$text")"
)

# Secrets are passed on standard input, because other users can read arguments.
url=${WEBHOOK_URL:-}
[ -z "${WEBHOOK_URL_FILE:-}" ] || url=$(cat "$WEBHOOK_URL_FILE")
: "${url:?WEBHOOK_URL is not set}"
limit=$((${DOYEN_DEADLINE_MS:-30000} * 9 / 10000))
[ "$limit" -le 10 ] || limit=10
[ "$limit" -ge 1 ] || limit=1
{
	printf 'url = "%s"\n' "$url"
	[ -z "${WEBHOOK_TOKEN_FILE:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$(cat "$WEBHOOK_TOKEN_FILE")"
} | curl -q -sSf -o /dev/null --retry 2 --retry-delay 1 --max-time "$limit" -K - \
	-H 'Content-Type: application/json' --data-binary "$body" ||
	echo "the webhook was not told that $text" >&2
