package storagetest

import (
	"context"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

// testAlarms: an object with an EMAIL alarm becomes due when it is stored, by
// one statement for any number; who moves it first wins.
func testAlarms(t *testing.T, db *storage.DB) {
	a := user(t, db, "anna")
	k := calendarOf(t, db, a, "calendar")
	o, plain := object(k, "a.ics", "ring", "e1"), object(k, "b.ics", "quiet", "e1")
	o.Flags = storage.FlagAlarm | storage.FlagEmailAlarm
	plain.Flags = storage.FlagAlarm
	apply(t, db, put(o), put(plain))
	now := time.Now().Add(time.Hour).UnixMicro()
	due, err := db.DueAlarms(bg, now, 10)
	ok(t, err)
	if len(due) != 1 || due[0].UID != "ring" || due[0].Account != a.ID || due[0].Done != due[0].Due {
		t.Fatalf("due: %+v", due)
	}
	move := func(was, next storage.Alarm) (won bool) {
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) (err error) {
			won, err = tx.MoveAlarm(ctx, was, next)
			return err
		}))
		return won
	}
	next := storage.Alarm{Account: a.ID, UID: "ring", Due: now + 1e9, Done: now}
	equal(t, "first", move(due[0], next), true)
	equal(t, "second", move(due[0], next), false)
	list, err := db.DueAlarms(bg, now, 10)
	ok(t, err)
	equal(t, "due later", len(list), 0)

	// Storing it again makes it due at once; what was done stays done.
	apply(t, db, put(o))
	list, err = db.DueAlarms(bg, now, 10)
	ok(t, err)
	if len(list) != 1 || list[0].Done != now {
		t.Fatalf("due again: %+v", list)
	}
	equal(t, "overtaken", move(next, storage.Alarm{Account: a.ID, UID: "ring"}), false)
	equal(t, "removed", move(list[0], storage.Alarm{Account: a.ID, UID: "ring"}), true)
	list, err = db.DueAlarms(bg, now*2, 10)
	ok(t, err)
	equal(t, "none left", len(list), 0)
}
