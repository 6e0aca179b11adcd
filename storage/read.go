package storage

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// stream runs a query and yields its rows; the statement runs again for each
// range over the sequence.
func stream[T any](ctx context.Context, run func(context.Context, func(session) error) error, scan func(rows) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		started := false
		var failed error
		err := run(ctx, func(s session) error {
			r, err := s.query(ctx, query, args...)
			if err != nil {
				return err
			}
			defer r.Close()
			for r.Next() {
				v, err := scan(r)
				if err != nil {
					failed = err
					return nil
				}
				started = true
				began := time.Now()
				more := yield(v, nil)
				r.waited(time.Since(began))
				if !more {
					return nil
				}
				if failed = ctx.Err(); failed != nil {
					return nil
				}
			}
			if err := r.Err(); err != nil {
				if !started {
					return err // may be tried again
				}
				failed = err
			}
			return nil
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			yield(zero, err)
		}
	}
}

// here runs fn on the transaction's own session.
func (tx *Tx) here(_ context.Context, fn func(session) error) error { return fn(tx.s) }

type runner = func(context.Context, func(session) error) error

// List streams the objects of a collection in the order of their names. The
// connection is held while the caller ranges.
func (db *DB) List(ctx context.Context, k CollectionKey, cols Columns) iter.Seq2[Object, error] {
	return list(ctx, db.read, k, cols)
}

// List is DB.List within a transaction.
func (tx *Tx) List(ctx context.Context, k CollectionKey, cols Columns) iter.Seq2[Object, error] {
	return list(ctx, tx.here, k, cols)
}

func list(ctx context.Context, run runner, k CollectionKey, cols Columns) iter.Seq2[Object, error] {
	return stream(ctx, run, objectScanner(cols), `SELECT `+objectColumns(cols)+` FROM object o
		WHERE o.account_id = $1 AND o.collection_id = $2 ORDER BY o.name`, int64(k.Account), int64(k.ID))
}

// Select streams the objects that q's index values leave over, in the order
// of their names: a superset of what a filter matches, to be looked at closer
// unless FlagExact says that Start and End decide.
func (db *DB) Select(ctx context.Context, k CollectionKey, q ObjectQuery) iter.Seq2[Object, error] {
	return selectObjects(ctx, db.read, k, q)
}

// Select is DB.Select within a transaction.
func (tx *Tx) Select(ctx context.Context, k CollectionKey, q ObjectQuery) iter.Seq2[Object, error] {
	return selectObjects(ctx, tx.here, k, q)
}

// SelectIn is Select in several collections of an account, by one statement: in the
// order of the collections, then of names.
func (db *DB) SelectIn(ctx context.Context, account AccountID, in []CollectionID, q ObjectQuery) iter.Seq2[Object, error] {
	list, err := jsonText(in)
	if err != nil || len(in) == 0 {
		return func(yield func(Object, error) bool) {
			if err != nil {
				yield(Object{}, err)
			}
		}
	}
	text := `SELECT ` + objectColumns(q.Columns) + ` FROM @list($2; c) JOIN object o ON o.account_id = $1 AND o.collection_id = CAST(c.value AS BIGINT) WHERE true`
	args := []any{int64(account), list}
	if q.UID != "" {
		text, args = text+` AND o.uid = $3`, append(args, q.UID)
	}
	return selectWhere(ctx, db.read, q, text, `c.n, o.name`, args)
}

// The sum keeps planners to the index of UIDs (see migration 0003).
const (
	fromCollection = ` FROM object o WHERE o.account_id = $1 AND o.collection_id = $2`
	fromUID        = ` FROM object o WHERE o.account_id = $1 AND o.collection_id + 0 = $2 AND o.uid = $3`
)

func selectObjects(ctx context.Context, run runner, k CollectionKey, q ObjectQuery) iter.Seq2[Object, error] {
	text := `SELECT ` + objectColumns(q.Columns) + fromCollection
	args := []any{int64(k.Account), int64(k.ID)}
	if q.UID != "" {
		text, args = `SELECT `+objectColumns(q.Columns)+fromUID, append(args, q.UID)
	}
	return selectWhere(ctx, run, q, text, `o.name`, args)
}

// selectWhere adds the conditions of a query to a statement and runs it.
func selectWhere(ctx context.Context, run runner, q ObjectQuery, text, order string, args []any) iter.Seq2[Object, error] {
	param := func(v any) string {
		args = append(args, v)
		return parameterNames[len(args)]
	}
	if q.From != 0 || q.To != 0 {
		// What has no length lies in the range when it begins in it (RFC 4791 §9.9).
		from := param(q.From)
		text += ` AND o.end_at >= ` + from + ` AND o.start_at < ` + param(q.To) + ` AND (o.end_at > ` + from + ` OR o.start_at >= ` + from + `)`
	}
	if len(q.Components) > 0 {
		list, err := jsonText(q.Components)
		if err != nil {
			return func(yield func(Object, error) bool) { yield(Object{}, err) }
		}
		text += ` AND o.component IN (SELECT v.value FROM @list(` + param(list) + `; v))`
	}
	if len(q.UIDs) > 0 {
		list, err := jsonText(q.UIDs)
		if err != nil {
			return func(yield func(Object, error) bool) { yield(Object{}, err) }
		}
		text += ` AND o.uid IN (SELECT w.value FROM @list(` + param(list) + `; w))`
	}
	if q.Flags != 0 {
		text += ` AND (o.flags & ` + param(int64(q.Flags)) + `) <> 0`
	}
	text += ` ORDER BY ` + order
	if q.Limit > 0 {
		text += ` LIMIT ` + param(int64(q.Limit))
	}
	return stream(ctx, run, objectScanner(q.Columns), text, args...)
}

