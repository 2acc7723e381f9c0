#!/bin/sh
# A DigitalOcean reserved IP: it is assigned to the leader's Droplet.
#
#   DIGITALOCEAN_RESERVED_IP=203.0.113.10 \
#   agent … --hook /usr/local/lib/doyen/digitalocean-reserved-ip.sh
#
# Settings, from the agent's environment or from DIGITALOCEAN_CONF, a file of
# such lines (/etc/doyen/digitalocean.conf if that is not set):
#
#   DIGITALOCEAN_RESERVED_IP  the address, v4, in the region of the Droplets
#   DIGITALOCEAN_TOKEN_FILE   holds an API token with the scopes
#                             reserved_ip:read, reserved_ip:update and
#                             droplet:read, readable by the agent alone
#                             (/etc/doyen/digitalocean.token)
#   DIGITALOCEAN_API_URL      https://api.digitalocean.com
#   DIGITALOCEAN_METADATA     http://169.254.169.254
#
# Needs curl and jq. To test the settings, run it by hand with check.
#
# acquire assigns the address to this Droplet, which takes some seconds, and
# waits for the end. It changes nothing if the address is here already.
#
# release changes nothing: an address is at one Droplet at a time, and the next
# leader's acquire moves it in one step. A release that unassigned it would be
# slower, because every action locks the address for seconds, and unsafe: the API
# unassigns an address from any holder, so it could take the address from the next
# leader. Clients' packets arrive here until another node leads.
#
# check fails if the API says that the address is elsewhere. It succeeds if the API
# does not answer: while the API is down no other node can take the address.
#
# An assignment may still be carried out after this node has lost the leadership
# and this hook has been killed. The next leader's acquire waits for its end and
# then assigns the address again. If the request arrives even later, the next
# leader's check notices, and acquire runs again.
set -eu

DIGITALOCEAN_CONF=${DIGITALOCEAN_CONF:-/etc/doyen/digitalocean.conf}
if [ -r "$DIGITALOCEAN_CONF" ]; then
	# shellcheck source=/dev/null
	. "$DIGITALOCEAN_CONF"
fi
ip=${DIGITALOCEAN_RESERVED_IP:?is not set: for example 203.0.113.10}
token_file=${DIGITALOCEAN_TOKEN_FILE:-/etc/doyen/digitalocean.token}
address=${DIGITALOCEAN_API_URL:-https://api.digitalocean.com}/v2/reserved_ips/$ip
metadata=${DIGITALOCEAN_METADATA:-http://169.254.169.254}/metadata/v1

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

# header prints the number in a header of the answer.
header() { # PATTERN
	printf '%s\n' "$answer" | tr -d '\r' | sed -n "s/^$1: *\([0-9][0-9]*\)\$/\1/p"
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
		problem="the API answers $status $(field '.message // empty' 2>/dev/null || true)"
	return 1
}

# again waits before the next try, or ends this run if the error is permanent. 422
# means that an action on the address or on the Droplet is under way.
again() {
	case $status in
	401 | 403) die "$problem: is the token in $token_file right, with all three scopes?" ;;
	404) die "$problem: $ip is no reserved IP of the token's owner" ;;
	429) throttled ;;
	2?? | 000 | 408 | 409 | 422 | 423 | 5??) pause ;;
	*) die "$problem" ;;
	esac
}

# throttled waits as long as the API asks. RateLimit-Reset is the time at which
# the oldest request no longer counts, so that another is allowed.
throttled() {
	asked=$(header '[Rr]etry-[Aa]fter')
	reset=$(header '[Rr]ate[Ll]imit-[Rr]eset')
	if [ -z "$asked" ] && [ -n "$reset" ]; then
		asked=$((reset - $(date +%s)))
	fi
	if [ "${asked:-0}" -gt 0 ]; then
		problem="$problem; it asks to wait for $asked s"
		pause "${asked}000"
	else
		pause
	fi
}

# identify sets me to the id of this Droplet, and reads the token.
identify() {
	status=000 problem="the metadata service does not say which Droplet this is"
	limit 2000 && me=$(curl -q -sSf --noproxy '*' --max-time "$max_time" "$metadata/id") || return 1
	case $me in '' | *[!0-9]*) return 1 ;; esac
	problem="$token_file cannot be read" status=none
	token=$(cat "$token_file") || return 1
	problem="$token_file does not hold an API token"
	case $token in '' | *[!A-Za-z0-9_.-]*) return 1 ;; esac
	secret="header = \"Authorization: Bearer $token\""
}

# look sets holder, and sets locked if an action on the address is under way.
look() {
	call 200 '' &&
		holder=$(field '.reserved_ip.droplet.id // "no Droplet that the token may see"') &&
		locked=$(field .reserved_ip.locked) && [ "$locked" != null ]
}

case "${1:-}" in
acquire)
	until identify; do again; done
	while :; do
		if ! look; then
			again
		elif [ "$locked" = true ]; then
			problem="an action on $ip is under way"
			pause
		elif [ "$holder" = "$me" ]; then
			break
		elif call 201 /actions "{\"type\":\"assign\",\"droplet_id\":$me}"; then
			# The lock shows when it has ended; a failed one is tried again.
			problem="$ip is on its way here from $holder"
			pause
		else
			again
		fi
	done
	echo "$ip is at this Droplet, $me (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "$ip stays where it is until another leads"
	;;
check)
	if identify && look; then
		[ "$holder" = "$me" ] || die "$ip is at $holder, and this Droplet is $me"
	elif [ "$status" = 404 ]; then
		die "$problem: $ip is no reserved IP of the token's owner"
	else
		say "there is no way to tell where $ip is: $problem"
	fi
	;;
change) ;; # the leader's acquire moves the address
*)
	say "usage: $0 release|acquire|check|change"
	exit 64
	;;
esac
