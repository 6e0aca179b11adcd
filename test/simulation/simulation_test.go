// Package simulation plays whole worlds of scheduling in memory: three
// installations and one person who has only mail, on a network that delays,
// duplicates, reorders, loses and parts, with servers that crash between any
// two steps. Time is virtual, every choice comes from a seed, so a seed that
// fails can be played again.
//
// The services, their storage (SQLite in memory) and the pure scheduling/itip
// are the real ones; only clocks, randomness and the transport are the
// simulation's. In the end the network heals and the queues drain; then
// everybody's copy is compared with what the organizer's object says.
//
//	make seeds                                       1,000 seeds with -race, part of make test
//	make sim SEEDS=10000 FIRST=1                     more of them, and the planted bugs
//	go test ./test/simulation -first=42 -seeds=1 -v  one, with its story
package simulation

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

var (
	flagSeeds = flag.Int("seeds", 30, "how many seeds to play")
	flagFirst = flag.Int64("first", 1, "the first seed")
	flagOps   = flag.Int("ops", 20, "turns per seed")
	flagFails = flag.Int("fails", 3, "stop after so many seeds that fail")
	flagBrief = flag.Bool("brief", false, "of a seed that fails, tell only what is wrong")
)

// play runs one seed to its end.
func (b *bench) play(seed int64, steps int) (w *world) {
	w, err := b.newWorld(seed)
	if err != nil {
		panic(err)
	}
	defer func() {
		if r := recover(); r != nil {
			w.violated("panic: %v\n%s", r, stack())
		}
	}()
	w.rnd.IntN(2)
	w.create(w.people[w.rnd.IntN(len(w.people)-1)])
	for w.step = 0; w.step < steps && len(w.wrong) == 0; w.step++ {
		w.tick()
	}
	if len(w.wrong) > 0 {
		return w
	}
	w.heal()
	if len(w.wrong) == 0 {
		w.mend()
	}
	if len(w.wrong) == 0 {
		w.check()
	}
	return w
}

func stack() string {
	b := make([]byte, 4096)
	return string(b[:runtime.Stack(b, false)])
}

// tick is one turn of the world: time goes on, something arrives, somebody
// does something, servers work.
func (w *world) tick() {
	w.now = w.now.Add(w.span(4*time.Minute, 90*time.Minute))
	w.net.due()
	switch roll := w.rnd.IntN(100); {
	case roll < 6 && len(w.events) < 4:
		w.create(w.people[w.rnd.IntN(len(w.people)-1)])
	case roll < 50:
		w.change(w.events[w.rnd.IntN(len(w.events))])
	case roll < 54:
		w.decide(w.events[w.rnd.IntN(len(w.events))])
	case roll < 58:
		i, j := w.rnd.IntN(len(domains)), w.rnd.IntN(len(domains))
		if i != j {
			d := w.span(time.Hour, 8*time.Hour)
			w.say("%s and %s cannot reach each other for %v", w.sites[i].name, w.sites[j].name, d)
			w.net.part(domains[i], domains[j], d)
		}
	default:
		e := w.events[w.rnd.IntN(len(w.events))]
		if p := w.people[w.rnd.IntN(len(w.people))]; p != e.organizer {
			w.react(p, e)
			if w.chance(25) { // and once more, or he has changed his mind
				w.now = w.now.Add(w.span(2*time.Minute, 5*time.Minute))
				w.react(p, e)
			}
		}
	}
	for _, s := range w.sites {
		if w.chance(60) {
			w.work(s)
		}
	}
}

// work is a round of a site's worker.
func (w *world) work(s *site) (did bool) {
	s.run(6, 60, "it works its queue", func(ctx context.Context) { did = s.svc.Step(ctx, nil) })
	return did
}

// heal lets everything come to rest.
func (w *world) heal() {
	w.say("the network heals, nothing crashes any more")
	w.calm = true
	w.net.parted = nil
	w.drain()
}