var parameterNames = [...]string{"", "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9"}

// getBatch is how many names one statement of Get asks for.
const getBatch = 500

// Missing tells that Get found no object of the name.
func (o *Object) Missing() bool { return o.Seq == 0 }

// Get yields one object for each name, in the order of names, by one statement
// for 500 of them: what a listing has of it (see objectListed), and Data or
// Extra if asked for; of an absent one only the key, see Object.Missing.
func (db *DB) Get(ctx context.Context, k CollectionKey, names []string, cols Columns) iter.Seq2[Object, error] {
	columns := objectGot
	if cols&ColumnData != 0 {
		columns += `, o.data`
	}
	if cols&ColumnExtra != 0 {
		columns += `, o.extra`
	}
	// Not sorted by v.n, which would carry all data through a sort: both engines
	// go through the list as it is, and where one does not, an object waits for
	// its turn here.
	text := `SELECT v.n, ` + orNothing(columns) + ` FROM @list($3; v) LEFT JOIN object o ON o.account_id = $1 AND o.collection_id = $2 AND o.name = v.value`
	return func(yield func(Object, error) bool) {
		for batch := range slices.Chunk(names, getBatch) {
			list, err := jsonText(batch)
			if err == nil {
				err = plainText(batch...)
			}
			if err != nil {
				yield(Object{}, err)
				return
			}
			next, waiting := 0, map[int]Object{}
			dest := make([]any, 0, 12)
			scan := func(r rows) (o Object, err error) {
				var n, flags int64
				d := append(dest, &n, &o.UID, &o.Component, &o.ETag, &o.ScheduleTag, &o.Size, &flags, &o.Seq, &o.Created, &o.Modified)
				if cols&ColumnData != 0 {
					d = append(d, &o.Data)
				}
				if cols&ColumnExtra != 0 {
					d = append(d, &o.Extra)
				}
				if err := r.Scan(d...); err != nil {
					return o, err
				}
				if n < 1 || int(n) > len(batch) {
					return o, fmt.Errorf("storage: name %d of %d", n, len(batch))
				}
				o.ObjectKey, o.Flags = ObjectKey{k, batch[n-1]}, Flags(flags)
				if int(n) != next+1 {
					waiting[int(n)] = o
					return Object{}, nil
				}
				return o, nil
			}
			for o, err := range stream(ctx, db.read, scan, text, int64(k.Account), int64(k.ID), list) {
				if err == nil && o.Name == "" {
					continue
				}
				for there := true; there; {
					if !yield(o, err) || err != nil {
						return
					}
					next++
					o, there = waiting[next+1]
					delete(waiting, next+1)
				}
			}
		}
	}
}

// BusyObjects streams the objects that may make accounts busy between from and
// to: events, availabilities and stored free/busy in calendars that count
// (RFC 6638 §9.1), not transparent unless recurring or unanswered. They have
// what Busy names; Data and Extra where they are needed, that is without
// FlagBusy. One statement whatever the number of accounts; ordered by account.
func (db *DB) BusyObjects(ctx context.Context, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	return busyObjects(ctx, db.read, accounts, from, to)
}

// BusyObjects is DB.BusyObjects within a transaction.
func (tx *Tx) BusyObjects(ctx context.Context, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	return busyObjects(ctx, tx.here, accounts, from, to)
}

func busyObjects(ctx context.Context, run runner, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	list, err := jsonText(accounts)
	if err != nil || len(accounts) == 0 {
		return func(yield func(Busy, error) bool) {
			if err != nil {
				yield(Busy{}, err)
			}
		}
	}
	dest := make([]any, 0, 10)
	scan := func(r rows) (b Busy, err error) {
		var flags int64
		o := &b.Object
		err = r.Scan(append(dest, &b.Timezone, (*int64)(&o.Account), (*int64)(&o.ID), &o.UID, &o.Component, &o.Start, &o.End, &flags, &o.Data, &o.Extra)...)
		o.Flags = Flags(flags)
		return b, err
	}
	// 128 is FlagTransparent; 258 FlagRecurring or FlagServerTransp, where the
	// organizer may mean the time to be taken; 8192 FlagBusy.
	return stream(ctx, run, scan, `SELECT `+zoneColumn+`, o.account_id, o.collection_id, o.uid, o.component, o.start_at, o.end_at, o.flags,
			CASE WHEN o.flags & 8192 <> 0 THEN '' ELSE o.data END, CASE WHEN o.flags & 8192 <> 0 THEN '' ELSE o.extra END FROM @list($1; v)
		JOIN collection c ON c.account_id = CAST(v.value AS BIGINT) AND c.kind = 2 AND c.transparent = 0 AND c.deleting = 0
		JOIN object o ON o.account_id = c.account_id AND o.collection_id = c.id
		WHERE o.end_at > $2 AND o.start_at < $3 AND (o.flags & 128 = 0 OR o.flags & 258 <> 0) AND o.component NOT IN ('VTODO', 'VJOURNAL')
		ORDER BY o.account_id`, list, from, to)
}
