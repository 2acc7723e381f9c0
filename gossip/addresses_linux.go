package gossip

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// watchAddresses returns a channel of capacity one that has an element after the
// interfaces, the addresses or the routes of this host have changed, until done
// is closed.
func watchAddresses(done <-chan struct{}) (<-chan struct{}, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		<-done
		s.Close()
	}()
	go func() {
		for {
			// What has changed does not matter: the state is read anew. An error
			// may be that so much has changed that some of it was lost.
			_, _, err := s.Receive()
			select {
			case <-done:
				return
			default:
			}
			poke(changed)
			if err != nil && !isOverflow(err) {
				return
			}
		}
	}()
	return changed, nil
}

func isOverflow(err error) bool {
	return err == unix.ENOBUFS || err == unix.EINTR || err == unix.EAGAIN
}
