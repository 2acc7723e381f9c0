// Package model checks the lease protocol of quorum mode a second time: a model
// in Promela, lease.pml, that Spin searches in all its states. It was written
// from the manual of package seniority and shares nothing with its code, so
// that a mistake of thought in the protocol and a mistake in the code do not
// hide each other. The simulator runs the code over few of very many schedules;
// Spin runs a much smaller protocol over all of them.
//
// What the model holds, leaves out, and why that is enough, stands at the top
// of lease.pml. Spin is Gerard Holzmann's (The SPIN Model Checker, 2003); the
// test needs the Debian packages spin and gcc.
//
//	go test ./seniority/model                    a minute, below 1 GB
//	go test ./seniority/model -model.long        more restarts, finer time: minutes, 2 GB
//
// A violation is printed as the steps that lead to it, one a line.
//
// # Limits
//
// Safety only: nothing here says that a leader is ever found. Two candidates,
// at most three claims, at most three restarts, clocks that drift within the
// bound. Available mode has no exclusion to check.
package model
