package storage

import (
	"context"
	"fmt"
)

// itemOf is what makes UIDs unique in calendars only: ” there, the name in
// an inbox, where several messages speak of one UID.
func itemOf(kind CollectionKind, name string) string {
	if kind == CollectionCalendar {
		return ""
	}
	return name
}

const objectNames = `account_id, collection_id, name, uid, item, component, etag, schedule_tag, size, start_at, end_at, flags, sequence, seq, created, modified, extra, data`

const objectUpsert = ` ON CONFLICT (account_id, collection_id, name) DO UPDATE SET uid = excluded.uid, component = excluded.component,
	etag = excluded.etag, schedule_tag = excluded.schedule_tag, size = excluded.size, start_at = excluded.start_at, end_at = excluded.end_at,
	flags = excluded.flags, sequence = excluded.sequence, seq = excluded.seq, modified = excluded.modified, extra = excluded.extra, data = excluded.data`

// objectArgs are the values of objectNames.
func objectArgs(o *Object, item string, seq, now int64) []any {
	return []any{int64(o.Account), int64(o.ID), o.Name, o.UID, item, o.Component, o.ETag, o.ScheduleTag, int64(len(o.Data)),
		o.Start, o.End, int64(o.Flags), o.Sequence, seq, now, now, o.Extra, o.Data}
}

// Apply stores and deletes objects in any number of collections by a constant
// number of statements: three for one object stored, four for one deleted, at
// most seven for any number. Each write is a change of its collection with the next
// number and a random tag; deletes come before stores, so that a UID may move
// to another name in one call. Created of an existing object is kept, Size is
// the length of Data. Collections that are not locked yet are locked.
//
// ErrExists, ErrUIDConflict when a calendar has the UID under another name.
func (tx *Tx) Apply(ctx context.Context, writes []Write) ([]Applied, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	var missing []CollectionKey
	for i := range writes {
		w := &writes[i]
		if w.Delete {
			if err := plainText(w.Object.Name); err != nil {
				return nil, err
			}
		} else if err := checkObject(&w.Object); err != nil {
			return nil, err
		}
		if tx.locked[w.Object.CollectionKey] == nil {
			missing = append(missing, w.Object.CollectionKey)
		}
	}
	if len(missing) > 0 {
		if _, err := tx.LockCollections(ctx, missing); err != nil {
			return nil, err
		}
	}
	out := make([]Applied, len(writes))
	for i := range writes {
		c := tx.locked[writes[i].Object.CollectionKey]
		c.Seq++
		c.Tag = tx.db.random(6)
		out[i] = Applied{c.Seq, c.Tag}
	}
	if err := tx.noteAlarms(ctx, writes); err != nil {
		return nil, err
	}
	if len(writes) == 1 {
		return out, tx.applyOne(ctx, &writes[0], out[0])
	}
	if tx.db.lite != nil {
		return out, tx.applyEach(ctx, writes, out)
	}
	return out, tx.applyMany(ctx, writes, out)
}

// applyEach is applyMany on SQLite: it answers in this process, where running
// the same few prepared statements for each write takes a tenth of the time of
// unfolding all of them from JSON.
func (tx *Tx) applyEach(ctx context.Context, writes []Write, applied []Applied) error {
	seen := map[ObjectKey]bool{}
	for _, deletes := range []bool{true, false} {
		counted := ctx
		for i := range writes {
			w := &writes[i]
			if w.Delete != deletes {
				continue
			}
			if seen[w.Object.ObjectKey] {
				return fmt.Errorf("%w: %s is written twice in one call", ErrInvalid, w.Object.Name)
			}
			seen[w.Object.ObjectKey] = true
			if err := tx.applyOne(counted, w, applied[i]); err != nil {
				return err
			}
			counted = uncounted(ctx)
		}
	}
	return nil
}

