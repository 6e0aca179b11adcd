package storage_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// A calendar that is too large to be kept is gathered in vain once, by its first
// listing or by the change that makes it too large; when it has become smaller it is
// kept again. How many are remembered is bounded.
func TestLargeListing(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			db := storagetest.Open(t, e)
			bg := t.Context()
			a, err := db.CreateAccount(bg, storage.Account{Handle: "a", Kind: storage.KindUser})
			if err != nil {
				t.Fatal(err)
			}
			apply := func(deleted bool, from, to int) {
				t.Helper()
				c, err := db.CollectionByName(bg, a.ID, "calendar")
				if err != nil {
					t.Fatal(err)
				}
				var ws []storage.Write
				for i := from; i < to; i++ {
					o := storage.Object{UID: fmt.Sprint(i), Component: "VEVENT", ETag: fmt.Sprint("e", i), Data: "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"}
					o.ObjectKey = storage.ObjectKey{CollectionKey: c.CollectionKey, Name: fmt.Sprintf("%d.ics", i)}
					ws = append(ws, storage.Write{Object: o, Delete: deleted})
				}
				if err := db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { _, err := tx.Apply(ctx, ws); return err }); err != nil {
					t.Fatal(err)
				}
			}
			var key storage.CollectionKey
			list := func(n, statements int, gathers bool) {
				t.Helper()
				c, err := db.CollectionByName(bg, a.ID, "calendar")
				if err != nil {
					t.Fatal(err)
				}
				key = c.CollectionKey
				ctx, counter := storage.WithCounter(bg)
				got := 0
				for _, err := range db.Listing(ctx, &c) {
					if err != nil {
						t.Fatal(err)
					}
					got++
				}
				if got != n || counter.Statements() != statements || storage.Gathers(db, key) != gathers {
					t.Errorf("%d objects in %d statements, the next is gathered: %v; want %d, %d, %v", got, counter.Statements(), storage.Gathers(db, key), n, statements, gathers)
				}
			}
			storage.LimitListings(db, 10*300) // ten objects
			apply(false, 0, 30)
			list(30, 1, false) // given up on the way
			list(30, 1, false) // not begun
			apply(true, 5, 30)
			list(5, 1, true) // counted
			list(5, 1, true) // kept
			list(5, 0, true)
			apply(false, 5, 15)
			list(15, 1, false) // the change makes it too large
			list(15, 1, false)
			apply(true, 5, 15)
			list(5, 1, true)

			var many []storage.CollectionKey
			for i := range 3000 {
				many = append(many, storage.CollectionKey{Account: a.ID, ID: storage.CollectionID(1e6 + i)})
			}
			if n := storage.NoteLarge(db, many...); n != 1000 {
				t.Errorf("%d calendars are remembered", n)
			}
		})
	}
}
