package gossip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// A member may publish more than fits into its meta: its detail. The meta has the
// detail's sum alone. A member that has another one of a peer, or none, asks that
// peer for it over a connection of its own, as Query does.

const (
	// maxDetail bounds a detail, in bytes.
	maxDetail = 64 << 10
	// detailLimit bounds one question for it. detailRetry is the pause after one that
	// failed, which doubles up to maxDetailRetry.
	detailLimit    = time.Second
	detailRetry    = 250 * time.Millisecond
	maxDetailRetry = 8 * time.Second
	// detailsAtOnce is how many members are asked at the same time.
	detailsAtOnce = 8
	// detailQuestion is the kind of the question for the detail.
	detailQuestion = 'd'
)

// detailSum tells details apart; zero stands for none.
type detailSum [8]byte

func sumOf(detail []byte) (sum detailSum) {
	if len(detail) > 0 {
		full := sha256.Sum256(detail)
		copy(sum[:], full[:])
	}
	return sum
}

// SetDetail publishes what this member has to say beyond its meta; nil: nothing.
// It never blocks; of several in a row only the last is published.
func (g *Gossip) SetDetail(detail []byte) {
	if len(detail) > maxDetail {
		g.findings.Count("detail-too-long")
		return
	}
	g.detail.Store(&detail)
	if g.members.change(func(p *Peer) { p.detail = sumOf(detail) }) {
		poke(g.publish)
	}
}

// Detail returns what a member of the view has published beyond its meta, as far
// as it has been fetched: an older one may be returned until the newest is here.
// current says whether it is the newest that is known of.
func (g *Gossip) Detail(name string) (detail []byte, current bool) {
	return g.members.detailOf(name)
}

// details are the details of the others.
type details struct {
	texts  map[string][]byte
	wanted chan struct{} // capacity one: one is missing or old
}

// detailOf returns the detail of a member and whether it is its newest.
func (r *members) detailOf(name string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.members[name]
	if !ok {
		return nil, true
	}
	text := r.details.texts[name]
	return text, p.detail == sumOf(text)
}

// staleDetails returns the members whose newest detail is not here.
func (r *members) staleDetails() (stale []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, p := range r.members {
		if p.detail != sumOf(r.details.texts[name]) {
			stale = append(stale, p)
		}
	}
	return stale
}

// putDetail takes in what a member has answered. It may be newer than the meta
// that is known: that one, once it comes, is then not asked for again.
func (r *members) putDetail(name string, detail []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.members[name]; !ok || bytes.Equal(r.details.texts[name], detail) {
		return
	}
	if len(detail) == 0 {
		delete(r.details.texts, name)
	} else {
		r.details.texts[name] = detail
	}
	r.touch()
}

// forgetDetails drops, with mu held, the details of members that have gone.
func (r *members) forgetDetails() {
	if len(r.details.texts) <= 2*len(r.members)+detailsAtOnce {
		return
	}
	for name := range r.details.texts {
		if _, ok := r.members[name]; !ok {
			delete(r.details.texts, name)
		}
	}
}

// fetchDetails asks for the details that are missing or old, until Close.
func (g *Gossip) fetchDetails() {
	defer g.wg.Done()
	for {
		select {
		case <-g.life.Done():
			return
		case <-g.members.details.wanted:
		}
		for pause := detailRetry; ; {
			stale := g.members.staleDetails()
			if len(stale) == 0 {
				break
			}
			if !g.fetchFrom(stale[:min(len(stale), detailsAtOnce)]) {
				select {
				case <-g.life.Done():
					return
				case <-g.members.details.wanted:
					pause = detailRetry
				case <-time.After(pause):
					pause = min(2*pause, maxDetailRetry)
				}
			}
		}
	}
}

// fetchFrom asks members for their details; false if one has not answered.
func (g *Gossip) fetchFrom(peers []Peer) bool {
	ok := make([]bool, len(peers))
	var asked sync.WaitGroup
	for i, p := range peers {
		asked.Go(func() {
			if p.detail == (detailSum{}) {
				g.members.putDetail(p.Name, nil)
				ok[i] = true
				return
			}
			ctx, cancel := context.WithTimeout(g.life, detailLimit)
			defer cancel()
			text, err := g.queryTCP(ctx, p.Name, p.Addr, detailQuestion)
			ok[i] = err == nil && sumOf(text) == p.detail
			if err == nil {
				g.members.putDetail(p.Name, text)
			}
		})
	}
	asked.Wait()
	all := true
	for _, one := range ok {
		all = all && one
	}
	return all
}
