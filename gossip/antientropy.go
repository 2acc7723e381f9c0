package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// memberlist would have two members exchange whole states now and then, lest
// what gossip missed stay missed: in a crowd that is most of what its members
// send, and nearly always for nothing. Here a member asks another first, in one
// small packet, whether its view is the same. Only if it is not, or no answer
// comes, do they exchange states. So rest costs a member the same in a group of
// any size, and what was missed is found as soon in each.

const (
	// compareInterval is how often a member compares its view with another's.
	compareInterval = 10 * time.Second
	// compareLimit is how long it waits for the answer.
	compareLimit = time.Second
)

// question is the question of another member whether it has the same view.
type question struct {
	digest uint64
	from   string
}

// compareViews compares this member's view with others', and answers theirs.
func (j *joiner) compareViews() {
	defer j.wg.Done()
	next := time.NewTimer(jitter(compareInterval))
	defer next.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case q := <-j.gossip.questions:
			j.answerQuestion(q)
		case <-next.C:
			pause := compareInterval
			for _, p := range j.gossip.members.some(1) {
				if !j.sameView(&p) && j.acquire() {
					_, _ = j.dial(p.Addr) // if it fails, memberlist is about to notice
					j.release()
					pause = max(pause, retryLimit(j.gossip.members.size()))
				}
			}
			next.Reset(jitter(pause))
		}
	}
}

// sameView asks a member whether its view is this member's.
func (j *joiner) sameView(p *Peer) bool {
	digest := j.gossip.members.digest()
	j.gossip.sendTo(p.Name, p.Addr, append(binary.BigEndian.AppendUint64([]byte{questionByte}, digest), j.gossip.cfg.Name...))
	limit := time.NewTimer(compareLimit)
	defer limit.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return true
		case q := <-j.gossip.questions:
			j.answerQuestion(q)
		case same := <-j.gossip.agreed:
			if same == digest {
				return true
			}
		case <-limit.C:
			return false
		}
	}
}

// answerQuestion says so if this member's view is the same. Nothing else needs
// an answer: who asked exchanges states then, and can be reached or would not
// be in the view.
func (j *joiner) answerQuestion(q question) {
	if p, ok := j.gossip.members.member(q.from); ok && q.digest == j.gossip.members.digest() {
		j.gossip.sendTo(p.Name, p.Addr, binary.BigEndian.AppendUint64([]byte{agreedByte}, q.digest))
	}
}

// hearQuestion and hearAgreed take what memberlist has carried, and leave it to
// the joiner, for memberlist must not wait. What comes too fast is dropped; it
// ends in an exchange of states.
func (g *Gossip) hearQuestion(b []byte) {
	if len(b) < 9 {
		g.findings.Count("message-malformed")
		return
	}
	select {
	case g.questions <- question{digest: binary.BigEndian.Uint64(b[1:9]), from: string(b[9:])}:
	default:
		g.findings.Count("question-dropped")
	}
}

func (g *Gossip) hearAgreed(b []byte) {
	if len(b) != 9 {
		g.findings.Count("message-malformed")
		return
	}
	select {
	case g.agreed <- binary.BigEndian.Uint64(b[1:]):
	default:
		g.findings.Count("answer-dropped")
	}
}

// digest stands for the view: the same wherever the same members are seen.
func (r *members) digest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.digested == 0 {
		h := sha256.New()
		var b []byte
		for _, p := range r.seen().Members {
			b = append(append(b[:0], p.Name...), 0)
			b = append(p.Addr.AppendTo(b), 0)
			h.Write(appendMeta(b, &p))
		}
		r.digested = binary.BigEndian.Uint64(h.Sum(nil))
	}
	return r.digested
}
