#!/bin/sh
# A hook like many notify scripts: ip puts the address on the interface, and what tells
# the neighbours of it is left running when acquire ends. With LATE it begins after that.
set -eu
case $1 in
acquire)
	ip addr replace "$FLOATING_IP" dev "$FLOATING_DEV"
	{ ${LATE:+sleep 0.2}; arping -q -c 5 -A -I "$FLOATING_DEV" "${FLOATING_IP%/*}"; } &
	;;
check) ip addr show dev "$FLOATING_DEV" to "${FLOATING_IP%/*}" | grep -q inet ;;
change) sleep 60 & ;; # nothing but what acquire leaves may run on
release) ip addr del "$FLOATING_IP" dev "$FLOATING_DEV" 2>/dev/null || : ;;
esac
