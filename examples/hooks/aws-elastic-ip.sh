#!/bin/sh
# An AWS Elastic IP: it is associated with the leader's primary interface.
#
#   AWS_ALLOCATION_ID=eipalloc-0123456789abcdef0 \
#   agent … --hook /usr/local/lib/doyen/aws-elastic-ip.sh
#
# Settings, from the agent's environment or from AWS_CONF, a file of such lines
# (/etc/doyen/aws.conf if that is not set):
#
#   AWS_ALLOCATION_ID     the allocation of the address
#   AWS_ENDPOINT_URL_EC2  https://ec2.REGION.amazonaws.com; elsewhere in China,
#                         and for a VPC endpoint without private DNS
#   AWS_EC2_METADATA_SERVICE_ENDPOINT  http://169.254.169.254
#
# Needs jq and curl 7.87 or newer, which signs the requests; the aws command is
# not needed, and would be slow to start. Region, interface and credentials come
# from the instance's metadata (IMDSv2), so the instance needs a role that allows
# ec2:DescribeAddresses and ec2:AssociateAddress, and in a container a hop limit
# of 2. The instance must reach the API without the address, for example by a VPC
# endpoint: the interface that gets an Elastic IP loses its former public address.
# To test the settings, run it by hand with check.
#
# acquire associates the address with this instance. It changes nothing if the
# address is here already.
#
# release changes nothing: an address is at one interface at a time, and the next
# leader's acquire moves it in one step. A release that disassociated it would be
# safe, because the request names the association and not the address; but no
# instance would answer until the next leader has it, and this one could lose its
# way to the API.
#
# check fails if the API says that the address is elsewhere. It succeeds if the API
# does not answer: while the API is down no other node can take the address.
#
# Answers of the API may be some seconds old: a check soon after acquire may fail,
# and acquire then associates again, which changes nothing. A request may also be
# carried out after this node has lost the leadership and this hook has been
# killed. For both reasons the checks of the next leader decide.
set -eu

AWS_CONF=${AWS_CONF:-/etc/doyen/aws.conf}
if [ -r "$AWS_CONF" ]; then
	# shellcheck source=/dev/null
	. "$AWS_CONF"
fi
allocation=${AWS_ALLOCATION_ID:?is not set: for example eipalloc-0123456789abcdef0}
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest

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

# call asks the API, and fails with a problem unless the answer is 200.
call() { # ACTION PARAMETERS
	code=''
	request --aws-sigv4 "aws:amz:$region:ec2" \
		-d "Action=$1&Version=2016-11-15&$2" "${AWS_ENDPOINT_URL_EC2:-https://ec2.$region.amazonaws.com}/"
	[ "$status" = 200 ] && return
	code=$(field Code)
	[ "$status" = 000 ] || problem="the API answers $status $code: $(field Message)"
	return 1
}

# again waits before the next try, or ends this run if the error is permanent. The
# API answers 503 to too many requests. Parts of the API do not know yet an
# instance or interface that is new or changes its state.
again() {
	case $status:$code in
	401:* | 403:*) die "$problem: does the instance's role allow it?" ;;
	2??:* | 000:* | 408:* | 429:* | 5??:*) pause ;;
	*:IncorrectInstanceState | *:IncorrectState | *:InvalidNetworkInterfaceID.NotFound) pause ;;
	*) die "$problem" ;;
	esac
}

# imds prints an entry of the instance's metadata.
imds() { # PATH
	limit 2000 && printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$imds_token" |
		curl -q -sSf --noproxy '*' --max-time "$max_time" -K - "$metadata/meta-data/$1"
}

# identify sets me, the primary interface of this instance, its region and the
# credentials of its role.
identify() {
	status=000 code='' problem="the metadata service does not say which instance this is"
	limit 2000 && imds_token=$(curl -q -sSf --noproxy '*' --max-time "$max_time" -X PUT \
		-H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") &&
		mac=$(imds mac) && me=$(imds "network/interfaces/macs/$mac/interface-id") &&
		region=$(imds placement/region) || return 1
	problem="the metadata service has no credentials: has the instance a role?"
	role=$(imds iam/security-credentials/) &&
		secret=$(imds "iam/security-credentials/$role" | jq -er 'select(.Code == "Success") |
			"user = \"\(.AccessKeyId):\(.SecretAccessKey)\"\nheader = \"X-Amz-Security-Token: \(.Token)\""')
}

# look sets holder to an interface or none.
look() {
	call DescribeAddresses "AllocationId.1=$allocation" &&
		[ "$(field allocationId)" = "$allocation" ] || return 1
	holder=$(field networkInterfaceId)
	holder=${holder:-none}
}

case "${1:-}" in
acquire)
	until identify; do again; done
	while :; do
		if ! look; then
			again
		elif [ "$holder" = "$me" ] ||
			call AssociateAddress "AllocationId=$allocation&NetworkInterfaceId=$me&AllowReassociation=true"; then
			break
		else
			again
		fi
	done
	echo "$allocation is at this instance, at $me (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "$allocation stays where it is until another leads"
	;;
check)
	if identify && look; then
		[ "$holder" = "$me" ] || die "$allocation is at $holder, and this instance has $me"
	elif [ "$code" = InvalidAllocationID.NotFound ]; then
		die "$problem"
	else
		say "there is no way to tell where $allocation is: $problem"
	fi
	;;
change) ;; # the leader's acquire moves the address
*)
	say "usage: $0 release|acquire|check|change"
	exit 64
	;;
esac
