package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

// enqueue queues one message to recipients "name@domain".
func enqueue(t *testing.T, db *storage.DB, a storage.Account, uid string, recipients ...string) []storage.Delivery {
	t.Helper()
	m := []storage.Message{{Account: a.ID, ID: db.NewID(), UID: uid, Method: "REQUEST", Component: "VEVENT", Originator: "mailto:a@example.test", Body: "body of " + uid}}
	var ds []storage.Delivery
	for _, r := range recipients {
		_, domain, _ := strings.Cut(r, "@")
		ds = append(ds, storage.Delivery{Account: a.ID, MessageID: m[0].ID, UID: uid, Recipient: "mailto:" + r, RecipientKey: "mailto:" + r, Domain: domain, Status: "1.0"})
	}
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, m, ds) }))
	return ds
}

func claim(t *testing.T, db *storage.DB, owner string, limit, perDomain int) []storage.Claimed {
	t.Helper()
	list, err := db.Claim(bg, owner, time.Now(), time.Minute, limit, perDomain)
	ok(t, err)
	return list
}

func finish(t *testing.T, db *storage.DB, list []storage.Claimed, state storage.DeliveryState) {
	t.Helper()
	var ds []storage.Delivery
	for _, c := range list {
		c.State, c.Status = state, "1.2"
		ds = append(ds, c.Delivery)
	}
	n, err := db.Finish(bg, ds)
	ok(t, err)
	equal(t, "finished", n, len(ds))
}

func testDeliveries(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	ctx, counter := storage.WithCounter(bg)
	var ms []storage.Message
	var ds []storage.Delivery
	for i := range 200 {
		ms = append(ms, storage.Message{Account: a.ID, ID: db.NewID(), UID: "u", Method: "REQUEST", Body: fmt.Sprint("b", i)})
		ds = append(ds, storage.Delivery{Account: a.ID, MessageID: ms[i].ID, UID: "u", RecipientKey: fmt.Sprintf("mailto:%d@x.test", i), Domain: "x.test", State: storage.DeliveryHeld,
			NotBefore: storage.Micros(time.Now().Add(time.Hour)), Expires: 5})
	}
	ok(t, db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, ms, ds) }))
	if counter.Statements() > 5 {
		t.Fatalf("%d statements", counter.Statements())
	}
	equal(t, "claimed too early", len(claim(t, db, "w", 10, 0)), 0)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		open, err := tx.OpenDeliveries(ctx, a.ID, "u")
		if err != nil {
			return err
		}
		equal(t, "open", len(open), 200)
		if open[0].Message.Body == "" || open[0].Message.ID != open[0].MessageID || open[0].Turn != 1 {
			t.Fatalf("%+v", open[0])
		}
		out := []storage.Delivery{open[0].Delivery, open[1].Delivery, open[2].Delivery}
		out[0].State, out[1].State, out[2].State, out[2].NotBefore = storage.DeliveryWithdrawn, storage.DeliverySuperseded, storage.DeliveryQueued, 0
		return tx.UpdateDeliveries(ctx, out)
	}))
	due := claim(t, db, "w", 10, 0)
	equal(t, "due", len(due), 1)
	due[0].Trace, due[0].Detail, due[0].Proof, due[0].Transport, due[0].Attempts = `[1]`, "fine", "dkim", "ischedule", 1
	finish(t, db, due, storage.DeliveryDone)
	got, err := db.Delivery(bg, a.ID, due[0].ID)
	ok(t, err)
	if got.State != storage.DeliveryDone || got.Status != "1.2" || got.Trace != "[1]" || got.LeaseOwner != "" || got.Attempts != 1 || got.Proof != "dkim" || got.Expires != 5 || got.WireID == "" {
		t.Fatalf("%+v", got)
	}
	n, err := db.Finish(bg, []storage.Delivery{due[0].Delivery})
	if err == nil {
		t.Fatalf("an unfinished state was written, %d", n)
	}
	list, err := db.Deliveries(bg, storage.DeliveryFilter{Account: a.ID, UID: "u", Domain: "x.test", State: storage.DeliveryHeld, Limit: 150})
	ok(t, err)
	equal(t, "page", len(list), 150)
	last := list[149]
	list, err = db.Deliveries(bg, storage.DeliveryFilter{State: storage.DeliveryHeld, After: storage.DeliveryCursor{Created: last.Created, ID: last.ID}})
	ok(t, err)
	equal(t, "rest", len(list), 47)
	ok(t, db.RetryDelivery(bg, a.ID, list[0].ID))
	ok(t, db.CancelDelivery(bg, a.ID, list[1].ID))
	is(t, db.CancelDelivery(bg, a.ID, list[1].ID), storage.ErrNotFound)
	is(t, db.RetryDelivery(bg, a.ID, due[0].ID), storage.ErrNotFound)
	again := claim(t, db, "w", 10, 0)
	if len(again) != 1 || again[0].ID != list[0].ID {
		t.Fatalf("%+v", again)
	}
	_, err = db.Delivery(bg, a.ID, 5)
	is(t, err, storage.ErrNotFound)
}

