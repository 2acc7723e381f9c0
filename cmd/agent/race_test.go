//go:build race

package main

// buildFlags build the program under test as the test itself was built.
var buildFlags = []string{"-race"}
