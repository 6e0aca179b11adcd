package storage

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A plain PUT is three statements that need no answer in between, so that
// PostgreSQL gets them in one round trip as one implicit transaction. The
// first takes the collection's row lock; the others see what the one before
// committed. The last divides by the number of objects that the second one
// stored: none stored means that a condition did not hold, the division fails
// and everything is undone. What the reason was is looked up afterwards.
const (
	putBump = `UPDATE collection SET seq = seq + 1, tag = $3 WHERE account_id = $1 AND id = $2 AND deleting = 0 RETURNING seq, 0`

	putBumpAsk = `UPDATE collection SET seq = seq + 1, tag = $3 WHERE account_id = $1 AND id = $2 AND deleting = 0 RETURNING seq,
		(SELECT count(*) FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $4)`

	putStore = `INSERT INTO object (` + objectNames + `)
		SELECT c.account_id, c.id, $3, $4, CASE WHEN c.kind = 2 THEN '' ELSE $3 END, $5, $6, $7, CAST($8 AS BIGINT), CAST($9 AS BIGINT), CAST($10 AS BIGINT),
			CAST($11 AS BIGINT), CAST($12 AS BIGINT), c.seq, CAST($13 AS BIGINT), CAST($13 AS BIGINT), $14, $15
		FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`

	// A scheduling object resource is not replaced by this path, nor an object
	// by one with another UID (RFC 4791 §5.3.2.1, CALDAV:no-uid-conflict).
	putReplace = objectUpsert + ` WHERE object.flags & 16 = 0 AND object.uid = excluded.uid`

	putIfMatch = ` AND EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3 AND o.etag = $16)`
	putIfAny   = ` AND EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3)`
	putIfNone  = ` AND NOT EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3)`

	putJournal = `INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT c.account_id, c.id, c.seq, $3, 1 / (SELECT count(*) FROM object o
			WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3 AND o.seq = c.seq) - 1, c.tag, CAST($4 AS BIGINT)
		FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`
)

// The statements that store, by their condition.
const (
	putStorePlain = putStore + putReplace
	putStoreMatch = putStore + putIfMatch + putReplace
	putStoreAny   = putStore + putIfAny + putReplace
	putStoreNone  = putStore + putIfNone + putReplace
)

// PutPlain stores an object that concerns nobody but its owner: it takes the
// collection's lock, tests the conditions, stores and writes the journal, in
// one round trip on PostgreSQL. The caller has parsed the object and knows
// that it has no organizer.
//
// ErrNotFound: no such collection. PreconditionError: If-Match or
// If-None-Match. UIDConflictError: the UID is used by another object of the
// calendar, or this one has another UID. ErrNotPlain: what is stored is a
// scheduling object resource; take the full way. Nothing has been stored then.
func (db *DB) PutPlain(ctx context.Context, p PlainPut) (PlainResult, error) {
	o := &p.Object
	if err := checkObject(o); err != nil {
		return PlainResult{}, err
	}
	for attempt := 1; ; attempt++ {
		out, err := db.putPlain(ctx, &p)
		if err == nil || ctx.Err() != nil {
			return out, err
		}
		switch classify(err) {
		case failureUnique, failureGuard:
			if reason := db.putRefused(ctx, &p); reason != nil {
				return PlainResult{}, reason
			}
		case failureRetry:
		case failureGone:
			if !unsent(err, out.Seq) {
				return PlainResult{}, err
			}
			if db.pg != nil {
				db.pg.pool.Reset()
			}
		default:
			return PlainResult{}, err
		}
		if attempt >= retries {
			return PlainResult{}, err
		}
		if err := pause(ctx, attempt); err != nil {
			return PlainResult{}, err
		}
	}
}

func (db *DB) putPlain(ctx context.Context, p *PlainPut) (out PlainResult, err error) {
	o := &p.Object
	now := Micros(db.clock())
	out.Tag = db.random(6)
	account, collection := int64(o.Account), int64(o.ID)
	store := putStorePlain
	args := []any{account, collection, o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, int64(len(o.Data)), o.Start, o.End,
		int64(o.Flags), o.Sequence, now, o.Extra, o.Data}
	bump, bumpArgs := putBump, []any{account, collection, out.Tag}
	switch {
	case p.IfNone:
		store, out.Created = putStoreNone, true
	case p.IfMatch == "*":
		store = putStoreAny
	case p.IfMatch != "":
		store = putStoreMatch
		args = append(args, p.IfMatch)
	default:
		bump, bumpArgs = putBumpAsk, append(bumpArgs, o.Name)
	}
	bumped := func(r rows) error {
		var there int64
		if !r.Next() {
			return r.Err()
		}
		err := r.Scan(&out.Seq, &there)
		if bump == putBumpAsk {
			out.Created = there == 0
		}
		return err
	}
	if db.pg != nil {
		var b pgx.Batch
		b.Queue(db.d.text(bump), bumpArgs...)
		b.Queue(db.d.text(store), args...)
		b.Queue(db.d.text(putJournal), account, collection, o.Name, now)
		err = db.pg.atomically(ctx, bumped, &b)
	} else {
		_, err = db.lite.write(ctx, func(s session) error {
			r, err := s.query(ctx, bump, bumpArgs...)
			if err != nil {
				return err
			}
			err = bumped(r)
			r.Close()
			if err != nil || out.Seq == 0 {
				return err
			}
			if _, err = s.exec(ctx, store, args...); err != nil {
				return err
			}
			_, err = s.exec(ctx, putJournal, account, collection, o.Name, now)
			return err
		})
	}
	if err == nil && out.Seq == 0 {
		err = ErrNotFound
	}
	return out, err
}

// putRefused finds why PutPlain stored nothing; nil when nothing speaks
// against it any more.
func (db *DB) putRefused(ctx context.Context, p *PlainPut) error {
	o := &p.Object
	slot, err := db.slot(ctx, o.ObjectKey, o.UID)
	if err != nil {
		return err
	}
	var there string
	if slot.Existing != nil {
		there = slot.Existing.ETag
	}
	switch {
	case p.IfNone && slot.Existing != nil,
		p.IfMatch == "*" && slot.Existing == nil,
		p.IfMatch != "" && p.IfMatch != "*" && p.IfMatch != there:
		return &PreconditionError{ETag: there}
	case slot.Existing != nil && slot.Existing.Flags&FlagScheduling != 0:
		return ErrNotPlain
	case slot.Existing != nil && slot.Existing.UID != o.UID:
		return &UIDConflictError{Name: o.Name}
	}
	for _, s := range slot.SameUID {
		if s.ID == o.ID {
			return &UIDConflictError{Name: s.Name}
		}
	}
	return nil
}

// slot is Tx.Slot outside of a transaction.
func (db *DB) slot(ctx context.Context, key ObjectKey, uid string) (slot Slot, err error) {
	err = db.read(ctx, func(s session) error {
		slot, err = (&Tx{db: db, s: s}).Slot(ctx, key, uid)
		return err
	})
	return slot, err
}

// unsent tells that a lost connection cannot have stored anything: it was
// dead before anything was sent, or the server said so instead of an answer.
func unsent(err error, seq int64) bool {
	var pg *pgconn.PgError
	return seq == 0 && (pgconn.SafeToRetry(err) || errors.As(err, &pg))
}
