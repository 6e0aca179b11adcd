package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

func testForgotten(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	forget := func(list ...storage.Forgotten) {
		t.Helper()
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.Forget(ctx, list) }))
	}
	find := func(uid string) string {
		t.Helper()
		out := ""
		ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			list, err := tx.Forgotten(ctx, []storage.AccountID{a.ID, b.ID}, uid)
			for _, f := range list {
				name := "alice"
				if f.Account == b.ID {
					name = "bob"
				}
				out += fmt.Sprintf("%s %d %d %d%s;", name, f.Sequence, f.DTStamp, f.At, f.Data)
			}
			return err
		}))
		return out
	}
	day := 24 * time.Hour
	now := time.Now()
	at := storage.Micros(now.Add(-100 * day))
	equal(t, "nothing yet", find("u"), "")
	forget(storage.Forgotten{Account: a.ID, UID: "u", Sequence: 3, DTStamp: 30, At: at, Data: " as it was"})
	equal(t, "alice's", find("u"), fmt.Sprintf("alice 3 30 %d as it was;", at))
	equal(t, "another UID", find("v"), "")
	forget(storage.Forgotten{Account: a.ID, UID: "u", Sequence: -1, DTStamp: 40, At: storage.Micros(now)}, storage.Forgotten{Account: b.ID, UID: "v", DTStamp: 1, At: at})
	equal(t, "replaced", find("u"), fmt.Sprintf("alice -1 40 %d;", storage.Micros(now)))
	sweep := func(at time.Time, r storage.Retention) int {
		t.Helper()
		s, err := db.Janitor(bg, at, r)
		ok(t, err)
		return s.Forgotten
	}
	equal(t, "kept for ever", sweep(now.Add(1000*day), storage.Retention{}), 0)
	keep := storage.Retention{Forgotten: 180 * day}
	equal(t, "too early", sweep(now.Add(79*day), keep), 0)
	equal(t, "bob's", sweep(now.Add(81*day), keep), 1)
	equal(t, "alice's is left", find("u"), fmt.Sprintf("alice -1 40 %d;", storage.Micros(now)))
	equal(t, "alice's", sweep(now.Add(181*day), keep), 1)
	equal(t, "nothing", find("u"), "")
}

// testOldStates: what peers acknowledged goes when the object and its
// deliveries have gone; unnamed snapshots go after a day, what was deleted after a week.
func testOldStates(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	apply(t, db, put(object(k, "live.ics", "live", "e")))
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		for _, uid := range []string{"live", "gone", "open"} {
			for _, digest := range []string{"old", "known"} {
				if err := tx.SaveSnapshot(ctx, storage.Snapshot{Account: a.ID, UID: uid, Digest: digest, Data: "text"}); err != nil {
					return err
				}
			}
			if err := tx.SetPeerStates(ctx, []storage.PeerState{{Account: a.ID, UID: uid, RecipientKey: "mailto:x@x.test", Digest: "known"}}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, text := range []string{"first", "second"} {
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			return tx.SaveSnapshot(ctx, storage.Snapshot{Account: a.ID, UID: "gone", Digest: storage.DeletedState, Data: text})
		}))
	}
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		data, err := tx.Snapshot(ctx, a.ID, "gone", storage.DeletedState)
		equal(t, "the last that was deleted", data, "second")
		return err
	}))
	enqueue(t, db, a, "open", "x@x.test")
	there := func() string {
		t.Helper()
		out := ""
		ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			for _, uid := range []string{"live", "gone", "open"} {
				m, err := tx.PeerStates(ctx, a.ID, uid)
				if err != nil {
					return err
				}
				out += fmt.Sprintf("%s %d", uid, len(m))
				for _, digest := range []string{"old", "known", storage.DeletedState} {
					if _, err := tx.Snapshot(ctx, a.ID, uid, digest); err == nil {
						out += " " + digest
					}
				}
				out += ";"
			}
			return nil
		}))
		return out
	}
	keep := storage.Retention{Deliveries: 90 * 24 * time.Hour}
	sweep := func(after time.Duration) {
		t.Helper()
		for range 5 {
			s, err := db.Janitor(bg, time.Now().Add(after), keep)
			ok(t, err)
			if !s.More {
				return
			}
		}
	}
	sweep(time.Hour)
	equal(t, "after an hour", there(), "live 1 old known;gone 1 old known deleted;open 1 old known;")
	sweep(48 * time.Hour)
	equal(t, "after two days", there(), "live 1 known;gone 1 known deleted;open 1 old known;")
	sweep(8 * 24 * time.Hour)
	equal(t, "after eight days", there(), "live 1 known;gone 1 known;open 1 old known;")
	sweep(91 * 24 * time.Hour)
	sweep(91 * 24 * time.Hour)
	equal(t, "after all", there(), "live 1 known;gone 0;open 1 old known;")
}

