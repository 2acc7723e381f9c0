package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doyen/agent/floatingip"
)

// addressOptions are the words of virtual_ipaddress that another word follows.
var addressOptions = []string{"dev", "label", "brd", "broadcast", "scope", "peer", "preferred_lft"}

// isAddress reports whether a word is an address, with or without a length.
func isAddress(w string) bool {
	host, _, _ := strings.Cut(w, "/")
	_, err := netip.ParseAddr(host)
	return err == nil
}

// address takes one address of virtual_ipaddress: ADDR[/LEN] and pairs of words.
func (m *model) address(i *instance, l *line) {
	l.value()
	iface := i.iface
	var lost []string
	for k := 1; k < len(l.words); k++ {
		w := l.words[k]
		if !slices.Contains(addressOptions, w) {
			lost = append(lost, w)
			continue
		}
		if k++; k == len(l.words) {
			lost = append(lost, w)
			continue
		}
		switch w {
		case "dev":
			iface = l.words[k]
		case "label":
			lost = append(lost, "the label (an address is found by 'ip addr', not by a name of its own)")
		case "brd", "broadcast":
			lost = append(lost, "the broadcast address")
		case "scope":
			if l.words[k] != "global" {
				lost = append(lost, "the scope")
			}
		default:
			lost = append(lost, w)
		}
	}
	text := l.key()
	if p, err := netip.ParseAddr(text); err == nil {
		text = fmt.Sprintf("%s/%d", p, p.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		m.notes.add(l, "%q is no address", l.key())
		return
	case iface == "":
		m.notes.add(l, "no line says on which interface")
		return
	}
	if _, err := floatingip.Parse(p.String() + "@" + iface); err != nil {
		m.notes.add(l, "it is no floating address: %v", err)
		return
	}
	if len(lost) > 0 {
		m.notes.add(l, "the address is carried over, but not %s", strings.Join(lost, ", "))
	}
	if f := p.String() + "@" + iface; !slices.Contains(i.addresses, f) {
		i.addresses = append(i.addresses, f)
	}
}

// host is an address without the length that some write after it.
func (m *model) host(l *line, s string) string {
	s, _, _ = strings.Cut(s, "/")
	a, err := netip.ParseAddr(s)
	if err != nil {
		m.notes.add(l, "%q is no address", s)
		return ""
	}
	return a.String()
}
