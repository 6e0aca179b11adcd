package storage

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A scheduling object resource is not replaced by this path, nor an object by
// one with another UID (RFC 4791 §5.3.2.1, CALDAV:no-uid-conflict).
const putReplace = objectUpsert + ` WHERE object.flags & 16 = 0 AND object.uid = excluded.uid`

// putCondition is what a plain PUT asks of the name it is stored under.
type putCondition int

const (
	putPlain putCondition = iota // nothing
	putNone                      // it is free
	putAny                       // there is an object
	putMatch                     // there is an object with this entity tag
)

func (p *PlainPut) condition() putCondition {
	switch {
	case p.IfNone:
		return putNone
	case p.IfMatch == "*":
		return putAny
	case p.IfMatch != "":
		return putMatch
	}
	return putPlain
}

// putSeen are the conditions of Seen on the row of the collection that a PUT
// counts up; its values begin at $n. The last is that there is room, if it is
// looked for.
func putSeen(n int, room bool) string {
	p := func(i int) string { return "$" + strconv.Itoa(n+i) }
	text := ` AND name = ` + p(0) + ` AND components = ` + p(1) +
		` AND EXISTS (SELECT 1 FROM account h WHERE h.id = $1 AND h.version = ` + p(2) + ` AND h.modified = ` + p(3) + ` AND h.removed = 0)`
	if room {
		text += ` AND (SELECT CAST(SUM(x.bytes) AS BIGINT) FROM collection x WHERE x.account_id = $1 AND x.deleting = 0) <= CAST(` + p(4) + ` AS BIGINT)`
	}
	return text
}

const putSeenArgs = 5 // at most

// putLooks is what of Seen a PUT compares: which of its statements.
type putLooks int

const (
	looksNothing putLooks = iota
	looksAll
	looksNoRoom // all but the room
	putLooksKinds
)

// looks says which statement the PUT takes, and adds its values.
func (p *PlainPut) looks(args []any) (putLooks, []any) {
	s := p.Seen
	if s == nil {
		return looksNothing, args
	}
	args = append(args, s.Collection, int64(s.Components), s.Version, s.Modified)
	switch p.room {
	case roomGranted:
		return looksNoRoom, args
	case roomAsked:
		return looksAll, append(args, s.Room-roomFar-int64(len(p.Object.Data)))
	}
	return looksAll, append(args, s.Room-int64(len(p.Object.Data)))
}

// PutPlain stores an object that concerns nobody but its owner: it takes the
// collection's lock, tests the conditions, stores and writes the journal, by
// one statement on PostgreSQL; on SQLite those that wait for their turn at the
// same time share one commit. The caller has parsed the object and knows
// that it has no organizer.
//
// ErrNotFound: no such collection, or it is not as p.Seen says. PreconditionError: If-Match or
// If-None-Match. UIDConflictError: the UID is used by another object of the
// calendar, or this one has another UID. ErrNotPlain: what is stored is a
// scheduling object resource; take the full way. Nothing has been stored then.
func (db *DB) PutPlain(ctx context.Context, p PlainPut) (PlainResult, error) {
	o := &p.Object
	if err := checkObject(o); err != nil {
		return PlainResult{}, err
	}
	if p.Seen != nil {
		p.room = db.rooms.check(o.Account, p.Seen.Room, int64(len(o.Data)), Micros(db.clock()))
	}
	began := time.Now()
	for attempt := 1; ; attempt++ {
		out, err := db.putPlain(ctx, &p)
		if p.room == roomAsked && (err == nil || errors.Is(err, ErrNotFound)) {
			db.rooms.found(o.Account, p.Seen.Room, err == nil, Micros(db.clock()))
			if err != nil { // perhaps there is room, only not much
				p.room = roomExact
				continue
			}
		}
		if err == nil {
			if db.hub.listened.Load() > 0 {
				db.tell([]note{{TopicCollection, strconv.FormatInt(int64(o.Account), 10)}})
			}
			return out, nil
		}
		if ctx.Err() != nil {
			return out, err
		}
		switch classify(err) {
		case failureUnique, failureGuard:
			if reason := db.putRefused(ctx, &p); reason != nil {
				return PlainResult{}, reason
			}
		case failureRetry:
			if !deadlocked(err) && time.Since(began) >= retryFor {
				return PlainResult{}, err
			}
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
	now := Micros(db.clock())
	out.Tag = db.random(6)
	if db.pg != nil {
		err = db.pg.putPlain(ctx, p, now, &out)
	} else {
		err = db.lite.putPlain(ctx, p, now, &out)
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
