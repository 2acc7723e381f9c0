package findings

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestFindingsAreBounded(t *testing.T) {
	r := &Record{}
	for i := range 10 * most {
		r.Find(ForeignProgram, fmt.Sprint(i), "evidence")
	}
	if got := len(r.Current()); got != most {
		t.Errorf("want %d findings, got %d", most, got)
	}
}

// What is not seen again is no finding any more after its time.
func TestFindingsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Record{}
		r.Find(ForeignProgram, "10.0.0.1", "once")
		r.Find(OtherCluster, "10.0.0.2", "again and again")
		time.Sleep(TTL)
		if got := r.Current(); len(got) != 2 {
			t.Errorf("want both findings, got %+v", got)
		}
		r.Find(OtherCluster, "10.0.0.2", "again and again")
		time.Sleep(time.Second)
		if got := r.Current(); len(got) != 1 || got[0].What != OtherCluster {
			t.Errorf("want what was seen again alone, got %+v", got)
		}
	})
}
