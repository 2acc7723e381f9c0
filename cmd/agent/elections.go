package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"doyen/agent"

	"go.yaml.in/yaml/v3"
)

// electionKeys are the settings that an election may have of its own; prefer is
// one of its own alone.
var electionKeys = []string{
	"hook", "hook-timeout", "check-interval", "health", "health-interval", "health-timeout", "health-rise", "health-fall",
	"rule", "id", "role", "preempt", "preempt-delay", "floating-ip", "run", "prefer",
}

// prefer is what only an election can be told.
var prefer = setting{name: "prefer", list: true, set: entry(func(o *options) *[]string { return &o.prefer })}

// electionSetting returns the setting that a key of an election stands for.
func electionSetting(key string) (setting, bool) {
	if key == prefer.name {
		return prefer, true
	}
	s, known := find(key)
	return s, known && slices.Contains(electionKeys, s.name)
}

// addElection is the setter of one name of the flag or of a list in the file.
func addElection(o *options, name string) error {
	if err := agent.CheckElectionName(name); err != nil {
		return err
	}
	if _, twice := o.Elections[name]; twice {
		return fmt.Errorf("%s is given twice", name)
	}
	if o.Elections == nil {
		o.Elections = map[string]agent.ElectionConfig{}
	}
	o.Elections[name] = agent.ElectionConfig{}
	return nil
}

// electionMap reads the map of elections in the file: what each is told, by name,
// and the names in their order.
func electionMap(n *yaml.Node, fault func(line int, format string, args ...any) error) (names []string, own map[string]map[string]given, err error) {
	own = map[string]map[string]given{}
	var faults []error
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		if name == "" { // a list of names drops what is empty, as after a last comma
			faults = append(faults, fault(n.Content[i].Line, "elections: a name is empty"))
		}
		names = append(names, name)
		values := map[string]given{}
		own[name] = values
		switch {
		case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
			continue
		case value.Kind != yaml.MappingNode:
			faults = append(faults, fault(value.Line, "election %s is not a map such as {floating-ip: 10.0.0.100/24@eth0}", name))
			continue
		}
		for k := 0; k < len(value.Content); k += 2 {
			key, v := value.Content[k], value.Content[k+1]
			s, known := electionSetting(key.Value)
			if !known {
				faults = append(faults, fault(key.Line, "election %s: unknown key %q%s", name, key.Value, didYouMean(key.Value, electionKeys)))
				continue
			}
			if _, twice := values[s.name]; twice {
				faults = append(faults, fault(key.Line, "election %s: %s is given twice", name, s.name))
				continue
			}
			scalars, err := s.valuesOf(v)
			if err != nil {
				faults = append(faults, fault(v.Line, "election %s: %v", name, err))
			}
			values[s.name] = given{values: scalars, from: fmt.Sprintf("line %d", v.Line)}
		}
	}
	return names, own, errors.Join(faults...)
}

// valuesOf returns what the file gives for a setting.
func (s setting) valuesOf(n *yaml.Node) ([]string, error) {
	scalars, ok := scalarsOf(n, s.list || s.argv)
	if s.argv {
		ok = ok && n.Kind == yaml.SequenceNode && len(scalars) > 0
	}
	if !ok {
		return nil, fmt.Errorf("%s is not %s", s.name, s.wanted())
	}
	return scalars, nil
}

// takeElection stores what an election is told of its own.
func (o *options) takeElection(name string, values map[string]given) error {
	var own options
	var faults []error
	for _, key := range electionKeys {
		s, _ := electionSetting(key)
		if err := own.take(s, []func(setting) given{func(s setting) given { return values[s.name] }}); err != nil {
			faults = append(faults, fmt.Errorf("election %s: %w", name, err))
		}
	}
	c := &own.Config
	e := agent.ElectionConfig{
		Hook: c.Hook, HookTimeout: c.HookTimeout, CheckInterval: c.CheckInterval,
		Health: c.Health, HealthInterval: c.HealthInterval, HealthTimeout: c.HealthTimeout, HealthRise: c.HealthRise, HealthFall: c.HealthFall,
		Rule: c.Rule, Role: c.Role, Preempt: c.Preempt, FloatingIPs: c.FloatingIPs, Run: c.Run, Prefer: own.prefer,
	}
	if len(values["id"].values) > 0 {
		e.ID = &c.ID
	}
	if len(values["preempt-delay"].values) > 0 {
		e.PreemptDelay = &c.PreemptDelay
	}
	if _, named := o.Elections[name]; named { // else its name is refused
		o.Elections[name] = e
	}
	return errors.Join(faults...)
}

// setRebalanceDelay takes 0s for at once, which is the shortest delay to package
// agent, whose zero means the default.
func setRebalanceDelay(o *options, v string) error {
	d, err := parseDuration(v)
	if o.RebalanceDelay = d; d == 0 {
		o.RebalanceDelay = time.Nanosecond
	}
	return err
}
