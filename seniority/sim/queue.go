package sim

import "time"

// event is something that will happen to the world at a global time.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// queue is a binary heap of events, earliest first, in order of insertion
// among equals.
type queue struct {
	events []event
	seq    uint64
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (q *queue) push(at time.Duration, do func()) {
	q.seq++
	q.events = append(q.events, event{at, q.seq, do})
	i := len(q.events) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !q.events[i].before(&q.events[p]) {
			break
		}
		q.events[i], q.events[p] = q.events[p], q.events[i]
		i = p
	}
}

func (q *queue) pop() event {
	top := q.events[0]
	last := len(q.events) - 1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && q.events[c+1].before(&q.events[c]) {
			c++
		}
		if !q.events[c].before(&q.events[i]) {
			break
		}
		q.events[i], q.events[c] = q.events[c], q.events[i]
		i = c
	}
	return top
}
