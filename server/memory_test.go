package server

import (
	"runtime"
	"testing"
)

// The goal follows what is in use for long, and not a moment.
func TestMemoryGoal(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, c := range []struct {
		inUse []uint64
		want  int64
	}{
		{[]uint64{0, 0, 0, 0}, 112 * mb},
		{[]uint64{50 * mb, 70 * mb, 50 * mb, 50 * mb}, 112 * mb},
		{[]uint64{50 * mb, 900 * mb, 900 * mb, 50 * mb}, 112 * mb},
		{[]uint64{300 * mb, 400 * mb, 350 * mb, 320 * mb}, 600 * mb},
	} {
		if got := goalFor(c.inUse); got != c.want {
			t.Errorf("%v: %d MB, want %d", c.inUse, got/mb, c.want/mb)
		}
	}
	held := make([]byte, 64*mb)
	runtime.GC()
	if n := memoryInUse(); n < 64*mb || n > 1<<40 {
		t.Errorf("%d octets in use", n)
	}
	runtime.KeepAlive(held)
}
