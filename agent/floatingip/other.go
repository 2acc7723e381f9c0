//go:build !linux

package floatingip

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("floating addresses need Linux; on other systems give the address to a hook")

// Set cannot be made on this system.
type Set struct{}

// New returns an error that says so.
func New(Config) (*Set, error) { return nil, errNotLinux }

// The methods of a Set do nothing on this system.
func (*Set) Begin() error              { return errNotLinux }
func (*Set) Take(time.Duration) error  { return errNotLinux }
func (*Set) Renew(time.Duration) error { return errNotLinux }
func (*Set) Cut() error                { return errNotLinux }
func (*Set) Ended()                    {}
func (*Set) Drop() error               { return nil }
func (*Set) Change([]Address) error    { return errNotLinux }
func (*Set) Check() error              { return errNotLinux }
func (*Set) Announce()                 {}
func (*Set) Close() error              { return nil }

// IsOwn cannot tell on this system.
func IsOwn(Address) bool { return false }

// Links cannot be watched on this system; nil stands for no addresses.
type Links struct{}

// WatchLinks returns an error that says so.
func WatchLinks([]Address, func(error)) (*Links, error) { return nil, errNotLinux }

// The methods of Links do nothing on this system.
func (*Links) Usable() error            { return nil }
func (*Links) Changed() <-chan struct{} { return nil }
func (*Links) Wait()                    {}
func (*Links) Close()                   {}

// Capable returns an error that says what is missing: Linux.
func Capable() error { return errNotLinux }

// CutOff returns an error that says what is missing: Linux.
func CutOff([]Address) (time.Duration, error) { return 0, errNotLinux }
