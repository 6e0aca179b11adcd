package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

// mailTokens: a link is used once, whoever tries at the same time (A36).
func mailTokens(t *testing.T, db *storage.DB, a storage.Account) {
	t.Helper()
	future, past := storage.Micros(time.Now().Add(time.Hour)), storage.Micros(time.Now().Add(-time.Hour))
	want := storage.MailToken{Hash: "r1", Purpose: storage.TokenRSVP, Account: a.ID, UID: "u", Attendee: "mailto:b@x.test", Sequence: 3, Instances: "20261123T100000 20261124T100000", Nonce: "w", Expires: future}
	ok(t, db.SaveMailToken(bg, want))
	use := func(hash string) (did bool, err error) {
		err = db.Tx(bg, func(ctx context.Context, tx *storage.Tx) (err error) {
			did, err = tx.UseMailToken(ctx, hash)
			return err
		})
		return did, err
	}
	first, err := use("r1")
	ok(t, err)
	again, err := use("r1")
	ok(t, err)
	if !first || again {
		t.Errorf("used: %v, then %v", first, again)
	}
	ok(t, db.SaveMailToken(bg, want)) // the mail is sent once more: the link stays used
	got, err := db.MailToken(bg, "r1")
	ok(t, err)
	if got.Used == 0 {
		t.Error("a used link is fresh again")
	}
	got.Used = 0
	equal(t, "token", got, want)
	want.Hash, want.Expires = "r2", past
	ok(t, db.SaveMailToken(bg, want))
	_, err = use("r2")
	is(t, err, storage.ErrNotFound)
	_, err = use("none")
	is(t, err, storage.ErrNotFound)
}

// quarantine: what waits for a decision (A32).
func quarantine(t *testing.T, db *storage.DB, a storage.Account) {
	t.Helper()
	add := func(from, key string) storage.Quarantined {
		q, err := db.AddQuarantine(bg, storage.Quarantined{Account: a.ID, From: from, Reason: "unproven: x", Body: "b", File: "f", Key: key})
		ok(t, err)
		return q
	}
	first := add("mailto:Eve@X.test", "k1")
	if again := add("mailto:Eve@X.test", "k1"); first.ID == 0 || again.ID != 0 {
		t.Errorf("held twice: %d and %d", first.ID, again.ID)
	}
	got, err := db.Quarantined(bg, a.ID, first.ID)
	ok(t, err)
	equal(t, "held", got, first)
	_, err = db.Quarantined(bg, a.ID+1, first.ID)
	is(t, err, storage.ErrNotFound)
	other := add("mailto:carl@x.test", "")
	add("mailto:eve@x.test", "")
	ok(t, db.BlockSender(bg, a.ID, "mailto:eve@x.test"))
	ok(t, db.BlockSender(bg, a.ID, "mailto:eve@x.test"))
	left, err := db.ListQuarantine(bg, a.ID, 10)
	ok(t, err)
	if len(left) != 1 || left[0].ID != other.ID {
		t.Errorf("left after blocking: %+v", left)
	}
	for sender, want := range map[string]bool{"mailto:eve@x.test": true, "mailto:carl@x.test": false} {
		blocked, err := db.SenderBlocked(bg, a.ID, sender)
		ok(t, err)
		equal(t, sender, blocked, want)
	}
	list, err := db.BlockedSenders(bg, a.ID)
	ok(t, err)
	if len(list) != 1 || list[0].Sender != "mailto:eve@x.test" || list[0].Created == 0 {
		t.Errorf("blocked: %+v", list)
	}
	ok(t, db.UnblockSender(bg, a.ID, "mailto:eve@x.test"))
	is(t, db.UnblockSender(bg, a.ID, "mailto:eve@x.test"), storage.ErrNotFound)
	for i := range 503 {
		add("mailto:flood@x.test", fmt.Sprint("flood", i))
	}
	left, err = db.ListQuarantine(bg, a.ID, 1000)
	ok(t, err)
	if len(left) != 500 || left[len(left)-1].From == "mailto:carl@x.test" {
		t.Errorf("%d held after a flood, the oldest from %s", len(left), left[len(left)-1].From)
	}

	// Who is known: people of the account's meetings, and whom it wrote to.
	k := calendarOf(t, db, a, "calendar")
	o := object(k, "known.ics", "known", "e1")
	o.Flags = storage.FlagScheduling
	o.Data = "ATTENDEE;CN=A_B:MAILTO:Sam@Far.t\r\n est\r\n"
	apply(t, db, put(o))
	for word, want := range map[string]int{"sam@far.test": 1, "sam@f_r.test": 0, "sam%test": 0, "a_b": 1} {
		list, err := db.Mentioning(bg, a.ID, word, 5)
		ok(t, err)
		equal(t, word, len(list), want)
	}
	wrote, err := db.Wrote(bg, a.ID, "mailto:nobody@x.test")
	ok(t, err)
	equal(t, "wrote", wrote, false)
}
