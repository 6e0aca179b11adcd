package storage

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

// Short reads go at once while there are round trips to be had; those that come
// later go together, as many as may, in the order in which they came.
func TestReadTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trips = 2
		l := pgReads{trips: trips}
		for range trips {
			if turn := l.enter(&pgReadJob{ctx: context.Background()}); len(turn) != 1 {
				t.Fatalf("a read that need not wait goes with %d", len(turn))
			}
		}
		const waiting = pgReadCompany + 3
		var mu sync.Mutex
		var turns []int
		told := 0
		hold := make(chan bool)
		for range waiting {
			j := &pgReadJob{ctx: context.Background()}
			go func() {
				turn := l.enter(j)
				if turn != nil {
					<-hold
				}
				mu.Lock()
				defer mu.Unlock()
				if turn == nil {
					told++
					return
				}
				turns = append(turns, len(turn))
				if turn[0] != j {
					t.Error("somebody else than the first has the turn")
				}
				l.leave()
				for _, other := range turn[1:] {
					other.turn <- nil
				}
			}()
			synctest.Wait() // they come one after the other
		}
		if l.under != trips || len(l.wait) != waiting {
			t.Fatalf("%d under way, %d wait", l.under, len(l.wait))
		}
		l.leave()
		l.leave()
		synctest.Wait()
		if l.under != trips || len(l.wait) != 0 {
			t.Errorf("%d under way, %d wait", l.under, len(l.wait))
		}
		close(hold)
		synctest.Wait()
		if len(turns) != 2 || turns[0]+turns[1] != waiting || max(turns[0], turns[1]) != pgReadCompany || told != waiting-2 {
			t.Errorf("turns of %v, %d told", turns, told)
		}
		if l.under != 0 {
			t.Errorf("%d are still under way", l.under)
		}
	})
}
