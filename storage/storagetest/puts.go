package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalends/kalends/storage"
)

func testPutPlain(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	o := object(k, "x.ics", "u1", "e1")
	puts := func(p storage.PlainPut) (storage.PlainResult, error) { return db.PutPlain(bg, p) }
	refused := func(p storage.PlainPut, etag string) {
		t.Helper()
		_, err := puts(p)
		var pre *storage.PreconditionError
		if !errors.As(err, &pre) || !errors.Is(err, storage.ErrPrecondition) || pre.ETag != etag {
			t.Fatalf("error %v", err)
		}
	}
	refused(storage.PlainPut{Object: o, IfMatch: "*"}, "")
	refused(storage.PlainPut{Object: o, IfMatch: "e1"}, "")
	r, err := puts(storage.PlainPut{Object: o, IfNone: true})
	ok(t, err)
	if !r.Created || r.Seq != 1 {
		t.Fatalf("%+v", r)
	}
	refused(storage.PlainPut{Object: o, IfNone: true}, "e1")
	o.ETag = "e2"
	refused(storage.PlainPut{Object: o, IfMatch: "e0"}, "e1")
	r, err = puts(storage.PlainPut{Object: o, IfMatch: "e1"})
	ok(t, err)
	if r.Created || r.Seq != 2 {
		t.Fatalf("%+v", r)
	}
	r, err = puts(storage.PlainPut{Object: o, IfMatch: "*"})
	ok(t, err)
	equal(t, "created", r.Created, false)
	r, err = puts(storage.PlainPut{Object: o})
	ok(t, err)
	equal(t, "created", r.Created, false)
	other := object(k, "y.ics", "u1", "e9")
	_, err = puts(storage.PlainPut{Object: other})
	var conflict *storage.UIDConflictError
	if !errors.As(err, &conflict) || conflict.Name != "x.ics" {
		t.Fatalf("error %v", err)
	}
	changed := o
	changed.UID = "u2"
	_, err = puts(storage.PlainPut{Object: changed})
	if !errors.As(err, &conflict) || conflict.Name != "x.ics" {
		t.Fatalf("error %v", err)
	}
	r, err = puts(storage.PlainPut{Object: object(k, "z.ics", "u3", "e")})
	ok(t, err)
	if !r.Created || r.Seq != 5 {
		t.Fatalf("%+v", r)
	}
	meeting := object(k, "m.ics", "u4", "e")
	meeting.Flags |= storage.FlagScheduling
	apply(t, db, put(meeting))
	_, err = puts(storage.PlainPut{Object: meeting})
	is(t, err, storage.ErrNotPlain)
	o.ID = 5
	_, err = puts(storage.PlainPut{Object: o})
	is(t, err, storage.ErrNotFound)
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "nothing refused was counted", c.Seq, int64(6))
	set, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	equal(t, "objects", len(set.Changes), 3)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, k) }))
	_, err = puts(storage.PlainPut{Object: object(k, "q.ics", "u9", "e")})
	is(t, err, storage.ErrNotFound)
	left, err := db.RemoveObjects(bg, k, 0)
	ok(t, err)
	equal(t, "left", left, false)
}

func testPutPlainRace(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	second := Second(t, db)
	for round := range 5 {
		var won, lost atomic.Int64
		parallel(8, func(i int) {
			o := object(k, fmt.Sprintf("r%d.ics", round), fmt.Sprintf("u%d", round), fmt.Sprint("e", i))
			_, err := []*storage.DB{db, second}[i%2].PutPlain(bg, storage.PlainPut{Object: o, IfNone: true})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, storage.ErrPrecondition):
				lost.Add(1)
			default:
				t.Errorf("error %v", err)
			}
		})
		if won.Load() != 1 || lost.Load() != 7 {
			t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
	// Different names, one UID.
	var won atomic.Int64
	parallel(8, func(i int) {
		_, err := db.PutPlain(bg, storage.PlainPut{Object: object(k, fmt.Sprintf("n%d.ics", i), "same", "e")})
		if err == nil {
			won.Add(1)
		} else if !errors.Is(err, storage.ErrUIDConflict) {
			t.Errorf("error %v", err)
		}
	})
	equal(t, "winners", won.Load(), int64(1))
}

