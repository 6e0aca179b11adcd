package storage

import (
	"context"
	"iter"
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
				if !yield(v, nil) {
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
// for 500 of them; of an absent one only the key is set, see Object.Missing.
func (db *DB) Get(ctx context.Context, k CollectionKey, names []string, cols Columns) iter.Seq2[Object, error] {
	return get(ctx, db.read, k, names, cols)
}

// Get is DB.Get within a transaction.
func (tx *Tx) Get(ctx context.Context, k CollectionKey, names []string, cols Columns) iter.Seq2[Object, error] {
	return get(ctx, tx.here, k, names, cols)
}

func get(ctx context.Context, run runner, k CollectionKey, names []string, cols Columns) iter.Seq2[Object, error] {
	scan := func() func(rows) (Object, error) {
		dest := make([]any, 0, 19)
		return func(r rows) (o Object, err error) {
			var row objectRow
			var name string
			if err := r.Scan(row.dest(append(dest, &name), &o, cols)...); err != nil {
				return o, err
			}
			row.fill(&o)
			if o.Name == "" {
				o = Object{ObjectKey: ObjectKey{k, name}}
			}
			return o, nil
		}
	}
	text := `SELECT v.value, ` + orNothing(objectColumns(cols)) + ` FROM @list($3; v)
		LEFT JOIN object o ON o.account_id = $1 AND o.collection_id = $2 AND o.name = v.value ORDER BY v.n`
	return func(yield func(Object, error) bool) {
		for len(names) > 0 {
			batch := names[:min(len(names), getBatch)]
			names = names[len(batch):]
			list, err := jsonText(batch)
			if err == nil {
				err = plainText(batch...)
			}
			if err != nil {
				yield(Object{}, err)
				return
			}
			for o, err := range stream(ctx, run, scan(), text, int64(k.Account), int64(k.ID), list) {
				if !yield(o, err) || err != nil {
					return
				}
			}
		}
	}
}

// BusyObjects streams, with their data, the objects that may make accounts
// busy between from and to: events, availabilities and stored free/busy in
// calendars that count (RFC 6638 §9.1), not transparent unless recurring or unanswered. One
// statement whatever the number of accounts; ordered by account.
func (db *DB) BusyObjects(ctx context.Context, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	return busyObjects(ctx, db.read, accounts, from, to)
}

// BusyObjects is DB.BusyObjects within a transaction.
func (tx *Tx) BusyObjects(ctx context.Context, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	return busyObjects(ctx, tx.here, accounts, from, to)
}

func busyObjects(ctx context.Context, run runner, accounts []AccountID, from, to int64) iter.Seq2[Busy, error] {
	const columns = ColumnData | ColumnExtra
	list, err := jsonText(accounts)
	if err != nil || len(accounts) == 0 {
		return func(yield func(Busy, error) bool) {
			if err != nil {
				yield(Busy{}, err)
			}
		}
	}
	scan := func(r rows) (b Busy, err error) {
		var row objectRow
		dest := append(make([]any, 0, 18), &b.Timezone)
		if err := r.Scan(row.dest(dest, &b.Object, columns)...); err != nil {
			return b, err
		}
		row.fill(&b.Object)
		return b, nil
	}
	// 128 is FlagTransparent; 258 FlagRecurring or FlagServerTransp, where the
	// organizer may mean the time to be taken.
	return stream(ctx, run, scan, `SELECT `+zoneColumn+`, `+objectColumns(columns)+` FROM @list($1; v)
		JOIN collection c ON c.account_id = CAST(v.value AS BIGINT) AND c.kind = 2 AND c.transparent = 0 AND c.deleting = 0
		JOIN object o ON o.account_id = c.account_id AND o.collection_id = c.id
		WHERE o.end_at > $2 AND o.start_at < $3 AND (o.flags & 128 = 0 OR o.flags & 258 <> 0) AND o.component NOT IN ('VTODO', 'VJOURNAL')
		ORDER BY o.account_id, o.collection_id, o.name`, list, from, to)
}
