// Package agenttest is for the tests of programs that embed an agent.
//
// A [Fake] leads when the test says so: for code that is given an agent, or one of its
// elections, through an interface such as [Leadership].
//
//	leads := agenttest.NewFake("a")
//	go worker.Run(ctx, leads)
//	leads.Elect()  // the function that the worker has given to Lead begins
//	leads.Depose("b") // and has ended
//
// A [Network] connects real agents in memory, so that whole groups elect and fail over:
// inside a bubble of testing/synctest in virtual time, where a failover of a second takes
// some milliseconds of the test's own. With the race detector of Go 1.26 such a test wants
// one processor (go test -race -cpu 1): two timers of a bubble that run at once break the
// detector (golang.org/issue/78156).
package agenttest
