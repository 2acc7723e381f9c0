#!/bin/sh
# A Hetzner Cloud floating IP: it is assigned to the leader's server.
#
#   HCLOUD_FLOATING_IP_ID=4711 \
#   agent … --hook /usr/local/lib/doyen/hetzner-floating-ip.sh \
#           --floating-ip 203.0.113.10/32@eth0
#
# Hetzner routes the packets to the server. To accept them, the server must have
# the address, which --floating-ip gives it while it leads.
#
# Settings, from the agent's environment or from HCLOUD_CONF, a file of such
# lines (/etc/doyen/hetzner.conf if that is not set):
#
#   HCLOUD_FLOATING_IP_ID  the number of the floating IP, v4 or v6, from
#                          hcloud floating-ip list
#   HCLOUD_TOKEN_FILE      holds an API token of the project that may write,
#                          readable by the agent alone (/etc/doyen/hetzner.token)
#   HCLOUD_ENDPOINT        https://api.hetzner.cloud/v1
#   HCLOUD_METADATA        http://169.254.169.254/hetzner/v1/metadata
#
# Needs curl and jq. To test the settings, run it by hand with check.
# A project may make 3600 requests an hour; with a --check-interval of 5s the
# leader makes 720.
#
# acquire assigns the address to this server, which takes some seconds, and
# waits for the end. It changes nothing if the address is here already.
#
# release changes nothing: an address is at one server at a time, and the next
# leader's acquire moves it in one step. A release that unassigned it would be
# slower, because every action locks the address, and unsafe: the API unassigns an
# address from any holder, so it could take the address from the next leader.
#
# check fails if the API says that the address is elsewhere. It succeeds if the API
# does not answer: while the API is down no other node can take the address.
#
# An assignment may still be carried out after this node has lost the leadership
# and this hook has been killed. The next leader's acquire waits for its end and
# then assigns the address again. If the request arrives even later, the next
# leader's check notices, and acquire runs again.
set -eu

HCLOUD_CONF=${HCLOUD_CONF:-/etc/doyen/hetzner.conf}
if [ -r "$HCLOUD_CONF" ]; then
	# shellcheck source=/dev/null
	. "$HCLOUD_CONF"
