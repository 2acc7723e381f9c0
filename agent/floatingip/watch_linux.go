package floatingip

import (
	"errors"
	"time"
)

// watch puts back and announces until the Set is closed.
func (s *Set) watch() {
	announcements := newSchedule()
	repair, lapse := time.NewTimer(0), time.NewTimer(0)
	<-repair.C
	<-lapse.C
	s.links.Wait()
	usable := s.links.Usable() == nil
	for {
		select {
		case <-s.done:
			return
		case <-s.reader.news:
			s.lasting(NotWatched, s.feed.failing(), "see why the host denies the agent sockets; until then addresses removed by hand are put back up to a second late")
			repair.Reset(s.pause())
		case <-repair.C:
			s.repair()
		case <-s.ended:
			lapse.Reset(0)
		case <-lapse.C:
			if left := s.lapse(); left > 0 {
				lapse.Reset(left)
			}
		case links := <-s.relink:
			s.links.Close()
			links.Wait()
			s.links, usable = links, links.Usable() == nil
		case <-s.links.Changed():
			was := usable
			usable = s.links.Usable() == nil
			if usable && !was {
				s.repair()
				s.Announce()
			}
		case <-s.again:
			announcements.restart()
			s.announceNow()
		case <-announcements.timer.C:
			announcements.next()
			s.announceNow()
		}
	}
}

// pause is how long the next repair has to wait.
func (s *Set) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restored == 0 {
		return 0
	}
	return max(s.restored+restoreEvery-s.cfg.Now(), 0)
}

func (s *Set) repair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.restore()
	if errors.Is(err, ErrNotLeading) {
		err = nil // there is nothing to restore any more
	}
	if err != nil || !s.cfg.Leads() {
		s.see()
	}
	s.lasting(NotRestored, err, "look at the interface; the addresses are tried again with the next check")
}

func (s *Set) announceNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announceAll()
}

// schedule says when to announce again: along the series, then now and then.
type schedule struct {
	timer *time.Timer
	begun time.Time
	step  int
}

func newSchedule() *schedule {
	return &schedule{timer: time.NewTimer(nowAndThen), step: len(series)}
}

func (c *schedule) restart() {
	c.begun, c.step = time.Now(), 0
	c.next()
}

func (c *schedule) next() {
	if c.step == len(series) {
		c.timer.Reset(nowAndThen)
		return
	}
	c.timer.Reset(time.Until(c.begun.Add(series[c.step])))
	c.step++
}
