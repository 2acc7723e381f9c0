package agent

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doyen/seniority"
)

func TestZeroConfigIsTheDefaults(t *testing.T) {
	s, err := Config{}.validate()
	if err != nil {
		t.Fatal(err)
	}
	lan, _ := seniority.Profile("lan")
	if s.BindAddr != "0.0.0.0" || s.port != 4000 || s.Cluster != "default" || s.Rule != "seniority" ||
		s.role != seniority.Candidate || s.loneWait != 10*time.Second || s.preempt || s.timing != lan ||
		s.HealthInterval != 2*time.Second || s.HealthTimeout != 2*time.Second || s.HealthRise != 2 || s.HealthFall != 3 ||
		s.HookTimeout != 30*time.Second || s.CheckInterval != 5*time.Second || s.mode() != "available" {
		t.Errorf("not the defaults: %+v", s)
	}
}

func TestZeroCanMeanSomething(t *testing.T) {
	s, err := Config{
		BindPort: new(0), LoneWait: new(time.Duration(0)), Preempt: new(false), Rule: "bully",
		Timing: seniority.Timing{ReleaseBudget: -1},
	}.validate()
	if err != nil {
		t.Fatal(err)
	}
	if s.port != 0 || s.loneWait != 0 || s.preempt || s.timing.ReleaseBudget != 0 {
		t.Errorf("zero was taken for the default: %+v", s)
	}
}

// At the top level, as in an election, off is no program of that name.
func TestOffIsNoHookAndNoHealthCheck(t *testing.T) {
	s, err := Config{Hook: Off, Health: Off, Elections: map[string]ElectionConfig{"web": {}}}.validate()
	if err != nil {
		t.Fatal(err)
	}
	if s.Hook != "" || s.Health != "" {
		t.Errorf("want no hook and no health check, got %q and %q", s.Hook, s.Health)
	}
	if web := s.elections["web"]; web.Hook != "" || web.Health != "" {
		t.Errorf("election web: want no hook and no health check, got %q and %q", web.Hook, web.Health)
	}
}

func TestBullyPreemptsByDefault(t *testing.T) {
	if s, err := (Config{Rule: "bully"}).validate(); err != nil || !s.preempt {
		t.Errorf("want true, got %v (%v)", s.preempt, err)
	}
}

func TestALeaseBringsItsRenewal(t *testing.T) {
	s, err := Config{Timing: seniority.Timing{Lease: 600 * time.Millisecond}}.validate()
	if err != nil {
		t.Fatal(err)
	}
	if s.timing.Renewal != 200*time.Millisecond {
		t.Errorf("renewal: want 200ms, got %v", s.timing.Renewal)
	}
}

func TestSettingsShareNothingWithTheConfig(t *testing.T) {
	c := Config{Seeds: []string{"a:1"}, Voters: []string{"seeds"}}
	s, err := c.validate()
	if err != nil {
		t.Fatal(err)
	}
	c.Seeds[0] = "b:1"
	if s.Seeds[0] != "a:1" || s.Voters[0] != "a:1" {
		t.Errorf("a later change of the config shows: %v, %v", s.Seeds, s.Voters)
	}
}

