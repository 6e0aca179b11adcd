package storagetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kalends/kalends/storage"
)

// testPutTogether: many writers at once, some of whom must be refused. Each
// refusal undoes its own PUT and nobody else's, and the journal holds each
// success once, in an unbroken row.
func testPutTogether(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	apply(t, db, put(object(k, "old.ics", "old", "e0")))
	const writers, rounds = 16, 6
	var stored, refused, matched atomic.Int64
	type change struct {
		name string
		seq  int64
	}
	changes := make(chan change, writers*rounds)
	parallel(writers, func(w int) {
		for r := range rounds {
			p := storage.PlainPut{Object: object(k, fmt.Sprintf("%d-%d.ics", w, r), fmt.Sprintf("u%d-%d", w, r), "e"), IfNone: true}
			switch w % 4 {
			case 1: // one name for all of a round
				p.Object = object(k, fmt.Sprintf("same-%d.ics", r), fmt.Sprintf("same-%d", r), "e")
			case 2: // a UID that is taken
				p.Object.UID = "old"
			case 3: // one changes it first
				p.Object, p.IfNone, p.IfMatch = object(k, "old.ics", "old", fmt.Sprintf("e%d", r+1)), false, fmt.Sprintf("e%d", r)
			}
			ctx, cancel := context.WithCancel(bg)
			res, err := db.PutPlain(ctx, p)
			cancel()
			if err != nil {
				refused.Add(1)
				continue
			}
			stored.Add(1)
			if w%4 == 3 {
				matched.Add(1)
			}
			changes <- change{p.Object.Name, res.Seq}
		}
	})
	close(changes)
	seen, last := map[int64]bool{1: true}, map[string]int64{"old.ics": 1}
	for c := range changes {
		if seen[c.seq] {
			t.Errorf("change %d was given twice", c.seq)
		}
		seen[c.seq] = true
		last[c.name] = max(last[c.name], c.seq)
	}
	if want := int64(writers/4*rounds + rounds); stored.Load()-matched.Load() != want {
		t.Errorf("%d stored besides the changed one, not %d", stored.Load()-matched.Load(), want)
	}
	if refused.Load() < writers/4*rounds {
		t.Errorf("only %d refused", refused.Load())
	}
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "changes", c.Seq, int64(len(seen)))
	n, octets := 0, int64(0)
	for o, err := range db.List(bg, k, storage.ColumnsMeta) {
		ok(t, err)
		n++
		octets += int64(len(object(k, o.Name, o.UID, o.ETag).Data))
		if last[o.Name] != o.Seq {
			t.Errorf("%s has change %d, and its writer was told %d", o.Name, o.Seq, last[o.Name])
		}
	}
	equal(t, "octets", c.Bytes, octets)
	equal(t, "objects", int64(n), 1+stored.Load()-matched.Load())
	set, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	equal(t, "listed", len(set.Changes), n)
}
