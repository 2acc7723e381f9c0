//go:build !linux

package supervise

// Init does nothing: only Linux has child subreapers, and there is no Start.
func Init() {}
