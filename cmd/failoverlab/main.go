//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The main thread stays with main: no goroutine that moves its thread into a
// host's namespace may get it, since it stands for the whole process in /proc.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 2 && os.Args[1] == hogCommand {
		hog()
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 0 for a complete report, 1 if a run could not be
// measured, 2 for a command line that makes no sense.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "failoverlab:", err)
		return 2
	}
	if !inSandbox() {
		return enterSandbox(stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "failoverlab:", err)
		return 1
	}
	return 0
}

// measure runs every scenario of every subject and writes the report.
func measure(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	if err := prepareSandbox(); err != nil {
		return err
	}
	if err := o.provide(ctx); err != nil {
		return err
	}
	if o.nemesis > 0 {
		return unleashAll(ctx, o, stdout, stderr)
	}
	if o.idle > 0 {
		return measureIdle(ctx, o, stdout)
	}
	if o.crowd > 0 {
		return measureCrowd(ctx, o, stdout)
	}
	report := newReport(o)
	results, errs := make([][]result, len(o.subjects)), make([]error, len(o.subjects))
	eachSubject(o, func(i int, s *subject) { results[i], errs[i] = measureSubject(ctx, o, s, stderr) })
	for i, s := range o.subjects {
		report.add(s, results[i])
	}
	report.print(stdout)
	if o.json != "" {
		errs = append(errs, report.write(o.json))
	}
	return errors.Join(errs...)
}

// eachSubject does something with every subject, as many at the same time as the
// command line says.
func eachSubject(o *options, f func(i int, s *subject)) {
	var group sync.WaitGroup
	turns := make(chan struct{}, o.together)
	for i, s := range o.subjects {
		turns <- struct{}{}
		group.Go(func() {
			f(i, s)
			<-turns
		})
	}
	group.Wait()
}

// measureSubject runs every scenario of one subject, on a network of its own.
func measureSubject(ctx context.Context, o *options, s *subject, stderr io.Writer) ([]result, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l, err := newLab(o, s, stderr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	defer l.close()
	results, err := l.all(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, err)
	}
	return results, err
}

// options is the command line.
type options struct {
	subjects  []*subject
	scenarios []*scenario
	runs      int
	together  int
	hosts     int
	calm      time.Duration
	nemesis   time.Duration
	slack     time.Duration
	agent     string
	hook      string
	json      string
	logs      string
	seed      uint64
	dir       string // for files, in the sandbox

	crowd     int           // 0: none
	idle      time.Duration // 0: measure failovers
	idleCases []idleCase
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("failoverlab", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { usage(f) }
	subjectNames := f.String("subjects", "doyen-fast,doyen-lan,keepalived", "what to measure, comma-separated")
	scenarioNames := f.String("scenarios", "faults", "what to do to it, comma-separated; faults: all but the calm ones, the grey ones and the long cables; followers: the short ones that hit a follower; cables; grey; calm; all")
	f.IntVar(&o.hosts, "hosts", hostCount, "how many hosts there are, 3 to 5")
	f.IntVar(&o.runs, "runs", 20, "how often each scenario is run")
	f.IntVar(&o.together, "together", 1, "how many subjects are measured at the same time, each on a network of its own; they share the machine")
	f.DurationVar(&o.calm, "calm", 10*time.Minute, "how long each run of a calm or grey scenario lasts")
	f.DurationVar(&o.nemesis, "nemesis", 0, "instead of the scenarios, let faults come and go at random for at least so long, and check what must hold (0: not)")
	f.DurationVar(&o.slack, "slack", 0, "what the nemesis adds to the times that are promised, for a busy machine")
	f.IntVar(&o.crowd, "crowd", 0, "instead of the scenarios, measure one group of so many agents: at rest for -calm, -runs failovers, and members stopped again and again for -calm (0: not)")
	f.StringVar(&o.agent, "agent", "", "agent binary (default: built from ./cmd/agent)")
	f.StringVar(&o.hook, "hook", "examples/hooks/floating-ip.sh", "hook of the subjects that use one")
	f.StringVar(&o.json, "json", "", "file to write everything measured to")
	f.StringVar(&o.logs, "logs", "", "directory to keep the logs of all processes in (default: none are kept)")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the pauses before the faults, and of the nemesis")
	idle := idleFlags(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q is not understood", f.Arg(0))
	}
	if o.runs < 1 || o.together < 1 || o.calm <= 0 || o.nemesis < 0 || o.slack < 0 {
		return nil, errors.New("-runs, -together and -calm must be positive, -nemesis and -slack not negative")
	}
	if o.hosts < hostCount || o.hosts > maxHosts {
		return nil, fmt.Errorf("-hosts is %d, and must be %d to %d", o.hosts, hostCount, maxHosts)
	}
	var err error
	if err = idle(o); err != nil {
		return nil, err
	}
	if o.crowd != 0 && (o.crowd < 5 || o.crowd > 1000) {
		return nil, fmt.Errorf("-crowd is %d, and must be 5 to 1000", o.crowd)
	}
	if o.idle > 0 || o.crowd > 0 {
		*subjectNames = "doyen-lan" // which has the agent built
	}
	if o.subjects, err = pick("subjects", *subjectNames, subjects, func(s *subject) string { return s.name }, nil); err != nil {
		return nil, err
	}
	groups := map[string]func(*scenario) bool{
		"all":       func(*scenario) bool { return true },
		"faults":    func(s *scenario) bool { return !s.calm && !s.cable && !s.grey },
		"followers": func(s *scenario) bool { return s.victim == follower && !s.cable && !s.grey },
		"cables":    func(s *scenario) bool { return s.cable },
		"grey":      func(s *scenario) bool { return s.grey },
		"calm":      func(s *scenario) bool { return s.calm },
	}
	o.scenarios, err = pick("scenarios", *scenarioNames, scenarios, func(s *scenario) string { return s.name }, groups)
	return o, err
}

// pick chooses from all by name, or by the name of a group.
func pick[T any](flag, names string, all []T, name func(T) string, groups map[string]func(T) bool) ([]T, error) {
	var list []T
	for _, want := range strings.Split(names, ",") {
		in, ok := groups[want]
		if !ok {
			in = func(x T) bool { return name(x) == want }
		}
		found := false
		for _, x := range all {
			if in(x) {
				list, found = append(list, x), true
			}
		}
		if !found {
			var known []string
			for _, x := range all {
				known = append(known, name(x))
			}
			return nil, fmt.Errorf("-%s: %q is none of %s", flag, want, strings.Join(known, ", "))
		}
	}
	return list, nil
}

func usage(f *flag.FlagSet) {
	w := f.Output()
	fmt.Fprintln(w, "failoverlab measures how long clients of a floating address miss it, on hosts made of network namespaces.")
	fmt.Fprintln(w, "It needs root, and touches nothing outside the namespaces that it makes.")
	fmt.Fprintln(w)
	f.PrintDefaults()
	fmt.Fprintln(w, "\nSubjects:")
	for _, s := range subjects {
		fmt.Fprintf(w, "  %-22s %s\n", s.name, s.about)
	}
	fmt.Fprintln(w, "\nScenarios:")
	for _, s := range scenarios {
		fmt.Fprintf(w, "  %-22s %s\n", s.name, s.about)
	}
}
