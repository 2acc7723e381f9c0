package hook

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"
)

// Event is what the hook is told as its only argument.
type Event string

// The events.
const (
	Release Event = "release"
	Acquire Event = "acquire"
	Check   Event = "check"
	Change  Event = "change"
)

// Env is what a run of the hook is told in its environment.
type Env struct {
	Event Event
	// Term is the fencing token.
	Term uint64
	// Node and Addr are this member, Leader and LeaderAddr the leader, Previous
	// the leader before; "" if there is none. Run fills in Node, Cluster and
	// Election.
	Node, Addr, Leader, LeaderAddr, Previous string
	// API is where client commands on this host reach this member.
	API string
	// Reason says why this event happens.
	Reason string
	// Rule and Cluster are the agent's settings, Election the election's name.
	Rule, Cluster, Election string
	// Limit is how long the run may take.
	Limit time.Duration
}

// prefix begins the names of all variables of ours.
const prefix = "DOYEN_"

// environ lays the event over the environment that is inherited. Variables of
// ours that are inherited are settings of the agent, and none of the hook's
// business.
func (e *Env) environ(inherited []string) []string {
	ours := []variable{
		{"EVENT", string(e.Event)},
		{"TERM", strconv.FormatUint(e.Term, 10)},
		{"NODE", e.Node},
		{"ADDR", e.Addr},
		{"API", e.API},
		{"LEADER", e.Leader},
		{"LEADER_ADDR", e.LeaderAddr},
		{"PREVIOUS_LEADER", e.Previous},
		{"REASON", e.Reason},
		{"RULE", e.Rule},
		{"CLUSTER", e.Cluster},
		{"ELECTION", e.Election},
	}
	if e.Event != commandEvent { // which has no limit
		ours = append(ours, variable{"DEADLINE_MS", deadline(e.Limit)})
	}
	return overlay(inherited, ours)
}

// variable is one of ours, without the prefix.
type variable struct{ name, value string }

// overlay puts our variables in place of those of ours that are inherited.
func overlay(inherited []string, ours []variable) []string {
	env := make([]string, 0, len(inherited)+len(ours))
	for _, kv := range inherited {
		if !strings.HasPrefix(kv, prefix) {
			env = append(env, kv)
		}
	}
	for _, v := range ours {
		env = append(env, prefix+v.name+"="+v.value)
	}
	return env
}

func deadline(limit time.Duration) string {
	return strconv.FormatInt(max(limit.Milliseconds(), 0), 10)
}

// Result is how a run ended.
type Result struct {
	// Exit is the exit status; -1: it was killed, or could not be started.
	Exit int
	// Err is nil if the program exited by itself with status 0.
	Err error
	// Unusable: there was no run, and trying again at once is no use, because
	// the program is missing, cannot be executed, or was refused.
	Unusable bool
	Duration time.Duration
	// Left names the processes that the program left running when it exited, each
	// with its number; of many the first are named, and the last entry counts the others.
	// They have been killed, unless the run says otherwise.
	Left []string
	// Output is the beginning of what the program printed.
	Output string
}

// Runner runs one election's hook. Its runs must not overlap.
type Runner struct {
	// Path is the program, as an absolute path.
	Path string
	// Owner is the election.
	Owner Owner
	// Reaper is this process, if it is one; nil: it is not.
	Reaper *Reaper
}

// Run runs the hook once and waits until nothing of it is left, but for what an
// acquire that exits with status 0 leaves running: that lives until EndLasting.
// When ctx ends the run is killed, and the cause of ctx is the error.
func (r *Runner) Run(ctx context.Context, env Env) Result {
	env.Node, env.Cluster, env.Election = r.Owner.Node, r.Owner.Cluster, r.Owner.Election
	p := program{
		path: r.Path, args: []string{string(env.Event)}, env: env.environ(os.Environ()),
		tree: r.tree(classFor(env.Event)), spare: env.Event == Acquire,
	}
	return p.run(ctx)
}

// EndLasting kills what runs of acquire have left running, waits until it is dead,
// and names it.
func (r *Runner) EndLasting() ([]string, error) { return r.tree(lasting).end() }

func (r *Runner) tree(c class) *tree { return &tree{owner: r.Owner, class: c, reaper: r.Reaper} }
