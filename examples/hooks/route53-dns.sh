#!/bin/sh
# A DNS name in AWS Route 53 for the leader: its A or AAAA record is set to the leader's
# address.
#
#   ROUTE53_ZONE_ID=Z0123456789ABCDEFGHIJ DNS_NAME=leader.example.org \
#   agent … --hook /usr/local/lib/doyen/route53-dns.sh
#
# Settings, from the agent's environment or from ROUTE53_CONF, a file of such
# lines (/etc/doyen/route53.conf if that is not set):
#
#   ROUTE53_ZONE_ID   the id of the hosted zone
#   DNS_NAME          the name, without a dot at its end
#   DNS_TTL           60: seconds for which clients may still use the last leader's
#                     address
#   DNS_ADDRESS       this node's address; not set: the one that others reach the
#                     agent at
#   AWS_ENDPOINT_URL_ROUTE_53  https://route53.amazonaws.com; elsewhere in China
#   AWS_EC2_METADATA_SERVICE_ENDPOINT  http://169.254.169.254
#   ROUTE53_CREDENTIALS_FILE  outside EC2: a file that the agent alone can read, with
#                     a user's access key on its first line and the secret key on its
#                     second; not set: the credentials of the instance's role
#
# Needs jq and curl 7.87 or newer, which signs the requests. Credentials come from the
# instance's metadata (IMDSv2), so the instance needs a role, or the user a policy, that
# allows route53:ListResourceRecordSets and route53:ChangeResourceRecordSets on the zone.
# To test the settings, run it by hand with acquire. An account may make five requests a
# second; with a --check-interval of 5s the leader makes one in five seconds.
#
# acquire creates the record, or sets it to this node's address. It changes nothing if
# the record already has that address alone.
#
# release changes nothing: the next leader changes the record in one step.
#
# check fails if the API says that the record has another address. It succeeds if the
# API does not answer: the record cannot change while the API is down.
#
# A name does not fence: resolvers keep the last leader's address for DNS_TTL.
set -eu

ROUTE53_CONF=${ROUTE53_CONF:-/etc/doyen/route53.conf}
if [ -r "$ROUTE53_CONF" ]; then
	# shellcheck source=/dev/null
	. "$ROUTE53_CONF"
fi
zone=${ROUTE53_ZONE_ID:?is not set: for example Z0123456789ABCDEFGHIJ}
name=${DNS_NAME:?is not set: the name of the leader, such as leader.example.org}
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest
records=${AWS_ENDPOINT_URL_ROUTE_53:-https://route53.amazonaws.com}/2013-04-01/hostedzone/$zone/rrset

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

# field prints the only element of a name in the body of the answer.
field() { # NAME
	printf '%s' "$answer" | tr -d '\r\n' | sed -n "s:.*<$1>\([^<]*\)</$1>.*:\1:p"
}

# call asks the API, and fails with a problem unless the answer is 200. Route 53 is
# signed for us-east-1, wherever the caller is.
call() { # ARGUMENT…, of curl
	code=''
	request --aws-sigv4 aws:amz:us-east-1:route53 "$@"
	[ "$status" = 200 ] && return
	code=$(field Code)
	[ "$status" = 000 ] || problem="the API answers $status $code: $(field Message)"
	return 1
}

# again waits before the next try, or ends this run if the error is permanent.
again() {
	case $status:$code in
	401:* | 403:*) die "$problem: may the role or user change records of the zone?" ;;
	404:*) die "$problem: is $zone the id of the zone?" ;;
	*:Throttling | *:PriorRequestNotComplete | 429:*) pause 1000 ;;
	2??:* | 000:* | 408:* | 5??:*) pause ;;
	*) die "$problem" ;;
	esac
}

# imds prints an entry of the instance's metadata.
imds() { # PATH
	limit 2000 && printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$imds_token" |
		curl -q -sSf --noproxy '*' --max-time "$max_time" -K - "$metadata/meta-data/$1"
}

# identify sets the credentials of every request.
identify() {
	status=000 code=''
	if [ -n "${ROUTE53_CREDENTIALS_FILE:-}" ]; then
		secret=$(awk 'NR == 1 { key = $1 } NR == 2 { print "user = \"" key ":" $1 "\"" }' "$ROUTE53_CREDENTIALS_FILE") ||
			die "$ROUTE53_CREDENTIALS_FILE cannot be read"
		case $secret in
		'user = "'[A-Z0-9]*:*\") return ;;
		*) die "$ROUTE53_CREDENTIALS_FILE does not hold an access key and a secret key" ;;
		esac
	fi
	problem="the metadata service does not say which instance this is"
	limit 2000 && imds_token=$(curl -q -sSf --noproxy '*' --max-time "$max_time" -X PUT \
		-H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") || return 1
	problem="the metadata service has no credentials: has the instance a role?"
	role=$(imds iam/security-credentials/) &&
		secret=$(imds "iam/security-credentials/$role" | jq -er 'select(.Code == "Success") |
			"user = \"\(.AccessKeyId):\(.SecretAccessKey)\"\nheader = \"X-Amz-Security-Token: \(.Token)\""')
}

# look sets holder to the address of the record, empty if there is none. The API lists
# from the name on, so the first record may be of another name or type. The query is in
# the order in which it is signed.
look() {
	call "$records?maxitems=1&name=$name&type=$type" || return 1
	holder=''
	if [ "$(field Name)" = "$name." ] && [ "$(field Type)" = "$type" ]; then
		holder=$(printf '%s' "$answer" | tr -d '\r\n' | sed 's:</Value>:\n:g' | sed -n 's:.*<Value>::p' | tr '\n' ' ')
		holder=${holder% }
	fi
}

# assign sets the record to this node's address, or creates it.
assign() {
	call -H 'Content-Type: text/xml' -d "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes><Change>\
<Action>UPSERT</Action><ResourceRecordSet><Name>$name</Name><Type>$type</Type><TTL>${DNS_TTL:-60}</TTL>\
<ResourceRecords><ResourceRecord><Value>$me</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>\
</Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>" "$records/"
}

case "${1:-}" in
acquire)
	until identify && look && { [ "$holder" = "$me" ] || assign; }; do again; done
	echo "$name is now $me (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "$name stays as it is until another leads"
	;;
check)
	if identify && look; then
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
