package floatingip

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, text := range []string{"10.0.0.9/24@eth0", "10.0.0.0/31@eth0", "10.0.0.255/32@eth0.12", "fd00::9/64@bond0", "fe80::9/64@eth0"} {
		a, err := Parse(text)
		if err != nil || a.String() != text {
			t.Errorf("Parse(%q): want the same back, got %v, %v", text, a, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.9/24":                  "lacks the interface",
		"10.0.0.9@eth0":                "lacks the length",
		"10.0.0.9/33@eth0":             "is not an address with the length of its network",
		"10.0.0.9/24@":                 "not the name of an interface",
		"10.0.0.9/24@a/b":              "not the name of an interface",
		"10.0.0.9/24@sixteen-letters-": "not the name of an interface",
		"10.0.0.0/24@eth0":             "the network itself",
		"10.0.0.255/24@eth0":           "broadcast",
		"0.0.0.0/24@eth0":              "could reach",
		"127.0.0.1/8@lo":               "could reach",
		"224.0.0.18/24@eth0":           "could reach",
		"::ffff:10.0.0.1/120@eth0":     "IPv6 form",
		"10.0.0.9/0@eth0":              "length 0",
		"host/24@eth0":                 "is not an address with the length of its network",
		"fe80::1%eth0/64@eth0":         "zone",
		"10.0.0.9/24@eth0@eth1":        "not the name of an interface",
	} {
		if a, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): want an error with %q, got %v, %v", text, want, a, err)
		}
	}
}

func TestParseAllRefusesTwins(t *testing.T) {
	if _, err := ParseAll([]string{"10.0.0.9/24@eth0", "10.0.0.9/32@eth1"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("want an error with \"twice\", got %v", err)
	}
	all, err := ParseAll([]string{"10.0.0.9/24@eth0", "fd00::9/64@eth0"})
	if err != nil || len(all) != 2 {
		t.Errorf("want two addresses, got %v, %v", all, err)
	}
}
