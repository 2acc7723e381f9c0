#!/bin/sh
# A DNS name at Cloudflare for the leader: its A or AAAA record is set to the leader's
# address.
#
#   CLOUDFLARE_ZONE_ID=0123456789abcdef0123456789abcdef DNS_NAME=leader.example.org \
#   agent … --hook /usr/local/lib/doyen/cloudflare-dns.sh
#
# Settings, from the agent's environment or from CLOUDFLARE_CONF, a file of such
# lines (/etc/doyen/cloudflare.conf if that is not set):
#
#   CLOUDFLARE_ZONE_ID     the zone's id, as its overview shows it
#   CLOUDFLARE_TOKEN_FILE  holds an API token with the permission DNS Edit for the
#                          zone, readable by the agent alone
#                          (/etc/doyen/cloudflare.token)
#   CLOUDFLARE_ENDPOINT    https://api.cloudflare.com/client/v4
#   DNS_NAME               the name, which has one record of this type or none
#   DNS_TTL                60, the minimum: seconds for which clients may still use
#                          the last leader's address
#   DNS_ADDRESS            this node's address; not set: the one that others reach
#                          the agent at
#
# Needs curl and jq. To test the settings, run it by hand with acquire. A user may make
# 1200 requests in five minutes; with a --check-interval of 5s the leader makes 60.
#
# acquire creates the record, or sets it to this node's address. It changes nothing if
# the record already has that address. A proxied record stays proxied.
#
# release changes nothing: the next leader changes the record in one step.
#
# check fails if the API says that the record has another address. It succeeds if the
# API does not answer: the record cannot change while the API is down.
#
# A name does not fence: resolvers keep the last leader's address for DNS_TTL.
set -eu

CLOUDFLARE_CONF=${CLOUDFLARE_CONF:-/etc/doyen/cloudflare.conf}
if [ -r "$CLOUDFLARE_CONF" ]; then
	# shellcheck source=/dev/null
	. "$CLOUDFLARE_CONF"
fi
zone=${CLOUDFLARE_ZONE_ID:?is not set: the overview of the zone shows it}
name=${DNS_NAME:?is not set: the name of the leader, such as leader.example.org}
token_file=${CLOUDFLARE_TOKEN_FILE:-/etc/doyen/cloudflare.token}
records=${CLOUDFLARE_ENDPOINT:-https://api.cloudflare.com/client/v4}/zones/$zone/dns_records

# The host of host:port or [host]:port.
me=${DNS_ADDRESS:-${DOYEN_ADDR%:*}}
me=${me#\[}
me=${me%\]}
case $me in
*:*) type=AAAA ;;
*) type=A ;;
esac

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

# call asks the API, and fails with a problem unless the API has succeeded.
call() { # METHOD URL [BODY]
	if [ $# = 3 ]; then
		request -X "$1" -H 'Content-Type: application/json' -d "$3" "$2"
	else
		request -X "$1" "$2"
	fi
	[ "$status" = 200 ] && return
	[ "$status" = 000 ] ||
		problem="the API answers $status $(field '.errors[0] | "\(.code): \(.message)"' 2>/dev/null || true)"
	return 1
}

# again waits before the next try, or ends this run if the error is permanent.
again() {
	case $status in
	401 | 403) die "$problem: is the token in $token_file right, and may it edit the DNS of the zone?" ;;
	404) die "$problem: $zone is no zone of the token" ;;
	429) pause 1000 ;;
	2?? | 000 | 408 | 409 | 5??) pause ;;
	*) die "$problem" ;;
	esac
}

# identify sets the header of every request.
identify() {
	token=$(cat "$token_file") || die "$token_file cannot be read"
	case $token in '' | *[!A-Za-z0-9_.-]*) die "$token_file does not hold an API token" ;; esac
	secret="header = \"Authorization: Bearer $token\""
}

# look sets record to the record's id and holder to its address; both are empty if there
# is no record.
look() {
	call GET "$records?type=$type&name=$name" || return 1
	record=$(field '.result[0].id // ""') && holder=$(field '.result[0].content // ""') || return 1
	problem="there are several records of type $type for $name" status=400
	[ "$(field '.result | length')" -le 1 ]
}

# assign sets the record to this node's address, or creates it.
assign() {
	body="{\"type\":\"$type\",\"name\":\"$name\",\"content\":\"$me\",\"ttl\":${DNS_TTL:-60}}"
	if [ -n "$record" ]; then
		call PATCH "$records/$record" "$body"
	else
		call POST "$records" "$body"
	fi
}

case "${1:-}" in
acquire)
	identify
	until look && { [ "$holder" = "$me" ] || assign; }; do again; done
	echo "$name is now $me (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "$name stays as it is until another leads"
	;;
check)
	identify
	if look; then
		[ "$holder" = "$me" ] || die "$name is ${holder:-nothing}, and this node is $me"
	else
		say "there is no way to tell what $name is: $problem"
	fi
	;;
change) ;; # the leader's acquire sets the record
*)
	say "usage: $0 release|acquire|check|change"
	exit 64
	;;
esac