func testFailedRecipients(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	failed := func() string {
		t.Helper()
		out := ""
		ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			m, err := tx.FailedRecipients(ctx, a.ID, "u")
			for _, r := range []string{"x@x.test", "y@y.test"} {
				if m["mailto:"+r] {
					out += r + " "
				}
			}
			return err
		}))
		return out
	}
	enqueue(t, db, a, "u", "x@x.test", "y@y.test")
	equal(t, "nothing is final", failed(), "")
	finish(t, db, claim(t, db, "w", 10, 0), storage.DeliveryFailed)
	equal(t, "both", failed(), "x@x.test y@y.test ")
	enqueue(t, db, a, "u", "x@x.test")
	equal(t, "something newer is under way", failed(), "y@y.test ")
	finish(t, db, claim(t, db, "w", 10, 0), storage.DeliveryDone)
	equal(t, "the newer one arrived", failed(), "y@y.test ")
}

func testRefreshMany(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	now := time.Now()
	in := func(d time.Duration) int64 { return storage.Micros(now.Add(d)) }
	queue := func(list ...storage.Refresh) int {
		ctx, counter := storage.WithCounter(bg)
		ok(t, db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.QueueRefreshes(ctx, list) }))
		return counter.Statements()
	}
	one := queue(storage.Refresh{Account: a.ID, UID: "u", NotBefore: in(5 * time.Second)})
	three := queue(storage.Refresh{Account: a.ID, UID: "u", NotBefore: in(5 * time.Second)}, storage.Refresh{Account: b.ID, UID: "u", NotBefore: in(time.Second)}, storage.Refresh{Account: a.ID, UID: "u", NotBefore: in(2 * time.Second)})
	equal(t, "statements", three, one)
	claim := func(after time.Duration) int {
		t.Helper()
		list, err := db.ClaimRefresh(bg, "w", now.Add(after), time.Minute, 10)
		ok(t, err)
		return len(list)
	}
	equal(t, "too early", claim(0), 0)
	equal(t, "bob's", claim(1500*time.Millisecond), 1)
	equal(t, "alice's, at the earlier time", claim(2500*time.Millisecond), 1)
}

func testMembersOf(t *testing.T, db *storage.DB) {
	a, b, c := user(t, db, "alice"), user(t, db, "bob"), user(t, db, "carol")
	team, err := db.CreateAccount(bg, storage.Account{Handle: "team", Kind: storage.KindGroup})
	ok(t, err)
	staff, err := db.CreateAccount(bg, storage.Account{Handle: "staff", Kind: storage.KindGroup})
	ok(t, err)
	ok(t, db.AddMember(bg, team.ID, b.ID))
	ok(t, db.AddMember(bg, team.ID, a.ID))
	ok(t, db.AddMember(bg, staff.ID, team.ID))
	ok(t, db.AddMember(bg, staff.ID, c.ID))
	off := true
	_, err = db.UpdateAccount(bg, b.ID, storage.AccountChange{Disabled: &off})
	ok(t, err)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		m, err := tx.MembersOf(ctx, []storage.AccountID{team.ID, staff.ID})
		got := ""
		for _, g := range []storage.Account{team, staff} {
			got += g.Handle
			for _, x := range m[g.ID] {
				got += " " + x.Handle
			}
			got += ";"
		}
		equal(t, "members", got, "team alice;staff alice carol;")
		return err
	}))
}