func testClaimOrder(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	for range 3 {
		enqueue(t, db, a, "u1", "bob@x.test", "carol@y.test")
	}
	enqueue(t, db, a, "u2", "bob@x.test")
	first := claim(t, db, "w", 100, 0)
	equal(t, "first of each", len(first), 3)
	equal(t, "nothing more", len(claim(t, db, "w", 100, 0)), 0)
	finish(t, db, first, storage.DeliveryDone)
	second := claim(t, db, "w", 100, 0)
	equal(t, "second", len(second), 2)
	for _, c := range second {
		equal(t, "turn", c.Turn, int64(2))
	}
	for i := range second { // one waits for another attempt: its successor waits too
		second[i].State = storage.DeliveryQueued
		second[i].NotBefore = storage.Micros(time.Now().Add(time.Hour))
	}
	n, err := db.Finish(bg, []storage.Delivery{second[0].Delivery, second[1].Delivery})
	ok(t, err)
	equal(t, "finished", n, 2)
	equal(t, "successors", len(claim(t, db, "w", 100, 0)), 0)
	next, err := db.NextDue(bg)
	ok(t, err)
	if d := time.Until(next); d < 50*time.Minute || d > time.Hour {
		t.Fatalf("next due in %v", d)
	}
}

func testClaimCap(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	for i := range 30 {
		enqueue(t, db, a, fmt.Sprint("slow", i), "a@slow.test", "b@slow.test")
	}
	enqueue(t, db, a, "other", "a@fast.test")
	second := Second(t, db)
	var wires, fast atomic.Int64
	parallel(6, func(i int) {
		seen := map[string]bool{}
		list, err := []*storage.DB{db, second}[i%2].Claim(bg, fmt.Sprint("w", i), time.Now(), time.Minute, 10, 3)
		if err != nil {
			t.Errorf("claim: %v", err)
		}
		for _, c := range list {
			if c.Domain == "fast.test" {
				fast.Add(1)
			} else if !seen[c.WireID] {
				seen[c.WireID] = true
				wires.Add(1)
			}
		}
	})
	equal(t, "parcels in flight to the slow domain", wires.Load(), int64(3))
	equal(t, "the other domain", fast.Load(), int64(1))
}

func testWireIDs(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	enqueue(t, db, a, "u1", "a@x.test", "b@x.test", "c@x.test", "d@y.test")
	list := claim(t, db, "w", 100, 0)
	ids := map[string]string{}
	for _, c := range list {
		if have := ids[c.Domain]; have != "" && have != c.WireID {
			t.Fatalf("two ids for %s", c.Domain)
		}
		ids[c.Domain] = c.WireID
	}
	equal(t, "ids", len(ids), 2)
	var ds []storage.Delivery
	for _, c := range list {
		c.State, c.Attempts = storage.DeliveryQueued, 1
		if c.Domain == "y.test" {
			c.WireID = "" // refused, to be sent anew
		}
		ds = append(ds, c.Delivery)
	}
	_, err := db.Finish(bg, ds)
	ok(t, err)
	again := claim(t, db, "w", 1, 0) // one asked for, all of its wire id come
	if again[0].Domain == "y.test" {
		again = claim(t, db, "w", 1, 0)
	}
	equal(t, "together", len(again), 3)
	for _, c := range again {
		equal(t, "id after no answer", c.WireID, ids["x.test"])
	}
}

