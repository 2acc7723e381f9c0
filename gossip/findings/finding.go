package findings

// Finding is something a person should know, and what to do about it.
type Finding struct {
	// What is a stable word, such as "name-clash".
	What string `json:"what"`
	// Member is the member or the address that it is about.
	Member string `json:"member"`
	// Election is the election that it is about; "": the group's own, or all.
	Election string `json:"election,omitempty"`
	// Evidence is what was seen.
	Evidence string `json:"evidence"`
	// Advice is what to do about it.
	Advice string `json:"advice"`
	// Degrades is true when the finding needs a hand: a verdict is then at best
	// "degraded".
	Degrades bool `json:"degrades"`
}

// The words of the findings of gossip.
const (
	NameClash      = "name-clash"
	OtherCluster   = "other-cluster"
	ForeignProgram = "foreign-program"
	Undecryptable  = "undecryptable"
	UDPBlocked     = "udp-blocked"
	SeedUnreached  = "seed-unreached"
	RuleDiffers    = "rule-differs"
	ModeDiffers    = "mode-differs"
	SeedAdded      = "seed-added"
)

// advice is what to do about each finding, and whether that is needed for the
// group to work.
var advice = map[string]struct {
	text     string
	degrades bool
}{
	NameClash:      {"give each member its own --name; the one that came later takes no part until then", true},
	OtherCluster:   {"give it this member's --cluster if it belongs here, or take this address out of its --seeds", false},
	ForeignProgram: {"another program that speaks memberlist, or none at all, sends to this port: take this address out of its configuration", false},
	Undecryptable:  {"give both sides a common key in --encrypt-key-file", true},
	UDPBlocked:     {"let UDP through on the same port as TCP: elections need it", true},
	SeedUnreached:  {"check the address in --seeds, and that both TCP and UDP get through to its port", true},
	RuleDiffers:    {"give every member the same --rule", true},
	SeedAdded:      {"write it into --seeds of this member, or of the group, if it is to last: a restart forgets it", false},
	ModeDiffers:    {"give every member the same --voters", true},
}

// New returns the finding of gossip that has this word, with its advice.
func New(what, member, evidence string) Finding {
	a := advice[what]
	return Finding{What: what, Member: member, Evidence: evidence, Advice: a.text, Degrades: a.degrades}
}