func (tx *Tx) applyOne(ctx context.Context, w *Write, a Applied) error {
	o := &w.Object
	now := Micros(tx.Now())
	account, collection := int64(o.Account), int64(o.ID)
	tx.changed(o.Account)
	size := int64(len(o.Data))
	if w.Delete {
		size = 0
	}
	if err := tx.s.later(ctx, `UPDATE collection SET seq = $3, tag = $4, bytes = bytes + CAST($5 AS BIGINT) - COALESCE((SELECT x.size FROM object x
			WHERE x.account_id = $1 AND x.collection_id = $2 AND x.name = $6), 0)
		WHERE account_id = $1 AND id = $2`, account, collection, tx.locked[o.CollectionKey].Seq, tx.locked[o.CollectionKey].Tag, size, o.Name); err != nil {
		return err
	}
	if err := tx.s.later(ctx, `INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		account, collection, a.Seq, o.Name, bit(w.Delete), a.Tag, now); err != nil {
		return err
	}
	if w.Delete {
		if err := tx.s.later(ctx, `DELETE FROM property WHERE account_id = $1 AND collection_id = $2 AND object_name = $3`, account, collection, o.Name); err != nil {
			return err
		}
		return tx.s.later(ctx, `DELETE FROM object WHERE account_id = $1 AND collection_id = $2 AND name = $3`, account, collection, o.Name)
	}
	item := itemOf(tx.locked[o.CollectionKey].Kind, o.Name)
	return tx.s.later(ctx, `INSERT INTO object (`+objectNames+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`+objectUpsert,
		objectArgs(o, item, a.Seq, now)...)
}

// storeRow is one stored object of a bulk statement; D is the number of its
// data in the list of distinct ones, counted from 1.
type storeRow struct {
	Account     int64  `json:"account_id"`
	Collection  int64  `json:"collection_id"`
	Name        string `json:"name"`
	UID         string `json:"uid"`
	Item        string `json:"item"`
	Component   string `json:"component"`
	ETag        string `json:"etag"`
	ScheduleTag string `json:"schedule_tag"`
	Size        int64  `json:"size"`
	Start       int64  `json:"start_at"`
	End         int64  `json:"end_at"`
	Flags       int64  `json:"flags"`
	Sequence    int64  `json:"sequence"`
	Seq         int64  `json:"seq"`
	Extra       string `json:"extra"`
	D           int    `json:"d"`
}

const storeTypes = `account_id bigint, collection_id bigint, name text, uid text, item text, component text, etag text, schedule_tag text, size bigint, start_at bigint, end_at bigint, flags bigint, sequence bigint, seq bigint, extra text, d bigint`

type journalRow struct {
	Account    int64  `json:"account_id"`
	Collection int64  `json:"collection_id"`
	Seq        int64  `json:"seq"`
	Name       string `json:"name"`
	Deleted    int64  `json:"deleted"`
	Tag        string `json:"tag"`
}

type bumpRow struct {
	Account int64  `json:"account_id"`
	ID      int64  `json:"id"`
	Seq     int64  `json:"seq"`
	Tag     string `json:"tag"`
	Bytes   int64  `json:"bytes"` // of what is stored
}

func (tx *Tx) applyMany(ctx context.Context, writes []Write, applied []Applied) error {
	now := Micros(tx.Now())
	stored := map[ObjectKey]bool{}
	var bumps []bumpRow
	bumped := map[CollectionKey]int{} // where in bumps
	keys := make([]objectKeyRow, len(writes))
	journal := make([]journalRow, len(writes))
	var gone []objectKeyRow
	var stores []storeRow
	var data []string
	number := map[string]int{}
	for i := range writes {
		w := &writes[i]
		o := &w.Object
		c := tx.locked[o.CollectionKey]
		keys[i] = objectKeyRow{int64(o.Account), int64(o.ID), o.Name}
		at, ok := bumped[o.CollectionKey]
		if !ok {
			at = len(bumps)
			tx.changed(o.Account)
			bumped[o.CollectionKey] = at
			bumps = append(bumps, bumpRow{int64(c.Account), int64(c.ID), c.Seq, c.Tag, 0})
		}
		if !w.Delete {
			bumps[at].Bytes += int64(len(o.Data))
		}
		journal[i] = journalRow{int64(o.Account), int64(o.ID), applied[i].Seq, o.Name, bit(w.Delete), applied[i].Tag}
		if stored[o.ObjectKey] {
			return fmt.Errorf("%w: %s is written twice in one call", ErrInvalid, o.Name)
		}
		stored[o.ObjectKey] = true
		if w.Delete {
			gone = append(gone, objectKeyRow{int64(o.Account), int64(o.ID), o.Name})
			continue
		}
		if number[o.Data] == 0 {
			data = append(data, o.Data)
			number[o.Data] = len(data)
		}
		stores = append(stores, storeRow{int64(o.Account), int64(o.ID), o.Name, o.UID, itemOf(c.Kind, o.Name), o.Component, o.ETag, o.ScheduleTag,
			int64(len(o.Data)), o.Start, o.End, int64(o.Flags), o.Sequence, applied[i].Seq, o.Extra, number[o.Data]})
	}
	run := func(query string, list any, more ...any) error {
		text, err := jsonText(list)
		if err != nil {
			return err
		}
		return tx.s.later(ctx, query, append([]any{text}, more...)...)
	}
	keyText, err := jsonText(keys)
	if err != nil {
		return err
	}
	// What is written over or deleted is taken off in the same statement.
	if err := run(`UPDATE collection SET seq = r.seq, tag = r.tag, bytes = collection.bytes + r.bytes - COALESCE(g.size, 0)
		FROM @rows($1; r; account_id bigint, id bigint, seq bigint, tag text, bytes bigint) LEFT JOIN (
			SELECT k.account_id, k.collection_id, CAST(SUM(x.size) AS BIGINT) AS size FROM @rows($2; k; account_id bigint, collection_id bigint, name text)
			JOIN object x ON x.account_id = k.account_id AND x.collection_id = k.collection_id AND x.name = k.name
			GROUP BY k.account_id, k.collection_id) g ON g.account_id = r.account_id AND g.collection_id = r.id
		WHERE collection.account_id = r.account_id AND collection.id = r.id`, bumps, keyText); err != nil {
		return err
	}
	if err := run(`INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT r.account_id, r.collection_id, r.seq, r.name, r.deleted, r.tag, CAST($2 AS BIGINT)
		FROM @rows($1; r; account_id bigint, collection_id bigint, seq bigint, name text, deleted bigint, tag text)`, journal, now); err != nil {
		return err
	}
	if len(gone) > 0 {
		const those = `(SELECT r.account_id, r.collection_id, r.name FROM @rows($1; r; account_id bigint, collection_id bigint, name text))`
		if err := run(`DELETE FROM property WHERE (account_id, collection_id, object_name) IN `+those, gone); err != nil {
			return err
		}
		if err := run(`DELETE FROM object WHERE (account_id, collection_id, name) IN `+those, gone); err != nil {
			return err
		}
	}
	if len(stores) == 0 {
		return nil
	}
	texts, err := jsonText(data)
	if err != nil {
		return err
	}
	return run(`INSERT INTO object (`+objectNames+`)
		SELECT r.account_id, r.collection_id, r.name, r.uid, r.item, r.component, r.etag, r.schedule_tag, r.size, r.start_at, r.end_at,
			r.flags, r.sequence, r.seq, CAST($3 AS BIGINT), CAST($3 AS BIGINT), r.extra, v.value
		FROM @rows($1; r; `+storeTypes+`) JOIN @list($2; v) ON v.n = r.d WHERE true`+objectUpsert, stores, texts, now)
}