func testLeases(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	enqueue(t, db, a, "u1", "a@x.test")
	now := time.Now()
	first, err := db.Claim(bg, "one", now, time.Minute, 10, 1)
	ok(t, err)
	equal(t, "claimed", len(first), 1)
	none, err := db.Claim(bg, "two", now.Add(30*time.Second), time.Minute, 10, 1)
	ok(t, err)
	equal(t, "leased", len(none), 0)
	second, err := db.Claim(bg, "two", now.Add(2*time.Minute), time.Minute, 10, 1)
	ok(t, err)
	equal(t, "after the lease", len(second), 1)
	equal(t, "wire id", second[0].WireID, first[0].WireID)
	late := first[0].Delivery
	late.State = storage.DeliveryFailed
	n, err := db.Finish(bg, []storage.Delivery{late})
	ok(t, err)
	equal(t, "late", n, 0)
	finish(t, db, second, storage.DeliveryDone)
}

func testWriteBack(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	enqueue(t, db, a, "u1", "a@x.test", "b@y.test")
	list := claim(t, db, "w", 10, 0)
	pending := func(db *storage.DB) int {
		t.Helper()
		p, err := db.PendingWriteBack(bg, 10)
		ok(t, err)
		return len(p)
	}
	finish(t, db, list[:1], storage.DeliveryDone)
	equal(t, "another is open, and this was just now", pending(db), 0)
	equal(t, "two seconds later", pending(SecondWith(t, db, storage.Options{Clock: func() time.Time { return time.Now().Add(3 * time.Second) }})), 1)
	finish(t, db, list[1:], storage.DeliveryFailed)
	equal(t, "all are final", pending(db), 1)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		all, err := tx.CurrentDeliveries(ctx, a.ID, "u1")
		if err != nil {
			return err
		}
		return tx.MarkWritten(ctx, a.ID, []int64{all[0].ID, all[1].ID})
	}))
	equal(t, "written", pending(db), 0)

	// Of many changes that were told the newest counts.
	told := func() (current, to, arrived string) {
		t.Helper()
		ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			list, err := tx.CurrentDeliveries(ctx, a.ID, "u1")
			for _, d := range list {
				current += fmt.Sprintf("%s %d %d;", d.RecipientKey, d.Turn, d.State)
			}
			last, err2 := tx.LastArrived(ctx, a.ID, "u1")
			arrived = fmt.Sprint(last)
			return errors.Join(err, err2)
		}))
		list, err := db.DeliveriesTo(bg, a.ID, "u1", "mailto:a@x.test")
		ok(t, err)
		for _, d := range list {
			to += fmt.Sprintf("%d %d;", d.Turn, d.State)
		}
		return
	}
	sees := func(what, current, to, arrived string) {
		t.Helper()
		c, o, r := told()
		equal(t, what+": current", c, current)
		equal(t, what+": to one", o, to)
		equal(t, what+": arrived", r, arrived)
	}
	sees("both final", "mailto:a@x.test 1 4;mailto:b@y.test 1 5;", "1 4;", "map[mailto:a@x.test:1.2]")
	enqueue(t, db, a, "u1", "a@x.test")
	sees("on its way", "mailto:a@x.test 2 2;mailto:b@y.test 1 5;", "1 4;2 2;", "map[mailto:a@x.test:1.2]")
	finish(t, db, claim(t, db, "w", 10, 0), storage.DeliverySuperseded)
	sees("taken back", "mailto:a@x.test 1 4;mailto:b@y.test 1 5;", "1 4;2 6;", "map[mailto:a@x.test:1.2]")
	enqueue(t, db, a, "u1", "a@x.test")
	finish(t, db, claim(t, db, "w", 10, 0), storage.DeliveryDone)
	enqueue(t, db, a, "u1", "a@x.test")
	finish(t, db, claim(t, db, "w", 10, 0), storage.DeliveryFailed)
	for each, want := range map[int]string{1: "a@x.test 4;b@y.test 1;", 3: "a@x.test 4;a@x.test 3;a@x.test 2;b@y.test 1;"} {
		recent, err := db.RecentDeliveries(bg, a.ID, "u1", each)
		ok(t, err)
		got := ""
		for _, d := range recent {
			got += fmt.Sprintf("%s %d;", strings.TrimPrefix(d.RecipientKey, "mailto:"), d.Turn)
		}
		equal(t, fmt.Sprint("the last ", each), got, want)
	}
	sees("two are not written", "mailto:a@x.test 3 4;mailto:a@x.test 4 5;mailto:b@y.test 1 5;", "1 4;2 6;3 4;4 5;", "map[mailto:a@x.test:1.2]")
}

