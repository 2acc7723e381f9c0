package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"doyen/agent"
)

// alone is the configuration of a member that leads by itself at once, on a
// free port of this machine.
func alone() agent.Config {
	return agent.Config{
		Name: "alpha", BindAddr: "127.0.0.1", BindPort: new(0),
		LoneWait: new(time.Duration(0)), Logger: slog.New(slog.DiscardHandler),
	}
}

// A program joins a group by running an agent until its context ends.
func ExampleAgent_Run() {
	a, err := agent.New(alone())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, leave := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()

	leave()
	fmt.Println("left:", <-done)
	// Output: left: <nil>
}

// Work that only one member may do at a time is given to Lead. Its context
// ends with the leadership, and carries the term to fence off what a former
// leader still writes.
func ExampleAgent_Lead() {
	a, err := agent.New(alone())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, leave := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()

	err = a.Lead(ctx, func(ctx context.Context) error {
		term, _ := agent.Term(ctx)
		fmt.Println("leading, with a fencing token:", term > 0)
		leave()      // the end of the agent is the end of the leadership
		<-ctx.Done() // work goes on until here
		return nil
	})
	fmt.Println("the leadership:", err)
	fmt.Println("left:", <-done)
	// Output:
	// leading, with a fencing token: true
	// the leadership: context canceled
	// left: <nil>
}

// Watch starts with the current status and then gives the newest.
func ExampleAgent_Watch() {
	a, err := agent.New(alone())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()

	for status := range a.Watch(ctx) {
		if status.IsLeader {
			fmt.Println("the leader is", status.Leader)
			leave()
		}
	}
	fmt.Println("left:", <-done)
	// Output:
	// the leader is alpha
	// left: <nil>
}