fi
id=${HCLOUD_FLOATING_IP_ID:?is not set: see hcloud floating-ip list}
token_file=${HCLOUD_TOKEN_FILE:-/etc/doyen/hetzner.token}
address=${HCLOUD_ENDPOINT:-https://api.hetzner.cloud/v1}/floating_ips/$id
metadata=${HCLOUD_METADATA:-http://169.254.169.254/hetzner/v1/metadata}

# ---- The same in every hook for a cloud: time, and requests in time ----

say() { echo "$*" >&2; }

die() {
	say "$*"
	exit 1
}

# clock sets now, in milliseconds, from the time since boot, which cannot be set back.
clock() {
	read -r up _ </proc/uptime
	now=$((${up%.*} * 1000 + 1${up#*.}0 - 1000))
}

# The last tenth of the time is left for an orderly end before the agent kills this run.
clock
end=$((now + ${DOYEN_DEADLINE_MS:-30000} * 9 / 10))

seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# limit sets max_time, the limit of a request in seconds: MS milliseconds, or the
# time left if that is less. It fails if no time is left.
limit() { # MS
	clock
	max_time=$((end - now < $1 ? end - now : $1))
	[ "$max_time" -gt 0 ] && max_time=$(seconds "$max_time")
}

# pause waits before the next try: MS milliseconds, or without MS longer each time.
# It ends this run if no time would be left afterwards.
problem='' said='' delay=250
pause() { # [MS]
	[ "$problem" = "$said" ] || say "$problem"
	said=$problem
	set -- "${1:-$delay}"
	clock
	[ $((now + $1)) -lt "$end" ] || die "no time is left for another try"
	sleep "$(seconds "$1")"
	delay=$((delay < 1000 ? delay * 2 : delay))
}

# request sets status (000 without a complete answer), and answer to head and body.
# Secrets are passed on standard input, because other users can read arguments.
newline='
'
request() { # ARGUMENT…, of curl
	status=000 answer='' problem='no answer from the API'
	limit 5000 || return 0
	answer=$(printf '%s\n' "$secret" | curl -q -sS -i --suppress-connect-headers \
		--max-time "$max_time" -K - -w '\n%{http_code}' "$@") || return 0
	status=${answer##*"$newline"}
	answer=${answer%"$newline"*}
	problem='the answer of the API makes no sense'
}

# ------------------------------------------------------------------------

# field prints what jq finds in the body of the answer.
field() { # FILTER
	printf '%s\n' "$answer" | sed -n '/^{/,$p' | jq -r "$1"
}

# call asks the API, and fails with a problem unless the answer is WANT.
call() { # WANT PATH [BODY]
	if [ $# = 3 ]; then
		request -H 'Content-Type: application/json' -d "$3" "$address$2"
	else
		request "$address$2"
	fi
	[ "$status" = "$1" ] && return
	[ "$status" = 000 ] ||
		problem="the API answers $status $(field '.error | "\(.code): \(.message)"' 2>/dev/null || true)"
	return 1
}

# again waits before the next try, or ends this run if the error is permanent. 423
# means that an action locks the address, 422 that it has just been assigned.
# After 429 one request is allowed every second. RateLimit-Reset is not used: it
# is the time at which the full number of requests is allowed again.
again() {
	case $status in
	401 | 403) die "$problem: is the token in $token_file right, and may it write?" ;;
	404) die "$problem: $id is no floating IP of the token's project" ;;
	429) pause 1000 ;;
	2?? | 000 | 408 | 409 | 422 | 423 | 5??) pause ;;
	*) die "$problem" ;;
	esac
}

# identify sets me to the id of this server, and reads the token.
identify() {
	status=000 problem="the metadata service does not say which server this is"
	limit 2000 && me=$(curl -q -sSf --noproxy '*' --max-time "$max_time" "$metadata/instance-id") || return 1
	case $me in '' | *[!0-9]*) return 1 ;; esac
	problem="$token_file cannot be read" status=none
	token=$(cat "$token_file") || return 1
	problem="$token_file does not hold an API token"
	case $token in '' | *[!A-Za-z0-9_.-]*) return 1 ;; esac
	secret="header = \"Authorization: Bearer $token\""
}

# look sets holder to a server or none.
look() {
	call 200 '' && [ "$(field .floating_ip.id)" = "$id" ] &&
		holder=$(field '.floating_ip.server // "none"')
}

# assign assigns the address to this server, waits for the end of the action and
# checks its result.
assign() {
	call 201 /actions/assign "{\"server\":$me}" &&
		action=$(field .action.id) && state=$(field .action.status) || return 1
	while [ "$state" = running ]; do
		problem="action $action is under way"
		pause
		until call 200 "/actions/$action" && state=$(field .action.status); do again; done
	done
	problem="action $action has ended as $state: $(field .action.error.message)"
	[ "$state" = success ] && look || return 1
	problem="the address is at $holder after all"
	[ "$holder" = "$me" ]
}

case "${1:-}" in
acquire)
	until identify; do again; done
	while :; do
		if ! look; then
			again
		elif [ "$holder" = "$me" ] || assign; then
			break
		else
			again
		fi
	done
	echo "the address is at this server, $me (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "the address stays where it is until another leads"
	;;
check)
	if identify && look; then
		[ "$holder" = "$me" ] || die "the address is at $holder, and this server is $me"
	elif [ "$status" = 404 ]; then
		die "$problem: $id is no floating IP of the token's project"
	else
		say "there is no way to tell where the address is: $problem"
	fi
	;;
change) ;; # the leader's acquire moves the address
*)
	say "usage: $0 release|acquire|check|change"
	exit 64
	;;
esac
