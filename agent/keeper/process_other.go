//go:build !linux

package keeper

import "errors"

var errLinux = errors.New("a keeper process needs Linux; use --keeper off")

// Start fails: a keeper process needs Linux.
func Start(Config) (*Keeper, error) { return nil, errLinux }

func serve(Tools) error { return errLinux }
