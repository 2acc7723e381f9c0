// Embedding is a program that elects a leader among its own instances: one of them at a
// time works, and another takes over when it ends for any reason. On one machine, in
// two terminals:
//
//	go run ./examples/embedding -port 4000
//	go run ./examples/embedding -port 4001 -seeds 127.0.0.1:4000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"doyen/agent"
)

func main() {
	agent.Init() // must come first: the keeper is this program again
	port := flag.Int("port", 4000, "the port to listen on, 0: a free one")
	seeds := flag.String("seeds", "", "where other instances are: host:port, with commas between")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *port, strings.FieldsFunc(*seeds, func(r rune) bool { return r == ',' })); err != nil {
		log.Fatal(err)
	}
}

// run takes part in the group until ctx ends, and then hands over.
func run(ctx context.Context, port int, seeds []string) error {
	a, err := agent.New(agent.Config{BindAddr: "127.0.0.1", BindPort: &port, Seeds: seeds})
	if err != nil {
		return err
	}
	fmt.Println("listening at", a.Addr())
	go func() {
		if err := a.Lead(ctx, work); err != nil && ctx.Err() == nil {
			log.Print(err) // work has failed; this instance has handed over if another may lead
		}
	}()
	return a.Run(ctx)
}

// work is done by the leader alone. ctx ends with the leadership; other systems can use
// the term to refuse the work of a former leader.
func work(ctx context.Context) error {
	term, _ := agent.Term(ctx)
	fmt.Println("leading, term", term)
	defer fmt.Println("leading no more, term", term)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
			fmt.Println("working:", n)
		}
	}
}