func TestBadConfigIsASentenceThatNamesTheFlag(t *testing.T) {
	for want, c := range map[string]Config{
		"bind-port of 70000 is not between 0 and 65535":                         {BindPort: new(70000)},
		`name "a b" contains a space`:                                           {Name: "a b"},
		`seeds entry "a:x" has a port that is not between 1 and 65535`:          {Seeds: []string{"a:x"}},
		`seeds entry "http://a" is not host[:port]`:                             {Seeds: []string{"http://a"}},
		`voters entry "a:0" has a port that is not between 1 and 65535`:         {Voters: []string{"a:0"}},
		`voters entry "a/b" is not host[:port]`:                                 {Voters: []string{"a/b"}},
		`advertise-addr "a:b" has a port that is not`:                           {AdvertiseAddr: "a:b"},
		`http of "4001" is neither off nor [HOST]:PORT`:                         {HTTP: "4001"},
		`http of "a:b" has no port between`:                                     {HTTP: "a:b"},
		`floating-ip: "10.0.0.300/24@eth0": "10.0.0.300/24" is not an address`:  {FloatingIPs: []string{"10.0.0.300/24@eth0"}},
		"cluster of 201 bytes is longer than 200":                               {Cluster: strings.Repeat("c", 201)},
		"name of 256 bytes is longer than 200":                                  {Name: strings.Repeat("n", 256)},
		"seeds contain an empty entry":                                          {Seeds: []string{"a", " "}},
		`rule "oldest" is none of`:                                              {Rule: "oldest"},
		`role "king" is none of`:                                                {Role: "king"},
		`profile "slow" is none of`:                                             {Profile: "slow"},
		"with profile lan, renewal of 1s is more than half":                     {Timing: seniority.Timing{Renewal: time.Second}},
		"with profile lan, lease of 500ms is shorter than":                      {Voters: []string{"a"}, Timing: seniority.Timing{Lease: 500 * time.Millisecond}},
		"preempt-delay of -1s is negative":                                      {PreemptDelay: -time.Second},
		"hook-timeout of -1s is negative":                                       {HookTimeout: -time.Second},
		"hook-timeout of 2562047h47m16.854775807s is longer than 100 years":     {HookTimeout: math.MaxInt64},
		"lone-wait of 2562047h47m16.854775807s is longer than 100 years":        {LoneWait: new(time.Duration(math.MaxInt64))},
		"election web: check-interval of 876000h0m0.000000001s is longer":       {Elections: map[string]ElectionConfig{"web": {CheckInterval: maxDuration + 1}}},
		"health-interval of -1s is negative":                                    {HealthInterval: -time.Second},
		"health-timeout of -1s is negative":                                     {HealthTimeout: -time.Second},
		"health-rise of -1 is negative":                                         {HealthRise: -1},
		"health-fall of -2 is negative":                                         {HealthFall: -2},
		`keeper "maybe" is neither on nor off`:                                  {Keeper: "maybe"},
		"voters are the seeds, and there are no seeds":                          {Voters: []string{"seeds"}},
		"voters contain a:1 twice":                                              {Voters: []string{"a:1", "b:1", "a:1"}},
		"voters entry srv+_x may stand for several nodes; name each voter":      {Voters: []string{"srv+_x"}},
		"voters entry exec:/bin/x may stand for several nodes; name each voter": {Voters: []string{"exec:/bin/x"}},
	} {
		err := c.Validate()
		if err == nil {
			t.Errorf("want %q, got no error", want)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one sentence with %q, got %q", want, err)
		}
		if !errors.Is(err, ErrUnusable) {
			t.Errorf("%q is not ErrUnusable", err)
		}
	}
}

// What New alone can find out about a configuration is ErrUnusable as well; a port that
// is taken is not.
func TestNewSaysThatAConfigurationIsUnusable(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   bool
	}{
		{"a rule that is none", func(c *Config) { c.Rule = "oldest" }, true},
		{"a command that is not there", func(c *Config) { c.Run = []string{"/nowhere/command"} }, true},
		{"two entries for this node", func(c *Config) {
			c.Name, c.Voters = "a", []string{"a", "127.0.0.1:4000"}
			c.AdvertiseAddr = "127.0.0.1:4000"
		}, true},
		{"an observer with a vote", func(c *Config) { c.Name, c.Voters, c.Role = "a", []string{"a"}, "observer" }, true},
		{"a key that is none", func(c *Config) { c.EncryptKeyFile = key }, true},
		{"a port that is taken", func(c *Config) { c.BindPort = &port }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{BindAddr: "127.0.0.1", BindPort: new(0), Logger: slog.New(slog.DiscardHandler)}
			test.change(&c)
			if _, err := New(c); err == nil || errors.Is(err, ErrUnusable) != test.want {
				t.Errorf("want ErrUnusable: %v, got %v", test.want, err)
			}
		})
	}
}

// Validate names every fault, each in a line of its own.
func TestValidateNamesEveryFault(t *testing.T) {
	err := Config{
		BindPort: new(70000), Seeds: []string{"a:x", "b", "http://c"}, Rule: "oldest", Role: "king", HTTP: "4001",
		FloatingIPs: []string{"x"}, HookTimeout: -time.Second, HealthRise: -1,
	}.Validate()
	if got, want := strings.Count(err.Error(), "\n")+1, 9; got != want {
		t.Errorf("want %d faults, got %d:\n%v", want, got, err)
	}
}

func TestWarnings(t *testing.T) {
	for want, c := range map[string]Config{
		"": {Voters: []string{"a", "b", "c"}, Rule: "bully", ID: 7},
		"with 1 voter a majority is 1, so there is a leader until 1 of them is out of reach; with 3 voters, until 2 are":   {Voters: []string{"a"}},
		"with 2 voters a majority is 2, so there is a leader until 1 of them is out of reach; with 3 voters, until 2 are":  {Voters: []string{"a", "b"}},
		"with 4 voters a majority is 3, so there is a leader until 2 of them are out of reach; with 5 voters, until 3 are": {Voters: []string{"a", "b", "c", "d"}},
		"id of 7 has no effect with the rule seniority: it ranks members with --rule bully alone":                          {ID: 7},
	} {
		if got := strings.Join(c.Warnings(), "\n"); got != want {
			t.Errorf("%+v: want %q, got %q", c, want, got)
		}
	}
}
