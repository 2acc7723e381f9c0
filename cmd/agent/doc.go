// Agent elects one leader among the machines of a group, and acts on it.
//
// Without a command it is the agent itself, and runs until SIGTERM or SIGINT:
// it then hands over, releases, leaves, and exits 0; a second signal exits at
// once, and the keeper releases. SIGHUP reads the configuration and the files with
// secrets again; the log names what counts only from the next start on. 'agent help'
// lists the flags and the other commands: those that ask or tell a running agent over
// HTTP, and those that need none.
//
// # Settings
//
// Every setting is one line of the table in settings.go, and so has a flag, an
// environment variable and a key in the YAML file of --config, all of one name
// and checked by one function. A flag overrides the environment, that the file,
// that the default; of a list, the first source that has any entries counts. A
// key that is unknown or given twice is an error. All faults are named at once, a
// line each. Secrets come only from files,
// and from none that others can read; see doyen/gossip/secretfile.
//
// # Exit codes
//
// 0: done; for leader and status there is a leader, for is-leader this member leads,
// for diag all that answered agree besides. 1: could not ask, could not be done, or
// could not start. 2: no leader (is-leader, exec: this member does not lead; ready: not
// ready), or a bad flag or configuration. 3: two leaders, or members that disagree
// (exec: the lead was lost); else exec has the exit code of its command. What went wrong is one sentence on stderr.
//
// # Under systemd
//
// The agent tells it when it has joined and knows a leader, or has looked for one
// for 30 s; what it does, in words; when it reads its files again; and when it
// leaves. The watchdog is fed while the election loop turns. Text that goes to
// the journal has priorities instead of time stamps. 'agent release' gives up
// what an agent of the same configuration that has ended still holds. The unit,
// and why it signals as it does, is in examples/systemd; 'agent man' prints the
// manual page for packages.
//
// # agent exec
//
// It runs a command under one leadership of the member that it asks (exec_linux.go). An
// open connection holds a planned hand-over back, and the lease is asked for again and
// again; a command that it cannot confirm any more is killed in time (hold_linux.go).
//
// # The keeper
//
// The agent starts this program a second time, as its keeper; see
// doyen/agent/keeper. That is why main looks at its first argument before
// anything else.
//
// As the first process of a container it runs itself once more, as its child,
// and only passes on signals, reaps, and waits for agent and keeper; see first_linux.go.
package main
