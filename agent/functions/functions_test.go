package functions

import (
	"context"
	"errors"
	"testing"
)

func TestFunctionsEndWithTheirLeadership(t *testing.T) {
	over := errors.New("over")
	s := New(over)
	old, endOld := context.WithCancelCause(t.Context())
	now, endNow := context.WithCancelCause(t.Context())
	leaveOld := s.Enter(7, false, endOld)
	leaveNow := s.Enter(8, true, endNow)
	s.End(8)
	if !errors.Is(context.Cause(old), over) || now.Err() != nil {
		t.Errorf("under term 8: want the function of term 7 alone told that it is over, got %v and %v", context.Cause(old), now.Err())
	}
	if !s.Busy(7) {
		t.Error("a function that was told and has not returned is no longer there")
	}
	if s.Outside(7) || !s.Outside(8) {
		t.Error("want the function of term 8 alone outside")
	}
	<-s.Moved()
	leaveOld()
	select {
	case <-s.Moved():
	default:
		t.Error("nothing tells that a function has returned")
	}
	if s.Busy(7) {
		t.Error("a function that has returned is still there")
	}
	s.End(0)
	if !errors.Is(context.Cause(now), over) {
		t.Errorf("when none is led: want all told, got %v", context.Cause(now))
	}
	leaveNow()
}
