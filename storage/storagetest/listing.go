package storagetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// listed is what a listing says, and the statements that it took.
func listed(t *testing.T, db *storage.DB, c *storage.Collection) (string, int) {
	t.Helper()
	ctx, counter := storage.WithCounter(bg)
	var out []string
	for o, err := range db.Listing(ctx, c) {
		ok(t, err)
		equal(t, "place of "+o.Name, o.CollectionKey, c.CollectionKey)
		out = append(out, fmt.Sprint(o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, o.Size, o.Flags, o.Seq, o.Created, o.Modified))
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), counter.Statements()
}

// truth is what a listing must say.
func truth(t *testing.T, db *storage.DB, k storage.CollectionKey) string {
	t.Helper()
	var out []string
	for o, err := range db.List(bg, k, storage.ColumnsMeta) {
		ok(t, err)
		out = append(out, fmt.Sprint(o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, o.Size, o.Flags, o.Seq, o.Created, o.Modified))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func calendarRow(t *testing.T, db *storage.DB, k storage.CollectionKey) storage.Collection {
	t.Helper()
	for _, c := range must(db.Collections(bg, k.Account))(t) {
		if c.ID == k.ID {
			return c
		}
	}
	t.Fatal("no such collection")
	return storage.Collection{}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// testListing: what is kept of a listing is what is stored, after any changes,
// whoever made them.
func testListing(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	second := Second(t, db)
	look := func(what string, in *storage.DB, most int) {
		t.Helper()
		c := calendarRow(t, in, k)
		got, n := listed(t, in, &c)
		equal(t, what, got, truth(t, in, k))
		if n > most {
			t.Fatalf("%s: %d statements, want at most %d", what, n, most)
		}
	}
	look("empty", db, 1)
	look("empty again", db, 0)
	random := rand.New(rand.NewPCG(1, 2))
	there := map[string]bool{}
	for round := range 60 {
		var writes []storage.Write
		for range 1 + random.IntN(4) {
			name := fmt.Sprintf("%c%d.ics", "aZ~ü"[random.IntN(4)], random.IntN(12))
			name = strings.ToValidUTF8(name, "ö")
			if slices.ContainsFunc(writes, func(w storage.Write) bool { return w.Object.Name == name }) {
				continue
			}
			o := object(k, name, strings.TrimSuffix(name, ".ics"), fmt.Sprint("e", round))
			o.Component, o.ScheduleTag = []string{"VEVENT", "VTODO", "VJOURNAL", "X-OTHER"}[random.IntN(4)], fmt.Sprint("s", round)
			if there[name] && random.IntN(3) == 0 {
				writes, there[name] = append(writes, del(o)), false
				continue
			}
			writes, there[name] = append(writes, put(o)), true
		}
		apply(t, []*storage.DB{db, second}[random.IntN(2)], writes...)
		if random.IntN(3) > 0 {
			look(fmt.Sprint("round ", round), db, 1)
			look(fmt.Sprint("round again ", round), db, 0)
		}
		if random.IntN(4) == 0 {
			look(fmt.Sprint("round on the other ", round), second, 1)
		}
	}
	// A plain PUT goes another way.
	must(db.PutPlain(bg, storage.PlainPut{Object: object(k, "plain.ics", "plain", "e")}))(t)
	look("after a plain PUT", db, 1)

	// Who has read the calendar's row before a change may list it afterwards.
	old := calendarRow(t, db, k)
	apply(t, db, put(object(k, "late.ics", "late", "e")))
	look("after a change", db, 1)
	got, _ := listed(t, db, &old)
	equal(t, "by an old row", got, truth(t, db, k))
	look("after an old row", db, 0)

	// The change of this number was another one, as in a restored database.
	other := calendarRow(t, db, k)
	other.Tag = "ffffff"
	listed(t, db, &other)
	look("after another life", db, 1)
	listed(t, db, &other)
	apply(t, db, put(object(k, "later.ics", "later", "e")), del(object(k, "late.ics", "late", "e")))
	look("a change after another life", db, 2)
	look("a change after another life, again", db, 0)
	other = calendarRow(t, db, k)
	other.Seq += 1000
	listed(t, db, &other)
	look("after a life with more changes", db, 1)

	// An inbox's items change without a number.
	inbox := calendarOf(t, db, a, "inbox")
	apply(t, db, put(object(inbox, "item.ics", "item", "e")))
	look2 := func() {
		t.Helper()
		c := calendarRow(t, db, inbox)
		got, _ := listed(t, db, &c)
		equal(t, "inbox", got, truth(t, db, inbox))
	}
	look2()
	ok(t, db.MarkRead(bg, inbox, []string{"item.ics"}))
	look2()

	// What is too large is read each time, and what does not fit beside it goes.
	big := strings.Repeat("e", 1<<20)
	fill := func(name string, objects int) storage.CollectionKey {
		c := must(db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: name, Kind: storage.CollectionCalendar, Components: storage.CompEvent}, nil))(t)
		for i := range objects {
			apply(t, db, put(object(c.CollectionKey, fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i, big))))
		}
		return c.CollectionKey
	}
	for i, c := range []struct{ objects, again int }{{9, 1}, {7, 0}, {7, 0}, {7, 0}, {7, 0}, {7, 0}} {
		k := fill(fmt.Sprint("large", i), c.objects)
		row := calendarRow(t, db, k)
		first, n := listed(t, db, &row)
		equal(t, "statements for large objects", n, 1)
		second, n := listed(t, db, &row)
		equal(t, "statements for large objects, again", n, c.again)
		equal(t, "large objects", first == second && strings.Count(first, "\n") == c.objects-1, true)
	}
	look("after all the others", db, 1)
}

// testListingBesideWriters: everybody finds what he has stored, and what others
// had stored when he looked.
func testListingBesideWriters(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	nodes := []*storage.DB{db, Second(t, db)}
	parallel(8, func(w int) {
		node := nodes[w%2]
		for r := range 25 {
			name, etag := fmt.Sprintf("w%d-%d.ics", w, r%5), fmt.Sprintf("e%d-%d", w, r)
			if r%7 == 6 {
				if err := node.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
					_, err := tx.Apply(ctx, []storage.Write{del(object(k, name, name, ""))})
					return err
				}); err != nil {
					t.Errorf("delete: %v", err)
				}
				etag = ""
			} else if _, err := node.PutPlain(bg, storage.PlainPut{Object: object(k, name, name, etag)}); err != nil {
				t.Errorf("put: %v", err)
			}
			c, err := node.CollectionByName(bg, a.ID, "calendar")
			if err != nil {
				t.Errorf("collection: %v", err)
				return
			}
			got := ""
			for o, err := range node.Listing(bg, &c) {
				if err != nil {
					t.Errorf("listing: %v", err)
					return
				}
				if o.Name == name {
					got = o.ETag
				}
			}
			if got != etag {
				t.Errorf("%s has %q, stored %q", name, got, etag)
			}
		}
	})
	for i, node := range nodes {
		c := calendarRow(t, node, k)
		got, _ := listed(t, node, &c)
		equal(t, fmt.Sprint("node ", i), got, truth(t, node, k))
	}
}
