package storagetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kalends/kalends/storage"
)

// state applies a ChangeSet to what a client knows.
func state(t *testing.T, known map[string]int64, set storage.ChangeSet) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range set.Changes {
		if seen[c.Name] {
			t.Errorf("%s is told of twice", c.Name)
		}
		seen[c.Name] = true
		if c.Deleted {
			delete(known, c.Name)
		} else {
			known[c.Name] = c.Seq
		}
	}
}

func testChanges(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	empty, err := db.Changes(bg, k, "", 10)
	ok(t, err)
	equal(t, "changes", len(empty.Changes), 0)
	for i := range 10 {
		apply(t, db, put(object(k, fmt.Sprintf("%d.ics", i), fmt.Sprint("u", i), "e")))
	}
	full, err := db.Changes(bg, k, empty.Token, 0)
	ok(t, err)
	equal(t, "changes", len(full.Changes), 10)
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "token", full.Token, c.Token())
	again, err := db.Changes(bg, k, full.Token, 0)
	ok(t, err)
	if len(again.Changes) != 0 || again.Token != full.Token {
		t.Fatalf("%+v", again)
	}
	o := object(k, "3.ics", "u3", "e")
	apply(t, db, put(o))
	apply(t, db, del(o))
	apply(t, db, put(o))
	apply(t, db, put(object(k, "4.ics", "u4", "e")), del(object(k, "5.ics", "", "")))
	apply(t, db, put(object(k, "6.ics", "u6", "e")))
	apply(t, db, del(object(k, "6.ics", "", "")))
	apply(t, db, put(object(k, "6.ics", "u6", "e")))
	apply(t, db, del(object(k, "6.ics", "", "")))
	set, err := db.Changes(bg, k, full.Token, 0)
	ok(t, err)
	var got []string
	for _, c := range set.Changes {
		got = append(got, fmt.Sprint(c.Name, c.Deleted))
	}
	equal(t, "changes", strings.Join(got, " "), "3.icsfalse 4.icsfalse 5.icstrue 6.icstrue")
	// The same in pages.
	known := map[string]int64{"3.ics": 1, "4.ics": 1, "5.ics": 1, "6.ics": 1}
	token, pages := full.Token, 0
	for truncated := true; truncated; pages++ {
		page, err := db.Changes(bg, k, token, 1)
		ok(t, err)
		if len(page.Changes) > 1 || pages > 10 {
			t.Fatalf("page %d: %+v", pages, page)
		}
		state(t, known, page)
		token, truncated = page.Token, page.Truncated
	}
	equal(t, "last token", token, set.Token)
	equal(t, "names", strings.Join(slices.Sorted(maps.Keys(known)), " "), "3.ics 4.ics")
	initial, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	equal(t, "initial", len(initial.Changes), 8)
	for _, c := range initial.Changes {
		if c.Deleted {
			t.Errorf("%s: a tombstone in an initial answer", c.Name)
		}
	}
}

func testBadTokens(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k, other := calendarOf(t, db, a, "calendar"), calendarOf(t, db, a, "tasks")
	apply(t, db, put(object(k, "a", "u1", "e")), put(object(other, "a", "u2", "e")))
	set, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	foreign, err := db.Changes(bg, other, "", 0)
	ok(t, err)
	token := set.Token
	i, j := strings.LastIndex(token, ":")+1, strings.LastIndex(token, "-")
	for _, bad := range []string{foreign.Token, token + "x", token + "-", token[:j] + "-000000000000", strings.Replace(token, "-1-", "-2-", 1), strings.Replace(token, "-1-", "--1-", 1),
		strings.Replace(token, "-1-", "-01-", 1), strings.Replace(token, "-1-", "-9223372036854775807-", 1), strings.Replace(token, "-1-", "-99999999999999999999-", 1),
		token[:i], "data:,", "http://example.test/1", strings.ToUpper(token), " " + token, token + "-!!", token + "-/w", strings.Repeat("x", 10000), token[:i] + "0000000000000000-1-" + token[j+1:], "urn:kalends:sync:\x00-1-\xff"} {
		if _, err := db.Changes(bg, k, bad, 0); !errors.Is(err, storage.ErrBadToken) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
	_, err = db.Changes(bg, storage.CollectionKey{Account: a.ID, ID: 5}, "", 0)
	is(t, err, storage.ErrNotFound)
}

func testInitialPages(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	for i := range 20 {
		apply(t, db, put(object(k, fmt.Sprintf("%02d", i), fmt.Sprint("u", i), "e")))
	}
	known := map[string]int64{}
	token := ""
	for page := 0; ; page++ {
		set, err := db.Changes(bg, k, token, 6)
		ok(t, err)
		state(t, known, set)
		token = set.Token
		switch page { // changes between the pages, behind and before what was told
		case 0:
			apply(t, db, del(object(k, "01", "", "")), del(object(k, "15", "", "")), put(object(k, "00a", "n1", "e")), put(object(k, "17a", "n2", "e")))
		case 1:
			apply(t, db, put(object(k, "02", "u2", "e2")), put(object(k, "19", "u19", "e2")))
		}
		if !set.Truncated {
			break
		}
	}
	set, err := db.Changes(bg, k, token, 0)
	ok(t, err)
	state(t, known, set)
	knows(t, db, k, known)
}

// testSyncBesideWriters follows a collection by tokens while eight writers on
// two nodes change it: the reader must end with what there is, having seen
// each change at most once and in order.
func testSyncBesideWriters(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	second := Second(t, db)
	var writing sync.WaitGroup
	for w := range 8 {
		writing.Go(func() {
			node := []*storage.DB{db, second}[w%2]
			for i := range 25 {
				name := fmt.Sprintf("%d-%d.ics", w, i%7)
				o := object(k, name, name, fmt.Sprint("e", i))
				var err error
				switch {
				case i%5 == 4:
					err = node.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
						_, err := tx.Apply(ctx, []storage.Write{del(o)})
						return err
					})
				case i%2 == 0:
					_, err = node.PutPlain(bg, storage.PlainPut{Object: o})
				default:
					err = node.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
						if _, err := tx.LockCollections(ctx, []storage.CollectionKey{k}); err != nil {
							return err
						}
						_, err := tx.Apply(ctx, []storage.Write{put(o)})
						return err
					})
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	var done atomic.Bool
	go func() { writing.Wait(); done.Store(true) }()
	known := map[string]int64{}
	token, last := "", int64(0)
	for round := 0; ; round++ {
		finished := done.Load()
		set, err := []*storage.DB{db, second}[round%2].Changes(bg, k, token, 7)
		ok(t, err)
		state(t, known, set)
		for _, c := range set.Changes {
			if round > 0 && !strings.Contains(token, "-"+fmt.Sprint(last)+"-") && token == "" {
				t.Fatal("no token")
			}
			last = max(last, c.Seq)
		}
		token = set.Token
		if finished && !set.Truncated && len(set.Changes) == 0 {
			break
		}
	}
	knows(t, db, k, known)
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "changes", c.Seq, int64(8*25))
}

// knows compares what a client knows, names and their changes, with what there is.
func knows(t *testing.T, db *storage.DB, k storage.CollectionKey, known map[string]int64) {
	t.Helper()
	want := map[string]int64{}
	for o, err := range db.List(bg, k, storage.ColumnsMeta) {
		ok(t, err)
		want[o.Name] = o.Seq
	}
	if !maps.Equal(known, want) {
		t.Fatalf("known %v, there is %v", known, want)
	}
}
