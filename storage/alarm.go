package storage

import (
	"context"
)

// Alarm says when the EMAIL alarms of an object must be looked at. Storing an
// object with FlagEmailAlarm makes it due at once; what is Done stays.
type Alarm struct {
	Account AccountID
	UID     string
	Due     int64 // Unix microseconds
	Done    int64 // alarms that go off up to here are dealt with
}

// DueAlarms lists what is due, the longest waiting first.
func (db *DB) DueAlarms(ctx context.Context, now int64, limit int) ([]Alarm, error) {
	return readAll(ctx, db, func(r rows) (a Alarm, err error) {
		err = r.Scan((*int64)(&a.Account), &a.UID, &a.Due, &a.Done)
		return
	}, `SELECT account_id, uid, due, done FROM alarm WHERE due <= $1 ORDER BY due LIMIT $2`, now, int64(limit))
}

// MoveAlarm replaces was by the times of next; Due 0 removes it. False: somebody
// else was faster, or the object has been stored again meanwhile, and nothing
// changed.
func (tx *Tx) MoveAlarm(ctx context.Context, was, next Alarm) (bool, error) {
	text, args := `UPDATE alarm SET due = $5, done = $6 WHERE account_id = $1 AND uid = $2 AND due = $3 AND done = $4`, []any{int64(was.Account), was.UID, was.Due, was.Done, next.Due, next.Done}
	if next.Due == 0 {
		text, args = `DELETE FROM alarm WHERE account_id = $1 AND uid = $2 AND due = $3 AND done = $4`, args[:4]
	}
	n, err := tx.s.exec(ctx, text, args...)
	return n == 1, err
}

// noteAlarms makes the objects with EMAIL alarms among the writes due.
func (tx *Tx) noteAlarms(ctx context.Context, writes []Write) error {
	type row struct {
		Account int64  `json:"account_id"`
		UID     string `json:"uid"`
	}
	var list []row
	seen := map[row]bool{}
	for i := range writes {
		o := &writes[i].Object
		if r := (row{int64(o.Account), o.UID}); !writes[i].Delete && o.Flags&FlagEmailAlarm != 0 && !seen[r] {
			seen[r] = true
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO alarm (account_id, uid, due, done)
		SELECT r.account_id, r.uid, CAST($2 AS BIGINT), CAST($2 AS BIGINT) FROM @rows($1; r; account_id bigint, uid text) WHERE true
		ON CONFLICT (account_id, uid) DO UPDATE SET due = excluded.due`, text, Micros(tx.Now()))
}