func testPeerStates(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	set := func(ps ...storage.PeerState) {
		t.Helper()
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			if err := tx.SaveSnapshot(ctx, storage.Snapshot{Account: a.ID, UID: "u", Digest: "d1", Data: "data"}); err != nil {
				return err
			}
			return tx.SetPeerStates(ctx, ps)
		}))
	}
	get := func() string {
		t.Helper()
		var out string
		ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			m, err := tx.PeerStates(ctx, a.ID, "u")
			out = fmt.Sprint(len(m), m["k1"].Digest, m["k2"].Digest)
			return err
		}))
		return out
	}
	set(storage.PeerState{Account: a.ID, UID: "u", RecipientKey: "k1", Digest: "d1"}, storage.PeerState{Account: a.ID, UID: "u", RecipientKey: "k2", Digest: "d1"})
	equal(t, "states", get(), "2d1d1")
	set(storage.PeerState{Account: a.ID, UID: "u", RecipientKey: "k1", Digest: "d2"}, storage.PeerState{Account: a.ID, UID: "u", RecipientKey: "k2"})
	equal(t, "states", get(), "1d2")
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		data, err := tx.Snapshot(ctx, a.ID, "u", "d1")
		equal(t, "snapshot", data, "data")
		if _, none := tx.Snapshot(ctx, a.ID, "u", "d2"); !errors.Is(none, storage.ErrNotFound) {
			t.Errorf("error %v", none)
		}
		return err
	}))
}

func testRefresh(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	now := time.Now()
	queue := func(at time.Time) {
		t.Helper()
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.QueueRefresh(ctx, a.ID, "u", at) }))
	}
	queue(now.Add(time.Second))
	queue(now.Add(5 * time.Second))
	take := func(at time.Time) []storage.Refresh {
		t.Helper()
		list, err := db.ClaimRefresh(bg, "w", at, time.Minute, 10)
		ok(t, err)
		return list
	}
	equal(t, "too early", len(take(now)), 0)
	first := take(now.Add(2 * time.Second))
	equal(t, "one for both", len(first), 1)
	equal(t, "leased", len(take(now.Add(3*time.Second))), 0)
	queue(now.Add(4 * time.Second)) // again while it is worked on
	done := func(r storage.Refresh) {
		t.Helper()
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.DoneRefresh(ctx, r) }))
	}
	done(first[0])
	second := take(now.Add(5 * time.Second))
	equal(t, "queued again", len(second), 1)
	done(second[0])
	equal(t, "done", len(take(now.Add(time.Hour))), 0)
}

func testReplay(t *testing.T, db *storage.DB) {
	once := storage.Once{Domain: "x.test", Selector: "s", SignatureHash: "h1", MessageID: "m1", BodyHash: "b1", Recipients: "r"}
	until := time.Now().Add(time.Hour)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		return tx.ReplayStore(ctx, once, "results", until, until)
	}))
	for _, c := range []struct {
		name            string
		change          func(*storage.Once)
		found, conflict bool
	}{
		{"same", func(*storage.Once) {}, true, false},
		{"signed again", func(o *storage.Once) { o.SignatureHash = "h2" }, true, false},
		{"signature with another body", func(o *storage.Once) { o.BodyHash, o.MessageID = "b2", "m2" }, false, true},
		{"message id with another body", func(o *storage.Once) { o.BodyHash, o.SignatureHash = "b2", "h2" }, false, true},
		{"other recipients", func(o *storage.Once) { o.Recipients, o.SignatureHash = "q", "h2" }, false, true},
		{"other", func(o *storage.Once) { o.SignatureHash, o.MessageID = "h2", "m2" }, false, false},
		{"other domain", func(o *storage.Once) { o.Domain = "y.test" }, false, false},
		{"no message id", func(o *storage.Once) { o.SignatureHash, o.MessageID = "h2", "" }, false, false},
	} {
		o := once
		c.change(&o)
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			results, found, conflict, err := tx.ReplaySeen(ctx, o)
			if found != c.found || conflict != c.conflict || found && results != "results" {
				t.Errorf("%s: %q %v %v", c.name, results, found, conflict)
			}
			return err
		}))
	}
}

