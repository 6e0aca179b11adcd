package storage

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

// Plain PUTs that wait for a collection go together, as many as may, in the
// order in which they came; those of other collections do not wait.
func TestPutLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l pgPutLines
		one, two := CollectionKey{1, 1}, CollectionKey{1, 2}
		job := func(octets int) *pgPutJob {
			return &pgPutJob{ctx: context.Background(), put: &PlainPut{Object: Object{Data: string(make([]byte, octets))}}}
		}
		if turn := l.enter(one, job(1)); len(turn) != 1 {
			t.Fatalf("the first goes with %d", len(turn))
		}
		if turn := l.enter(two, job(1)); len(turn) != 1 {
			t.Fatalf("the first of another collection goes with %d", len(turn))
		}
		const waiting = pgPutCompany + 5
		var mu sync.Mutex
		var turns []int
		told := 0
		for i := range waiting {
			octets := 1
			if i == pgPutCompany+1 {
				octets = pgPutOctets
			}
			j := job(octets)
			go func() {
				turn := l.enter(one, j)
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
				l.leave(one)
				for _, other := range turn[1:] {
					other.turn <- nil
				}
			}()
			synctest.Wait() // they come one after the other
		}
		if len(turns) != 0 {
			t.Fatalf("%d did not wait", len(turns))
		}
		l.leave(two)
		l.leave(one)
		synctest.Wait()
		// The large one fills its transaction, with the one before it.
		if len(turns) != 3 || turns[0] != pgPutCompany || turns[1] != 2 || turns[2] != 3 || told != waiting-3 {
			t.Errorf("turns of %v, %d told", turns, told)
		}
		if len(l.wait) != 0 {
			t.Errorf("%d collections are still taken", len(l.wait))
		}
	})
}
