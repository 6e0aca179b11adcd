package server

import (
	"context"
	"runtime/debug"
	gauges "runtime/metrics"
	"slices"
	"time"
)

// memoryGoal is how many octets this process should take, as long as half of it
// is room for garbage: checking many new passwords at once leaves a few hundred
// megabytes of that behind, which from here on is collected earlier.
const memoryGoal = 112 << 20

// goalFor is the goal when so much has been in use at the times looked at. A
// goal near what is in use, or below it, would let the collector run all the
// time.
func goalFor(inUse []uint64) int64 {
	return max(memoryGoal, 2*int64(slices.Min(inUse)))
}

// keepMemoryGoal sets the goal, and lets it follow what thousands of connections,
// or a processor with many cores that checks passwords, need for seconds on end.
// It ends with ctx.
func keepMemoryGoal(ctx context.Context) {
	debug.SetMemoryLimit(memoryGoal)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, goal := make([]uint64, 4), int64(memoryGoal)
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		seen[i%len(seen)] = memoryInUse()
		// Setting it stops everything for a moment, so little is let pass.
		if next := goalFor(seen); next > goal+goal/8 || next < goal-goal/8 {
			goal = next
			debug.SetMemoryLimit(goal)
		}
	}
}

// memoryInUse is what the last collection left on the heap, and the stacks.
func memoryInUse() uint64 {
	s := []gauges.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	gauges.Read(s)
	var n uint64
	for _, x := range s {
		if x.Value.Kind() == gauges.KindUint64 {
			n += x.Value.Uint64()
		}
	}
	return n
}
