package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

func subscribe(t *testing.T, db *storage.DB, who storage.Account, k storage.CollectionKey, endpoint string) storage.PushSubscription {
	t.Helper()
	s, err := db.RegisterPush(bg, storage.PushSubscription{Account: who.ID, Collection: k, Endpoint: endpoint, PublicKey: "key", Auth: "auth", Content: true, Properties: true,
		Expires: storage.Micros(time.Now().Add(time.Hour))}, 3)
	ok(t, err)
	return s
}

func claimPush(t *testing.T, db *storage.DB, owner string, want ...string) []storage.ClaimedPush {
	t.Helper()
	list, err := db.ClaimPush(bg, owner, time.Now(), time.Minute, nil, nil, 10)
	ok(t, err)
	slices.SortFunc(list, func(a, b storage.ClaimedPush) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	var got []string
	for _, p := range list {
		got = append(got, fmt.Sprintf("%s content=%v properties=%v gone=%v", p.Endpoint, p.ContentNews, p.PropertiesNews, p.Gone))
	}
	equal(t, "claimed", fmt.Sprint(got), fmt.Sprint(want))
	return list
}

func donePush(t *testing.T, db *storage.DB, owner string, list []storage.ClaimedPush, change func(*storage.PushOutcome)) {
	t.Helper()
	var out []storage.PushOutcome
	for _, p := range list {
		o := storage.PushOutcome{ClaimedPush: p}
		if change != nil {
			change(&o)
		}
		out = append(out, o)
	}
	ok(t, db.PushDone(bg, owner, out))
}

func testPush(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	k := calendarOf(t, db, a, "calendar")
	first := subscribe(t, db, a, k, "https://push.test/1")
	claimPush(t, db, "n1") // nothing has happened since
	again := subscribe(t, db, a, k, "https://push.test/1")
	equal(t, "token of the renewed one", again.Token, first.Token)
	subscribe(t, db, b, k, "https://push.test/1") // the same endpoint for somebody else is another subscription
	ok(t, db.RemovePush(bg, b.ID, subscribe(t, db, b, k, "https://push.test/1").Token))
	is(t, db.RemovePush(bg, b.ID, first.Token), storage.ErrNotFound) // not his

	apply(t, db, put(object(k, "1.ics", "u1", "e")))
	list := claimPush(t, db, "n1", "https://push.test/1 content=true properties=false gone=false")
	col, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "token", list[0].Of.Token(), col.Token())
	claimPush(t, db, "n2")                           // leased
	apply(t, db, put(object(k, "2.ics", "u2", "e"))) // while the push is on its way
	donePush(t, db, "n2", list, nil)                 // not its lease
	claimPush(t, db, "n2")
	donePush(t, db, "n1", list, nil)
	list = claimPush(t, db, "n2", "https://push.test/1 content=true properties=false gone=false")
	later := storage.Micros(time.Now().Add(time.Hour))
	donePush(t, db, "n2", list, func(o *storage.PushOutcome) { o.Next, o.Budget = later, 7 })
	apply(t, db, put(object(k, "3.ics", "u3", "e")))
	claimPush(t, db, "n1") // not before its time
	list, err = db.ClaimPush(bg, "n1", time.Now().Add(59*time.Minute+61*time.Second), time.Minute, []storage.AccountID{b.ID}, nil, 10)
	ok(t, err)
	equal(t, "of another home", len(list), 0)
	ok(t, db.RemovePush(bg, a.ID, first.Token))
	is(t, db.RemovePush(bg, a.ID, first.Token), storage.ErrNotFound)

	// Properties: of this calendar, not of another one.
	subscribe(t, db, a, k, "https://push.test/2")
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, a.ID, "tasks")
		if err != nil {
			return err
		}
		c.Color = "#ff0000"
		return tx.UpdateCollection(ctx, c)
	}))
	claimPush(t, db, "n1")
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		return tx.SetProperties(ctx, []storage.Property{{PropertyKey: storage.PropertyKey{CollectionKey: k}, Space: "x", Local: "y", XML: "<y/>"}})
	}))
	list = claimPush(t, db, "n1", "https://push.test/2 content=false properties=true gone=false")
	donePush(t, db, "n1", list, func(o *storage.PushOutcome) { o.Failed = true })
	list = claimPush(t, db, "n1", "https://push.test/2 content=false properties=true gone=false") // failed: news stay news
	equal(t, "failures", list[0].Failures, 1)
	if list[0].FailingSince == 0 {
		t.Error("it is not known since when the push fails")
	}
	donePush(t, db, "n1", list, nil)
	claimPush(t, db, "n1")

	// Limits and ends.
	subscribe(t, db, a, k, "https://push.test/3")
	subscribe(t, db, a, k, "https://push.test/4")
	_, err = db.RegisterPush(bg, storage.PushSubscription{Account: a.ID, Collection: k, Endpoint: "https://push.test/5", Expires: later}, 3)
	is(t, err, storage.ErrTooMany)
	_, err = db.RegisterPush(bg, storage.PushSubscription{Account: b.ID, Collection: storage.CollectionKey{Account: b.ID, ID: 1}, Endpoint: "https://push.test/5", Expires: later}, 3)
	is(t, err, storage.ErrNotFound)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, k) }))
	list = claimPush(t, db, "n1", "https://push.test/2 content=true properties=false gone=true", "https://push.test/3 content=true properties=false gone=true", "https://push.test/4 content=true properties=false gone=true")
	donePush(t, db, "n1", list, func(o *storage.PushOutcome) { o.Remove = true })
	claimPush(t, db, "n1")
	kb := calendarOf(t, db, b, "calendar")
	subscribe(t, db, a, kb, "https://push.test/6")
	ok(t, db.RemoveAccount(bg, a.ID))
	apply(t, db, put(object(kb, "1.ics", "u1", "e")))
	claimPush(t, db, "n1")
	subscribe(t, db, b, kb, "https://push.test/7")
	_, err = db.Janitor(bg, time.Now().Add(2*time.Hour), storage.Retention{})
	ok(t, err)
	apply(t, db, put(object(kb, "2.ics", "u2", "e")))
	claimPush(t, db, "n1") // expired and swept
}

