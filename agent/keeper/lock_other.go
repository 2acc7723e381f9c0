//go:build !linux

package keeper

import (
	"context"
	"io"
	"time"
)

// lockNode takes no lock: without keeper processes nothing outlives an agent.
func lockNode(context.Context, *Config, time.Duration, func(error)) (io.Closer, error) {
	return io.NopCloser(nil), nil
}

func lockAddresses(context.Context, []string, time.Duration, func(error)) (map[string]io.Closer, error) {
	return nil, nil
}

func running(error) error { return nil }
