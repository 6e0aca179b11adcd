package storage

import "testing"

func TestRooms(t *testing.T) {
	var r rooms
	const limit = 2 * roomFar
	for i, step := range []struct {
		limit, octets int64
		ms            int64
		found         int // 1: far, -1: near, 0: nothing
		want          roomCheck
	}{
		{roomFar, 1, 0, 0, roomExact}, // a small limit is kept exactly
		{limit, 1000, 0, 1, roomAsked},
		{limit, 1000, 1, 0, roomGranted},
		{limit, roomTaken - 2000, 2, 0, roomGranted},
		{limit, 1000, 3, 0, roomAsked}, // all that was taken for granted is gone
		{limit, 1000, 4, 1, roomAsked},
		{limit, roomTaken, 5, 0, roomAsked},
		{limit, 1000, 6, 0, roomGranted},
		{limit, 1000, 10_003, 0, roomGranted},
		{limit, 1000, 10_004, -1, roomAsked}, // it was long ago
		{limit, 1000, 10_005, 0, roomExact},
		{limit, 1000, 20_004, 1, roomAsked},
		{limit, 1000, 20_005, 0, roomGranted},
		{limit + 1, 1000, 20_006, 0, roomAsked}, // another limit
	} {
		now := step.ms * 1000
		if got := r.check(7, step.limit, step.octets, now); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
		if step.found != 0 {
			r.found(7, step.limit, step.found > 0, now)
		}
	}
	for i := range AccountID(accountCacheSize + 10) {
		r.found(i, limit, true, 0)
	}
	if len(r.seen) > accountCacheSize {
		t.Errorf("%d accounts are remembered", len(r.seen))
	}
}
