package voters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

// resolveTimeout limits how long the start waits for the names of voters.
const resolveTimeout = 5 * time.Second

// Seeds, as the only entry of a list, means that the seeds are the voters.
const Seeds = "seeds"

// Check returns the list of voters as all members write it, with the seeds in the place
// of the word Seeds. It refuses lists that the protocol cannot count: an entry is one
// node, and a node one entry. given is not changed.
func Check(given, seeds []string) ([]string, error) {
	voters := slices.Clone(given)
	if len(voters) == 0 {
		return voters, nil
	}
	if slices.Equal(voters, []string{Seeds}) {
		if voters = slices.Clone(seeds); len(voters) == 0 {
			return nil, errors.New("voters are the seeds, and there are no seeds")
		}
	}
	var faults []error
	for i, v := range voters {
		// All members must write the same list, even if their configurations differ.
		v = asDNS(v)
		voters[i] = v
		switch {
		case strings.TrimSpace(v) == "":
			faults = append(faults, errors.New("voters contain an empty entry"))
		case strings.HasPrefix(v, "srv+"), strings.HasPrefix(v, "exec:"):
			faults = append(faults, fmt.Errorf("voters entry %s may stand for several nodes; name each voter", v))
		case slices.Contains(voters[:i], v):
			faults = append(faults, fmt.Errorf("voters contain %s twice", v))
		case v == Seeds && !slices.Contains(seeds, v):
			faults = append(faults, fmt.Errorf("voters entry %s means all seeds, and stands alone; name each voter", v))
		case !slices.Contains(seeds, v):
			faults = append(faults, gossip.CheckEntry("voters", v))
		}
	}
	return voters, errors.Join(faults...)
}

// Digest stands for a list of voters, places included; "" for none. Twelve
// digits tell lists apart that people write; nothing rests on it.
func Digest(voters []string) string {
	if len(voters) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(voters, "\n")))
	return hex.EncodeToString(sum[:6])
}

// Wasted says what one more voter would be worth to a group of n, where that
// is much: one voter, or an even number, lose their majority no later than one less
// would, and one more carries one loss more. "" for an odd number, and for none.
func Wasted(n int) string {
	if n != 1 && (n <= 0 || n%2 == 1) {
		return ""
	}
	majority := n/2 + 1
	more := n + 1 + n%2
	verb, s := "are", "s"
	if n-majority+1 == 1 {
		verb = "is"
	}
	if n == 1 {
		s = ""
	}
	return fmt.Sprintf("with %d voter%s a majority is %d, so there is a leader until %d of them %s out of reach; with %d voters, until %d are",
		n, s, majority, n-majority+1, verb, more, more-more/2)
}

// asDNS returns a host, with or without a port, as DNS compares names: in lower
// case and without a final dot. An address is in its shortest form.
func asDNS(entry string) string {
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"), ""
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	} else {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// Resolver is the part of net.Resolver that Own needs.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Own returns the entry of the list of voters that this member is: the
// one equal to its name or its advertised address, or the one that resolves to
// that address; "" if it is none. An entry is one node and a node one entry;
// anything else is refused, because the votes could not be counted.
func Own(voters []string, name, addr string, at netip.AddrPort, r Resolver) (string, error) {
	own := ""
	for _, v := range voters {
		is := v == asDNS(name) || v == asDNS(addr)
		if !is {
			addrs, err := resolve(v, at, r)
			if err != nil {
				return "", err
			}
			is = slices.Contains(addrs, at)
		}
		switch {
		case is && own != "":
			return "", fmt.Errorf("voters entries %s and %s are both this node", own, v)
		case is:
			own = v
		}
	}
	return own, nil
}

// Address returns the address that an entry is; false: it is a name.
func Address(entry string) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(entry)
	if err != nil {
		host = entry
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err == nil
}

// resolve returns the address of an entry in the family of at. A name
// that cannot be resolved now is some other node's: this node's own names must
// be known to it before it can vote.
func resolve(entry string, at netip.AddrPort, r Resolver) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(entry)
	if err != nil {
		host, portText = entry, strconv.Itoa(int(at.Port()))
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("voters entry %s has no port between 0 and 65535", entry)
	}
	network := "ip6"
	if at.Addr().Is4() {
		network = "ip4"
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := r.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, nil
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	if addrs = slices.Compact(addrs); len(addrs) > 1 {
		return nil, fmt.Errorf("voters entry %s has %d addresses, and an entry must be one node", entry, len(addrs))
	}
	return addrs, nil
}

// TooFew says why no leader can be elected, or is empty: too few voters
// are in the group, or of those that are too few answer (0: not known).
func TooFew(voters, missing, answers int) string {
	switch there := voters - missing; {
	case 2*there <= voters:
		return fmt.Sprintf("only %d of %d voters are there, and a majority must confirm", there, voters)
	case answers > 0 && 2*answers <= voters:
		return fmt.Sprintf("only %d of %d voters answer, and a majority must confirm", answers, voters)
	}
	return ""
}

// Missing lists the voters that no member is.
func Missing(voters []string, members []seniority.Member) []string {
	var missing []string
	for _, v := range voters {
		if !slices.ContainsFunc(members, func(m seniority.Member) bool { return m.Voter == v }) {
			missing = append(missing, v)
		}
	}
	return missing
}