func testReplayRace(t *testing.T, db *storage.DB) {
	second := Second(t, db)
	once := storage.Once{Domain: "x.test", Selector: "s", SignatureHash: "h", MessageID: "m", BodyHash: "b", Recipients: "r"}
	until := time.Now().Add(time.Hour)
	var applied atomic.Int64
	parallel(6, func(i int) {
		var first bool
		err := []*storage.DB{db, second}[i%2].Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			first = false
			_, found, _, err := tx.ReplaySeen(ctx, once)
			if err != nil || found {
				return err
			}
			first = true
			return tx.ReplayStore(ctx, once, "results", until, until)
		})
		if err != nil {
			t.Errorf("error %v", err)
		} else if first {
			applied.Add(1)
		}
	})
	equal(t, "applied", applied.Load(), int64(1))
}

func testDomains(t *testing.T, db *storage.DB) {
	ok(t, db.AddDomain(bg, "Example.TEST."))
	ok(t, db.AddDomain(bg, "example.test"))
	is(t, db.AddDomain(bg, "a b"), storage.ErrInvalid)
	list, err := db.ListDomains(bg)
	ok(t, err)
	if len(list) != 1 || list[0].Name != "example.test" || list[0].Role != storage.RoleLocal {
		t.Fatalf("%+v", list)
	}
	gateway := storage.Domain{Name: "example.test", Role: storage.RoleGateway, Backend: "https://backend.test/itip", Nonce: "n", Token: "h"}
	ok(t, db.SetBackend(bg, gateway))
	list, err = db.ListDomains(bg)
	ok(t, err)
	gateway.Created = list[0].Created
	equal(t, "gateway", list[0], gateway)
	is(t, db.SetBackend(bg, storage.Domain{Name: "other.test"}), storage.ErrNotFound)
	ok(t, db.SetBackend(bg, storage.Domain{Name: "example.test"}))
	key := func(selector string, s storage.KeyState) storage.Key {
		return storage.Key{Domain: "example.test", Purpose: "calendar", Selector: selector, PEM: "pem", State: s}
	}
	ok(t, db.AddKey(bg, key("s1", storage.KeyActive)))
	ok(t, db.AddKey(bg, key("s2", storage.KeyNext)))
	is(t, db.AddKey(bg, key("s2", storage.KeyNext)), storage.ErrExists)
	is(t, db.AddKey(bg, storage.Key{Domain: "other.test"}), storage.ErrNotFound)
	ok(t, db.SetKeyState(bg, "example.test", "calendar", "s2", storage.KeyActive))
	k, err := db.ActiveKey(bg, "example.test", "calendar")
	ok(t, err)
	equal(t, "active", k.Selector, "s2")
	keys, err := db.Keys(bg, "example.test")
	ok(t, err)
	if len(keys) != 2 || keys[0].State != storage.KeyRetired {
		t.Fatalf("%+v", keys)
	}
	ok(t, db.RemoveDomain(bg, "example.test"))
	is(t, db.RemoveDomain(bg, "example.test"), storage.ErrNotFound)
	_, err = db.ActiveKey(bg, "example.test", "calendar")
	is(t, err, storage.ErrNotFound)
}

func testPeers(t *testing.T, db *storage.DB) {
	is(t, db.SetPeer(bg, "not a domain", "{}"), storage.ErrInvalid)
	is(t, db.RemovePeer(bg, "beta.test"), storage.ErrNotFound)
	ok(t, db.SetPeer(bg, "Beta.Test", `{"blocked":true}`))
	ok(t, db.SetPeer(bg, storage.EveryPeer, `{"policy":"both"}`))
	ok(t, db.SetPeer(bg, "beta.test", `{"blocked":false}`))
	list, err := db.Peers(bg)
	ok(t, err)
	if len(list) != 2 || list[0].Name != storage.EveryPeer || list[1].Name != "beta.test" || list[1].Settings != `{"blocked":false}` || list[1].Created > list[1].Changed {
		t.Fatalf("peers %+v", list)
	}
	ok(t, db.RemovePeer(bg, "beta.test"))
	list, err = db.Peers(bg)
	ok(t, err)
	equal(t, "peers left", len(list), 1)
}

