#!/bin/sh
# A DNS name for the leader: its A or AAAA record is set to the leader's address by
# a dynamic update (RFC 2136), signed with a TSIG key. BIND, Knot, PowerDNS and
# Windows accept such updates.
#
#   DNS_NAME=leader.example.org \
#   agent … --hook /usr/local/lib/doyen/dns-nsupdate.sh
#
# Settings, from the agent's environment or from DNS_CONF, a file of such lines
# (/etc/doyen/dns.conf if that is not set):
#
#   DNS_NAME     the name, which has no other records of this type
#   DNS_SERVER   the primary server of its zone, and its port if that is not 53,
#                with a blank between; not set: the server that the zone's SOA names
#   DNS_ZONE     the zone; not set: nsupdate looks for it
#   DNS_KEY_FILE the key, as tsig-keygen prints it, readable by the agent alone
#                (/etc/doyen/dns.key)
#   DNS_TTL      60: seconds for which clients may still use the last leader's address
#   DNS_ADDRESS  this node's address; not set: the one that others reach the agent at
#
# Needs nsupdate (Debian: bind9-dnsutils). To test the settings, run it by hand with
# acquire.
#
# acquire replaces the record in one step.
#
# release changes nothing: the next leader replaces the record, and until then a
# stale address is no worse than none. A removal could hit the next leader's record.
#
# check fails if the server has another record. It succeeds if the server does not
# answer: the record cannot change while the server is down.
#
# A name does not fence: resolvers keep the last leader's address for DNS_TTL.
set -eu

DNS_CONF=${DNS_CONF:-/etc/doyen/dns.conf}
if [ -r "$DNS_CONF" ]; then
	# shellcheck source=/dev/null
	. "$DNS_CONF"
fi
name=${DNS_NAME:?is not set: the name of the leader, such as leader.example.org}
key=${DNS_KEY_FILE:-/etc/doyen/dns.key}

# The host of host:port or [host]:port.
address=${DNS_ADDRESS:-${DOYEN_ADDR%:*}}
address=${address#\[}
address=${address%\]}
case $address in
*:*) type=AAAA other=A ;;
*) type=A other=AAAA ;;
esac

# update sends lines of nsupdate(1), after the lines that all updates need.
update() {
	{
		[ -z "${DNS_SERVER:-}" ] || echo "server $DNS_SERVER"
		[ -z "${DNS_ZONE:-}" ] || echo "zone $DNS_ZONE"
		printf '%s\n' "$@" send
	} | nsupdate -k "$key" -t "$limit" 2>&1
}

# The last tenth of the time is left for an orderly end before the agent kills this run.
limit=$((${DOYEN_DEADLINE_MS:-30000} * 9 / 10000))
[ "$limit" -ge 1 ] || limit=1

case "${1:-}" in
acquire)
	update "update delete $name $type" "update delete $name $other" \
		"update add $name ${DNS_TTL:-60} $type $address"
	echo "$name is now $address (term ${DOYEN_TERM:-unknown})"
	;;
release)
	echo "$name stays as it is until another leads"
	;;
check)
	# A condition without a change: these are all the records of the name.
	if ! answer=$(update "prereq yxrrset $name $type $address"); then
		case $answer in
		*NXRRSET* | *NXDOMAIN*)
			echo "$name is no longer $address" >&2
			exit 1
			;;
		esac
		echo "there is no way to tell what $name is: $answer" >&2
	fi
	;;
change) ;; # the leader's acquire sets the record
*)
	echo "usage: $0 release|acquire|check|change" >&2
	exit 64
	;;
esac