func testPushMute(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	k := calendarOf(t, db, a, "calendar")
	mine, hers := subscribe(t, db, a, k, "https://push.test/1"), subscribe(t, db, b, k, "https://push.test/2")
	through := func(m storage.PushMute, change func()) {
		t.Helper()
		ok(t, db.MutePush(bg, &m))
		change()
		ok(t, db.UnmutePush(bg, &m))
	}
	n := 0
	store := func() { n++; apply(t, db, put(object(k, fmt.Sprint(n, ".ics"), fmt.Sprint("u", n), "e"))) }
	news := func(endpoint string) string { return endpoint + " content=true properties=false gone=false" }

	through(storage.PushMute{Account: a.ID, Collection: k, Tokens: []string{mine.Token}}, store)
	donePush(t, db, "n", claimPush(t, db, "n", news("https://push.test/2")), nil)
	// Nobody silences another's subscription.
	through(storage.PushMute{Account: a.ID, Collection: k, Tokens: []string{hers.Token}}, store)
	donePush(t, db, "n", claimPush(t, db, "n", news("https://push.test/1"), news("https://push.test/2")), nil)
	through(storage.PushMute{Account: a.ID, Collection: k}, store)
	donePush(t, db, "n", claimPush(t, db, "n", news("https://push.test/2")), nil)
	// Somebody else's change in between is told.
	through(storage.PushMute{Account: a.ID, Collection: k}, func() { store(); store() })
	donePush(t, db, "n", claimPush(t, db, "n", news("https://push.test/1"), news("https://push.test/2")), nil)
	// News from before are told, too.
	store()
	through(storage.PushMute{Account: a.ID, Collection: k}, store)
	donePush(t, db, "n", claimPush(t, db, "n", news("https://push.test/1"), news("https://push.test/2")), nil)
	through(storage.PushMute{Account: b.ID, Collection: k}, func() {
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			c, err := tx.CollectionByName(ctx, a.ID, "calendar")
			if err != nil {
				return err
			}
			c.Color = "#00ff00"
			return tx.UpdateCollection(ctx, c)
		}))
	})
	claimPush(t, db, "n", "https://push.test/1 content=false properties=true gone=false")
}

// Of many workers one tells a subscriber of a change.
func testPushOnce(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	subscribe(t, db, a, k, "https://push.test/1")
	subscribe(t, db, a, k, "https://push.test/2")
	apply(t, db, put(object(k, "1.ics", "u1", "e")))
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			list, err := db.ClaimPush(bg, fmt.Sprint("n", i), time.Now(), time.Minute, nil, nil, 10)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, p := range list {
				got[p.Endpoint]++
			}
		}()
	}
	wg.Wait()
	equal(t, "claims", fmt.Sprint(got), "map[https://push.test/1:1 https://push.test/2:1]")
}

// A request that is to be kept quiet, while a push about an earlier one is on
// its way.
func testPushMuteInFlight(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	subscribe(t, db, a, k, "https://push.test/1")
	for i, fails := range []bool{false, true} {
		apply(t, db, put(object(k, fmt.Sprint(i, "a.ics"), fmt.Sprint("a", i), "e")))
		flying := claimPush(t, db, "n", "https://push.test/1 content=true properties=false gone=false")
		m := storage.PushMute{Account: a.ID, Collection: k}
		ok(t, db.MutePush(bg, &m))
		apply(t, db, put(object(k, fmt.Sprint(i, "b.ics"), fmt.Sprint("b", i), "e")))
		ok(t, db.UnmutePush(bg, &m))
		donePush(t, db, "n", flying, func(o *storage.PushOutcome) { o.Failed = fails })
		if !fails {
			claimPush(t, db, "n")
			continue
		}
		claimPush(t, db, "n", "https://push.test/1 content=true properties=false gone=false") // the earlier one is still to be told
	}
}
