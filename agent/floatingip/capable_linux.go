package floatingip

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Capable returns nil if this process may do what floating addresses need, else
// a sentence that says which capability is missing.
func Capable() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading this process's capabilities: %w", err)
	}
	return capable(data[0].Effective)
}

// capable looks at the first 32 capabilities; both that matter are among them.
func capable(effective uint32) error {
	var missing []string
	if effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		missing = append(missing, "CAP_NET_ADMIN (to put addresses on interfaces and to cut them off)")
	}
	if effective&(1<<unix.CAP_NET_RAW) == 0 {
		missing = append(missing, "CAP_NET_RAW (to announce addresses to neighbours)")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("floating addresses need %s, which this process lacks; run it as root, or grant it with setcap or AmbientCapabilities=",
		strings.Join(missing, " and "))
}
