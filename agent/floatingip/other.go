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
func (*Set) Take(time.Duration) error  { return errNotLinux }
func (*Set) Renew(time.Duration) error { return errNotLinux }
func (*Set) Drop() error               { return nil }
func (*Set) Check() error              { return errNotLinux }
func (*Set) Announce()                 {}
func (*Set) CutOff() time.Duration     { return 0 }
func (*Set) Close() error              { return nil }

// Links cannot be watched on this system; the nil one is that of no addresses.
type Links struct{}

// WatchLinks returns an error that says so.
func WatchLinks([]Address) (*Links, error) { return nil, errNotLinux }

// The methods of Links do nothing on this system.
func (*Links) Usable() error            { return nil }
func (*Links) Changed() <-chan struct{} { return nil }
func (*Links) Close()                   {}

// Capable returns an error that says what is missing: Linux.
func Capable() error { return errNotLinux }

// CutOff returns an error that says what is missing: Linux.
func CutOff([]Address) (time.Duration, error) { return 0, errNotLinux }
