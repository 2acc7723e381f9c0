// Package keeper is the hands of an agent: the one place that runs hooks and
// touches floating addresses, in a process of its own that outlives the agent
// long enough to clean up after it.
package keeper