// testPutSeen stores what was read before as long as that is still so, and
// nothing otherwise.
func testPutSeen(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	look := func() storage.Seen {
		t.Helper()
		for range 2 { // a changed account is read in full first
			_, err := db.Find(bg, storage.Query{Login: "alice", Home: "alice", Collection: "calendar", Object: "x.ics", Columns: storage.ColumnPresence})
			ok(t, err)
		}
		f, seen, known := db.Remember("alice", "calendar")
		if !known || f.Collection.CollectionKey != k || f.Login.ID != a.ID || f.Home != f.Login {
			t.Fatalf("remembered: %v %+v %+v", known, f, seen)
		}
		seen.Room = math.MaxInt64
		return seen
	}
	if _, _, known := db.Remember("alice", "calendar"); known {
		t.Error("remembered before it was read")
	}
	n := 0
	store := func(what string, seen storage.Seen, want error) {
		t.Helper()
		n++
		for i, p := range []storage.PlainPut{{IfNone: true}, {IfMatch: "e"}, {IfMatch: "*"}, {}} {
			p.Object, p.Seen = object(k, fmt.Sprintf("n%d.ics", n), fmt.Sprint("u", n), "e"), &seen
			if r, err := db.PutPlain(bg, p); !errors.Is(err, want) || err == nil && r.Created != (i == 0) {
				t.Errorf("%s, %d: created %v, error %v", what, i, r.Created, err)
			}
		}
	}
	seen := look()
	store("as it was", seen, nil)
	refused := func(change func(*storage.Seen)) {
		t.Helper()
		other := seen
		change(&other)
		store("otherwise", other, storage.ErrNotFound)
	}
	refused(func(s *storage.Seen) { s.Version++ })
	refused(func(s *storage.Seen) { s.Modified-- })
	refused(func(s *storage.Seen) { s.Collection = "tasks" })
	refused(func(s *storage.Seen) { s.Components++ })
	used, err := db.Used(bg, a.ID)
	ok(t, err)
	size := int64(len(object(k, "n6.ics", "u6", "e").Data))
	refused(func(s *storage.Seen) { s.Room = used + size - 1 })
	seen.Room = used + size
	n++
	o := object(k, fmt.Sprintf("n%d.ics", n), fmt.Sprint("u", n), "e")
	_, err = db.PutPlain(bg, storage.PlainPut{Object: o, Seen: &seen, IfNone: true})
	ok(t, err)

	// Far from its limit an account is not looked at for each object, and still
	// kept to it: 80 MiB, of which 20 are there.
	big := object(k, "big.ics", "big", "e")
	big.Data += strings.Repeat("x", 20<<20)
	must(db.PutPlain(bg, storage.PlainPut{Object: big}))(t)
	limit, stored := int64(80<<20), must(db.Used(bg, a.ID))(t)
	seen.Room = limit
	piece := strings.Repeat("x", 5<<20)
	for i := 0; ; i++ {
		o := object(k, fmt.Sprintf("piece%d.ics", i), fmt.Sprint("piece", i), "e")
		o.Data += piece
		_, err := db.PutPlain(bg, storage.PlainPut{Object: o, Seen: &seen, IfNone: true})
		if errors.Is(err, storage.ErrNotFound) {
			if stored+int64(len(o.Data)) <= limit {
				t.Errorf("refused at %d octets", stored)
			}
			break
		}
		ok(t, err)
		if stored += int64(len(o.Data)); stored > limit {
			t.Fatalf("%d octets are stored, %d were allowed", stored, limit)
		}
	}
	equal(t, "used", must(db.Used(bg, a.ID))(t), stored)

	seen.Room = math.MaxInt64
	verifier := "another"
	_, err = db.UpdateAccount(bg, a.ID, storage.AccountChange{Verifier: &verifier})
	ok(t, err)
	store("a new password", seen, storage.ErrNotFound)
	seen = look()
	store("read again", seen, nil)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, k) }))
	store("the calendar goes", seen, storage.ErrNotFound)
}