func testSettings(t *testing.T, db *storage.DB) {
	_, there, err := db.Setting(bg, "a")
	ok(t, err)
	equal(t, "there", there, false)
	ok(t, db.SetSetting(bg, "a", "1"))
	ok(t, db.SetSetting(bg, "a", "2"))
	v, there, err := db.Setting(bg, "a")
	ok(t, err)
	equal(t, "value", fmt.Sprintf("%s %t", v, there), "2 true")
	var secrets, sum atomic.Int64
	parallel(5, func(i int) {
		s, err := db.SettingOrSet(bg, "secret", fmt.Sprint(i+1))
		n, err2 := db.NextCounter(bg, "n")
		if err != nil || err2 != nil {
			t.Errorf("errors %v, %v", err, err2)
		}
		secrets.Add(int64(s[0] - '0'))
		sum.Add(n)
	})
	equal(t, "counted", sum.Load(), int64(15))
	s, err := db.SettingOrSet(bg, "secret", "x")
	ok(t, err)
	equal(t, "all had one secret", secrets.Load(), int64(s[0]-'0')*5)
	mine, err := db.Lease(bg, "janitor", "one", time.Minute)
	ok(t, err)
	theirs, err := db.Lease(bg, "janitor", "two", time.Minute)
	ok(t, err)
	still, err := db.Lease(bg, "janitor", "one", -time.Second)
	ok(t, err)
	then, err := db.Lease(bg, "janitor", "two", time.Minute)
	ok(t, err)
	equal(t, "leases", fmt.Sprint(mine, theirs, still, then), "true false true true")
}

func testSecrets(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	p, err := db.AddAppPassword(bg, storage.AppPassword{Account: a.ID, Hash: "h", Label: "phone"})
	ok(t, err)
	ok(t, db.TouchAppPassword(bg, a.ID, p.ID))
	got, err := db.AppPasswordByHash(bg, a.ID, "h")
	ok(t, err)
	if got.ID != p.ID || got.LastUse == 0 {
		t.Fatalf("%+v", got)
	}
	ok(t, db.DeleteAppPassword(bg, a.ID, p.ID))
	is(t, db.DeleteAppPassword(bg, a.ID, p.ID), storage.ErrNotFound)
	b, err := db.AccountByID(bg, a.ID)
	ok(t, err)
	equal(t, "version", b.Version, a.Version+1)
	list, err := db.AppPasswords(bg, a.ID)
	ok(t, err)
	equal(t, "left", len(list), 0)
	future, past := storage.Micros(time.Now().Add(time.Hour)), storage.Micros(time.Now().Add(-time.Hour))
	ok(t, db.SaveMailToken(bg, storage.MailToken{Hash: "t1", Account: a.ID, UID: "u", Attendee: "mailto:b@x.test", Expires: future}))
	ok(t, db.SaveMailToken(bg, storage.MailToken{Hash: "t2", Account: a.ID, UID: "u", Expires: past}))
	token, err := db.MailToken(bg, "t1")
	ok(t, err)
	equal(t, "attendee", token.Attendee, "mailto:b@x.test")
	_, err = db.MailToken(bg, "t2")
	is(t, err, storage.ErrNotFound)
	q, err := db.AddQuarantine(bg, storage.Quarantined{Account: a.ID, UID: "u", From: "x", Reason: "y", Body: "z"})
	ok(t, err)
	held, err := db.ListQuarantine(bg, 0, 10)
	ok(t, err)
	if len(held) != 1 || held[0] != q {
		t.Fatalf("%+v", held)
	}
	ok(t, db.DeleteQuarantine(bg, a.ID, q.ID))
	mailTokens(t, db, a)
	quarantine(t, db, a)
	k := calendarOf(t, db, a, "calendar")
	ok(t, db.AddLink(bg, storage.Link{CollectionKey: k, Hash: "l", Expires: future}))
	ok(t, db.AddLink(bg, storage.Link{CollectionKey: k, Hash: "old", Expires: past}))
	link, err := db.LinkByHash(bg, "l")
	ok(t, err)
	equal(t, "collection", link.CollectionKey, k)
	_, err = db.LinkByHash(bg, "old")
	is(t, err, storage.ErrNotFound)
	ok(t, db.DeleteLink(bg, a.ID, "l"))
	ok(t, db.Audit(bg, "admin", "user.add", "alice", "{}"))
	trail, err := db.AuditTrail(bg, 10)
	ok(t, err)
	if len(trail) != 1 || trail[0].Actor != "admin" {
		t.Fatalf("%+v", trail)
	}
}

