package keepalived

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Note names a line that could not be carried over, and says why.
type Note struct {
	File string
	Line int
	Text string // the line, without what is in its block
	Why  string
}

// String is the note in one line.
func (n Note) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Text, n.Why)
}

// maxText is how much of a line a note repeats.
const maxText = 60

type notes struct{ list []Note }

// add names a line, which is then done with.
func (n *notes) add(l *line, format string, args ...any) {
	l.used, l.named = true, true
	text := []rune(strings.Join(l.words, " "))
	if strings.HasPrefix(l.key(), "auth_pass") {
		text = []rune(l.key()) // the output may be shown to others
	}
	if len(text) > maxText {
		text = append(text[:maxText], '…')
	}
	n.list = append(n.list, Note{File: l.file, Line: l.num, Text: string(text), Why: fmt.Sprintf(format, args...)})
}

// rest names every line that nothing has used, and every word of a line that nothing
// has read. A block that is not used is one note.
func (n *notes) rest(in *line) {
	for _, l := range slices.Concat(in.body, in.parts) {
		if !l.used {
			n.add(l, "%s", reason(l))
			continue
		}
		if left := l.words[1+l.read:]; len(left) > 0 && !l.named {
			n.add(l, "this is carried over without %q", strings.Join(left, " "))
		}
		n.rest(l)
	}
}

// sorted are the notes in the order of the lines. Files beside or below the main
// one are called as seen from there, and others by their whole path below root.
func (n *notes) sorted(main, root string) []Note {
	dir := path.Dir(main) + "/"
	for i := range n.list {
		name := &n.list[i].File
		if below, ok := strings.CutPrefix(*name, dir); ok {
			*name = below
		} else if dir != "./" {
			*name = root + *name
		}
	}
	files := map[string]int{}
	for _, note := range n.list {
		if _, known := files[note.File]; !known {
			files[note.File] = len(files)
		}
	}
	slices.SortStableFunc(n.list, func(a, b Note) int {
		return cmp.Or(cmp.Compare(files[a.File], files[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return n.list
}

// Why a line has no counterpart.
const (
	ipvs      = "balancing connections over servers (IPVS) is no task of the agent: keep keepalived for it, without its VRRP, or put HAProxy or nginx there"
	network   = "addresses and routes that do not move belong to the network configuration of the host"
	announced = "the agent announces an address when it takes it, in the seconds after, after every sign of another leader, and now and then; that is not configured"
	mail      = "the agent sends no mail: alert on its metrics (examples/prometheus), or have a hook send it"
	told      = "there is no VRRP here whose details could be set"
	running   = "how a process is run is for its service manager to say (examples/systemd)"
	watched   = "what it watches is not watched by the agent: let a --health program look at it"
	apart     = "groups are told apart by their seeds and by --cluster"
)

// why are the reasons by keyword, or by its beginning where that ends with *.
var why = map[string]string{
	"virtual_server*":      ipvs,
	"real_server":          ipvs,
	"lvs_*":                ipvs,
	"checker*":             ipvs,
	"SSL":                  ipvs,
	"static_*":             network,
	"garp_*":               announced,
	"gna_*":                announced,
	"vrrp_garp*":           announced,
	"vrrp_gna*":            announced,
	"vrrp_min_garp":        announced,
	"notification_email*":  mail,
	"smtp_*":               mail,
	"email_faults":         mail,
	"vrrp_*":               told,
	"version":              told,
	"strict_mode":          told,
	"virtual_router_id":    apart,
	"mcast_*":              "the others are found by their addresses, not by multicast",
	"native_ipv6":          told,
	"skip_check_adv_addr":  told,
	"accept":               "a floating address always takes connections",
	"no_accept":            "a floating address always takes connections",
	"use_vmac*":            "an address is put on the interface itself, with its own MAC address",
	"vmac_*":               "an address is put on the interface itself, with its own MAC address",
	"use_ipvlan":           "an address is put on the interface itself",
	"track_bfd":            watched,
	"bfd_instance":         watched,
	"track_file":           watched,
	"vrrp_track_file":      watched,
	"vrrp_track_bfd":       watched,
	"track_group":          watched,
	"track_src_ip":         "an agent whose own address goes away is no candidate, without being told",
	"dont_track_primary":   "a leader whose floating address has lost its carrier always hands over",
	"linkbeat_*":           "the carrier is asked of the kernel",
	"virtual_routes":       "the agent moves addresses only: let the hook add the route on acquire and delete it on release",
	"virtual_rules":        "the agent moves addresses only: let the hook add the rule on acquire and delete it on release",
	"promote_secondaries":  "the sysctl belongs to the host; a floating address is never primary where the host has one of its own",
	"nftables":             "the agent makes its own table of nftables",
	"iptables":             "the agent makes its own table of nftables",
	"process_names":        running,
	"router_id":            "a member is called by its address, or by --name",
	"net_namespace*":       running,
	"instance":             running,
	"use_pid_dir":          running,
	"enable_script_*":      "it is always so: as root, a program that others could have written is refused",
	"enable_dbus":          "use the HTTP API (GET /events)",
	"enable_snmp*":         "use the metrics (GET /metrics)",
	"enable_traps":         "use the metrics (GET /metrics)",
	"snmp_*":               "use the metrics (GET /metrics)",
	"dynamic_interfaces":   "an interface may come and go, without being told",
	"default_interface":    "every instance names its own",
	"script_user":          "hook and health check run as the user of the agent",
	"max_auto_priority":    running,
	"bfd_*":                running,
	"umask":                running,
	"child_wait_time":      running,
	"reload_*":             running,
	"startup_script":       running,
	"shutdown_script":      running,
	"notify_fifo*":         "follow GET /events, or 'agent watch --json'",
	"notify_master_rx*":    "a leader that learns of another yields or stays by the rule; 'agent watch' tells",
	"notify_deleted":       "there is no such state here",
	"notify_priority*":     "there is no priority that changes",
	"smtp_alert":           mail,
	"global_tracking":      "a sync group is one election here, which is judged as one",
	"sync_group_tracking*": "a sync group is one election here, which is judged as one",
	"preempt":              "it says what already holds",
	"debug":                "--log-level debug",
	"unicast_fault_no_*":   "seeds are asked for ever, and none need be there",
	"check_unicast_src":    told,
	"unicast_ttl":          told,
	"garp":                 announced,
	"no_email_faults":      mail,
	"log_*":                "--log-level and --log-format",
	"data_use_instance":    running,
	"lower_prio_no_advert": told,
	"higher_prio_send*":    told,
	"old_unicast_checksum": told,
	"down_timer_adverts":   "the profile says how soon a silent leader is replaced",
	"thread_timer_expired": running,
	"disable_local_igmp":   told,
	"no_virtual_ipaddress": "an election needs no address",
	"ha_suspend":           ipvs,
}

// reason says why a line is not carried over.
func reason(l *line) string {
	if r, ok := why[l.key()]; ok {
		return r
	}
	longest, r := -1, ""
	for k, v := range why {
		if start, ok := strings.CutSuffix(k, "*"); ok && strings.HasPrefix(l.key(), start) && len(start) > longest {
			longest, r = len(start), v
		}
	}
	if longest < 0 {
		return "the import does not know this line"
	}
	return r
}
