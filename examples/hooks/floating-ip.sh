#!/bin/sh
# A floating address on a LAN: only the leader holds it.
#
#   FLOATING_IP=192.0.2.10/24 FLOATING_DEV=eth0 \
#   agent … --hook /usr/local/lib/doyen/floating-ip.sh
#
# Set the two here, in the agent's environment, or in FLOATING_CONF (a file of
# such lines). Several addresses, v4 and v6, may be given, with spaces between;
# they move together. Needs ip (iproute2), arping (iputils) for v4, and root or
# CAP_NET_ADMIN and CAP_NET_RAW.
#
# Every event may come again at any time: acquire of an address that is held announces
# it again, and release of an address that is not held does nothing.
set -eu

FLOATING_CONF=${FLOATING_CONF:-/etc/doyen/floating-ip.conf}
if [ -r "$FLOATING_CONF" ]; then
	# shellcheck source=/dev/null
	. "$FLOATING_CONF"
fi
FLOATING_IP=${FLOATING_IP:?is not set: for example 192.0.2.10/24}
FLOATING_DEV=${FLOATING_DEV:?is not set: for example eth0}

say() { echo "$*" >&2; }

# family prints the option of ip for an address.
family() {
	case $1 in
	*:*) echo -6 ;;
	*) echo -4 ;;
	esac
}

# holds asks the kernel whether the interface has the address. The kernel compares,
# because an IPv6 address can be written in many ways.
holds() {
	[ -n "$(ip "$(family "$1")" -o addr show dev "$FLOATING_DEV" to "${1%/*}")" ]
}

# take adds one address to the interface.
take() {
	case $1 in
	*:*) take6 "$1" ;;
	*) holds "$1" || ip -4 addr add "$1" dev "$FLOATING_DEV" ;;
	esac
}

# take6 adds a v6 address so that the kernel tells the neighbours: with ndisc_notify
# it sends an unsolicited advertisement for an address that passes duplicate address
# detection (DAD). DAD is switched off meanwhile: it takes a second, and refuses the
# address while a frozen former holder has it. The flag nodad would not do, because
# the kernel then sends nothing. An address that is held already is removed first, so
# that the neighbours are told again.
take6() {
	conf=/proc/sys/net/ipv6/conf/$FLOATING_DEV
	dad=$(cat "$conf/accept_dad")
	echo 1 >"$conf/ndisc_notify"
	echo 0 >"$conf/accept_dad"
	drop "$1"
	ip -6 addr add "$1" dev "$FLOATING_DEV" || say "$1 could not be added"
	tries=50
	while [ "$tries" -gt 0 ] && [ -n "$(ip -6 -o addr show dev "$FLOATING_DEV" to "${1%/*}" tentative)" ]; do
		tries=$((tries - 1))
		sleep 0.01
	done
	echo "$dad" >"$conf/accept_dad"
	holds "$1"
}

# announce tells the neighbours of a v4 address, which otherwise go on sending to its
# last holder. It sends an ARP request and an ARP reply, because some neighbours heed
# only one of them. arping sends at once and then waits for a second, hence the
# time-out. A failure is no reason to give the address up. take6 announces v6
# addresses.
announce() {
	case $1 in
	*:*) return ;;
	esac
	if ! command -v arping >/dev/null 2>&1; then
		say "arping is not installed: neighbours learn of ${1%/*} only when they ask again"
		return
	fi
	timeout 0.2 arping -q -c 1 -U -I "$FLOATING_DEV" "${1%/*}" &
	timeout 0.2 arping -q -c 1 -A -I "$FLOATING_DEV" "${1%/*}" &
}

# drop succeeds if the address is gone, no matter which program removed it.
drop() {
	if holds "$1"; then
		ip "$(family "$1")" addr del "$1" dev "$FLOATING_DEV" || ! holds "$1"
	fi
}

case "${1:-}" in
acquire)
	for a in $FLOATING_IP; do
		take "$a"
		announce "$a"
	done
	wait
	echo "$FLOATING_DEV holds $FLOATING_IP (term ${DOYEN_TERM:-unknown})"
	;;
release)
	# An interface that is gone holds nothing.
	if ip link show dev "$FLOATING_DEV" >/dev/null 2>&1; then
		for a in $FLOATING_IP; do drop "$a"; done
	fi
	echo "$FLOATING_DEV does not hold $FLOATING_IP"
	;;
check)
	# check runs every few seconds, and at once after any sign of another leader.
	# The other may have announced the address, so it is announced again. If an
	# address is missing, exit 1 makes the agent run acquire again.
	for a in $FLOATING_IP; do
		if ! holds "$a"; then
			say "$FLOATING_DEV has lost $a"
			exit 1
		fi
	done
	for a in $FLOATING_IP; do announce "$a"; done
	wait
	;;
change) ;; # the leader's acquire announces the address
*)
	say "usage: $0 release|acquire|check|change"
	exit 64
	;;
esac