func testWatch(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	heard := make(chan string, 100)
	nodes := []*storage.DB{db}
	if db.Engine() == "postgres" {
		nodes = append(nodes, Second(t, db))
	}
	ended := make(chan error, len(nodes))
	for i, node := range nodes {
		go func() { ended <- node.Watch(ctx, func(topic, key string) { heard <- fmt.Sprint(i, topic) }) }()
	}
	want := map[string]bool{}
	for i := range nodes {
		want[fmt.Sprint(i, storage.TopicDelivery)] = true
	}
	for i := 0; len(want) > 0; i++ { // until both listen
		enqueue(t, db, a, fmt.Sprint("u", i), "b@x.test")
		select {
		case s := <-heard:
			delete(want, s)
		case <-time.After(50 * time.Millisecond):
		}
		if ctx.Err() != nil {
			t.Fatalf("never heard: %v", want)
		}
	}
	cancel()
	for range nodes {
		is(t, <-ended, context.Canceled)
	}
}

func testJanitor(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	k, inbox := calendarOf(t, db, a, "calendar"), calendarOf(t, db, a, "inbox")
	first, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	for i := range 5 {
		apply(t, db, put(object(k, fmt.Sprint(i), fmt.Sprint("u", i), "e")))
	}
	now, err := db.Changes(bg, k, "", 0)
	ok(t, err)
	apply(t, db, put(object(inbox, "1.ics", "u", "e")), put(object(inbox, "2.ics", "u", "e")))
	unread, err := db.Changes(bg, inbox, "", 0)
	ok(t, err)
	ok(t, db.MarkRead(bg, inbox, []string{"1.ics", "none.ics"}))
	read, err := db.Changes(bg, inbox, unread.Token, 0)
	ok(t, err)
	equal(t, "changes by reading", len(read.Changes), 0)
	enqueue(t, db, a, "u", "x@x.test")
	list := claim(t, db, "w", 10, 0)
	finish(t, db, list, storage.DeliveryDone)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkWritten(ctx, a.ID, []int64{list[0].ID}) }))
	enqueue(t, db, a, "open", "x@x.test")
	ok(t, db.RemoveAccount(bg, b.ID))
	keep := storage.Retention{Tombstones: 180 * 24 * time.Hour, Deliveries: 90 * 24 * time.Hour, InboxRead: 90 * 24 * time.Hour, Batch: 3}
	swept, err := db.Janitor(bg, time.Now(), keep)
	ok(t, err)
	if swept.Journal+swept.Deliveries+swept.Messages+swept.Inbox+swept.Accounts != 0 {
		t.Fatalf("too early: %+v", swept)
	}
	future := time.Now().Add(400 * 24 * time.Hour)
	var total storage.Swept
	for round := 0; ; round++ {
		s, err := db.Janitor(bg, future, keep)
		ok(t, err)
		total.Journal += s.Journal
		total.Deliveries += s.Deliveries
		total.Messages += s.Messages
		total.Inbox += s.Inbox
		total.Accounts += s.Accounts
		if !s.More {
			break
		}
		if round > 30 {
			t.Fatal("no end")
		}
	}
	if total.Deliveries != 1 || total.Messages != 1 || total.Inbox != 1 || total.Accounts != 2 || total.Journal < 5 {
		t.Fatalf("%+v", total)
	}
	_, err = db.Changes(bg, k, first.Token, 0)
	is(t, err, storage.ErrBadToken)
	set, err := db.Changes(bg, k, now.Token, 0)
	ok(t, err)
	equal(t, "changes", len(set.Changes), 0)
	gone, err := db.Changes(bg, inbox, "", 0)
	ok(t, err)
	equal(t, "inbox", len(gone.Changes), 1)
}
