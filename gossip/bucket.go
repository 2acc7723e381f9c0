package gossip

import (
	"sync"
	"time"
)

// bucket admits so many things at once and so many a second after them. The
// zero value is full.
type bucket struct {
	mu   sync.Mutex
	at   time.Time
	left float64
}

// take reports whether one more is admitted.
func (b *bucket) take(burst, rate float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(burst, b.left+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