func (w *world) drain() {
	for n := 0; ; n++ {
		if n > 4000 {
			w.violated("the queues do not drain")
			return
		}
		did := w.net.due()
		for _, s := range w.sites {
			did = w.work(s) || did
		}
		if len(w.wrong) > 0 {
			return
		}
		if did {
			continue
		}
		next := w.net.next()
		for _, s := range w.sites {
			due, err := s.db.NextDue(bg)
			if err != nil {
				panic(err)
			}
			if !due.IsZero() {
				if due = due.Add(-s.skew); next.IsZero() || due.Before(next) {
					next = due
				}
			}
		}
		if next.IsZero() {
			break
		}
		w.now = w.now.Add(max(next.Sub(w.now), 250*time.Millisecond)) // what is due waits for a place of its domain, see Service.Run
	}
	w.now = w.now.Add(3 * time.Second) // statuses are written back after two seconds
	for _, s := range w.sites {
		for w.work(s) {
		}
	}
}

// mend lets people try again whose messages failed while the network was
// away for too long: they see it in SCHEDULE-STATUS.
func (w *world) mend() {
	did := false
	for _, e := range w.events {
		for _, d := range e.organizer.last(e.uid) {
			if d.State == storage.DeliveryFailed && e.want != "" {
				w.say("%s sees that %s was not reached, and changes %s", e.organizer.name, d.Recipient, e.uid)
				o := parse(e.want)
				for _, c := range o.Components() {
					c.Set(calendar.NewProperty("SUMMARY", w.title()))
				}
				w.organize(e, o, nil, "blind", "renames")
				did = true
				break
			}
		}
	}
	if did {
		w.drain()
	}
}

// TestSameSeedSameStory: what a seed tells depends on it alone, not on what ran
// before it, nor on the day.
func TestSameSeedSameStory(t *testing.T) {
	t.Parallel()
	play := func(seeds ...int64) (story string) {
		b, err := newBench()
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		for _, seed := range seeds {
			story = strings.Join(b.play(seed, *flagOps).story, "\n")
		}
		return story
	}
	for _, seed := range []int64{3, 4, 5, 6} {
		first, again, later := play(seed), play(seed), play(1, 2, seed)
		if first != again || first != later {
			t.Errorf("seed %d tells different stories:\n%s\n\n%s\n\n%s", seed, first, again, later)
		}
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	debug.SetGCPercent(400) // worlds are short and small: a third of the time was collecting garbage
	workers := min(runtime.GOMAXPROCS(0), *flagSeeds)
	var mu sync.Mutex
	var total stats
	next, failed := *flagFirst, 0
	began := time.Now()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			b, err := newBench()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { b.close() }()
			for {
				mu.Lock()
				seed := next
				if next++; seed >= *flagFirst+int64(*flagSeeds) || failed >= *flagFails {
					mu.Unlock()
					return
				}
				mu.Unlock()
				w := b.play(seed, *flagOps)
				mu.Lock()
				total.add(w.stats)
				if len(w.wrong) > 0 {
					failed++
					if *flagBrief {
						fmt.Printf("seed %d: %s\n", seed, w.told())
					}
					t.Errorf("seed %d breaks a promise:\n%s\n\nplay it alone: go test ./test/simulation -run TestSeeds -first=%d -seeds=1 -ops=%d -v", seed, w.told(), seed, *flagOps)
					b.close()
					if b, err = newBench(); err != nil {
						t.Error(err)
						mu.Unlock()
						return
					}
				} else if *flagSeeds == 1 {
					t.Log(strings.Join(w.story, "\n"))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d seeds in %v: %v", *flagSeeds, time.Since(began).Round(time.Millisecond), total)
	fmt.Printf("simulation: %d seeds in %v: %v\n", *flagSeeds, time.Since(began).Round(time.Millisecond), total)
}

// told is the story of a seed and what is wrong in the end.
func (w *world) told() string {
	if *flagBrief {
		return strings.Join(w.wrong, "\n")
	}
	return strings.Join(w.story, "\n")
}
