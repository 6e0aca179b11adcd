package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// objectColumns are objectMeta and what cols asks for besides.
func objectColumns(cols Columns) string {
	list := objectMeta
	if cols&ColumnData != 0 {
		list += ", o.data"
	}
	if cols&ColumnExtra != 0 {
		list += ", o.extra"
	}
	return list
}

// objectRow receives the columns of an object that need converting.
type objectRow struct{ flags int64 }

func (r *objectRow) dest(d []any, o *Object, cols Columns) []any {
	d = append(d, (*int64)(&o.Account), (*int64)(&o.ID), &o.Name, &o.UID, &o.Component, &o.ETag, &o.ScheduleTag, &o.Size,
		&o.Start, &o.End, &r.flags, &o.Sequence, &o.Seq, &o.Created, &o.Modified)
	if cols&ColumnData != 0 {
		d = append(d, &o.Data)
	}
	if cols&ColumnExtra != 0 {
		d = append(d, &o.Extra)
	}
	return d
}

func (r *objectRow) fill(o *Object) { o.Flags = Flags(r.flags) }

// objectScanner reads objects with cols, reusing its list of pointers.
func objectScanner(cols Columns) func(rows) (Object, error) {
	dest := make([]any, 0, 18)
	return func(r rows) (o Object, err error) {
		var row objectRow
		if err := r.Scan(row.dest(dest, &o, cols)...); err != nil {
			return o, err
		}
		row.fill(&o)
		return o, nil
	}
}

// checkObject refuses what cannot be stored as it came.
func checkObject(o *Object) error {
	if o.Name == "" || o.Account == 0 || o.ID == 0 {
		return fmt.Errorf("%w: an object without a place", ErrInvalid)
	}
	return plainText(o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, o.Data, o.Extra)
}

// LockUIDs takes the lock rows of (organizer's account, UID), in order, until
// the end of the transaction. It must come before LockCollections.
func (tx *Tx) LockUIDs(ctx context.Context, locks []UIDLock) error {
	if tx.db.lite != nil || len(locks) == 0 {
		return nil // the transaction is the only one that writes
	}
	locks = slices.Clone(locks)
	slices.SortFunc(locks, func(a, b UIDLock) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), strings.Compare(a.UID, b.UID))
	})
	locks = slices.Compact(locks)
	now := Micros(tx.Now())
	if len(locks) == 1 {
		return tx.s.later(ctx, `INSERT INTO uid_lock (account_id, uid, used) VALUES ($1, $2, $3)
			ON CONFLICT (account_id, uid) DO UPDATE SET used = excluded.used`, int64(locks[0].Owner), locks[0].UID, now)
	}
	type row struct {
		Account int64  `json:"account_id"`
		UID     string `json:"uid"`
	}
	list := make([]row, len(locks))
	for i, l := range locks {
		list[i] = row{int64(l.Owner), l.UID}
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	// The rows are given, and therefore locked, in order.
	return tx.s.later(ctx, `INSERT INTO uid_lock (account_id, uid, used)
		SELECT r.account_id, r.uid, CAST($2 AS BIGINT) FROM @rows($1; r; account_id bigint, uid text) WHERE true
		ON CONFLICT (account_id, uid) DO UPDATE SET used = excluded.used`, text, now)
}

// LockCollections takes the row locks of collections, in order, and gives the
// rows as they are then, in the order of keys. ErrNotFound when one is absent
// or being deleted.
func (tx *Tx) LockCollections(ctx context.Context, keys []CollectionKey) ([]Collection, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var list []Collection
	var err error
	if len(keys) == 1 {
		list, err = queryAll(ctx, tx.s, scanCollection, `SELECT `+collectionWide+` FROM collection c
			WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0 @forupdate(c)`, int64(keys[0].Account), int64(keys[0].ID))
	} else {
		text, jerr := jsonText(collectionKeyRows(keys))
		if jerr != nil {
			return nil, jerr
		}
		list, err = queryAll(ctx, tx.s, scanCollection, `SELECT `+collectionWide+` FROM collection c
			WHERE (c.account_id, c.id) IN (SELECT r.account_id, r.id FROM @rows($1; r; account_id bigint, id bigint)) AND c.deleting = 0
			ORDER BY c.account_id, c.id @forupdate(c)`, text)
	}
	if err != nil {
		return nil, err
	}
	if tx.locked == nil {
		tx.locked = make(map[CollectionKey]*Collection, len(list))
	}
	for i := range list {
		if tx.locked[list[i].CollectionKey] == nil {
			c := list[i]
			tx.locked[c.CollectionKey] = &c
		}
	}
	out := make([]Collection, len(keys))
	for i, k := range keys {
		c := tx.locked[k]
		if c == nil {
			return nil, fmt.Errorf("%w: collection %d of account %d", ErrNotFound, k.ID, k.Account)
		}
		out[i] = *c
	}
	return out, nil
}

type collectionKeyRow struct {
	Account int64 `json:"account_id"`
	ID      int64 `json:"id"`
}

func collectionKeyRows(keys []CollectionKey) []collectionKeyRow {
	out := make([]collectionKeyRow, len(keys))
	for i, k := range keys {
		out[i] = collectionKeyRow{int64(k.Account), int64(k.ID)}
	}
	return out
}

const slotText = `SELECT 0, '', ` + objectMeta + `, o.data, o.extra FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3`

const slotUIDText = slotText + ` UNION ALL
	SELECT 1, c.name, ` + objectMeta + `, '', '' FROM object o JOIN collection c ON c.account_id = o.account_id AND c.id = o.collection_id AND c.deleting = 0
	WHERE o.account_id = $1 AND o.uid = $4 AND o.item = '' AND NOT (o.collection_id = $2 AND o.name = $3)`

// Slot tells what a write to key meets: the object of that name, with data,
// and the home's other calendar objects with the UID ("" asks for none).
func (tx *Tx) Slot(ctx context.Context, key ObjectKey, uid string) (slot Slot, err error) {
	args := []any{int64(key.Account), int64(key.ID), key.Name}
	text := slotText
	if uid != "" {
		text, args = slotUIDText, append(args, uid)
	}
	r, err := tx.s.query(ctx, text, args...)
	if err != nil {
		return slot, err
	}
	defer r.Close()
	for r.Next() {
		var other int64
		var row objectRow
		var o SlotObject
		dest := append(make([]any, 0, 19), &other, &o.Collection)
		if err := r.Scan(row.dest(dest, &o.Object, ColumnData|ColumnExtra)...); err != nil {
			return slot, err
		}
		row.fill(&o.Object)
		if other == 0 {
			slot.Existing = &o.Object
		} else {
			slot.SameUID = append(slot.SameUID, o)
		}
	}
	return slot, r.Err()
}

type objectKeyRow struct {
	Account    int64  `json:"account_id"`
	Collection int64  `json:"collection_id"`
	Name       string `json:"name"`
}

// Objects reads objects by their keys in one statement; absent ones are left
// out, the order is that of the keys in the database.
func (tx *Tx) Objects(ctx context.Context, keys []ObjectKey, cols Columns) ([]Object, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	list := make([]objectKeyRow, len(keys))
	for i, k := range keys {
		list[i] = objectKeyRow{int64(k.Account), int64(k.ID), k.Name}
	}
	text, err := jsonText(list)
	if err != nil {
		return nil, err
	}
	return queryAll(ctx, tx.s, objectScanner(cols), `SELECT `+objectColumns(cols)+` FROM @rows($1; r; account_id bigint, collection_id bigint, name text)
		JOIN object o ON o.account_id = r.account_id AND o.collection_id = r.collection_id AND o.name = r.name
		ORDER BY o.account_id, o.collection_id, o.name`, text)
}

// ObjectsByUID reads the calendar objects (no inbox items) with a UID in the
// homes of accounts, in one statement whatever their number.
func (tx *Tx) ObjectsByUID(ctx context.Context, accounts []AccountID, uid string, cols Columns) ([]Object, error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	if len(accounts) == 1 {
		return queryAll(ctx, tx.s, objectScanner(cols), `SELECT `+objectColumns(cols)+` FROM object o
			JOIN collection c ON c.account_id = o.account_id AND c.id = o.collection_id AND c.deleting = 0
			WHERE o.account_id = $1 AND o.uid = $2 AND o.item = '' ORDER BY o.collection_id`, int64(accounts[0]), uid)
	}
	text, err := jsonText(accounts)
	if err != nil {
		return nil, err
	}
	return queryAll(ctx, tx.s, objectScanner(cols), `SELECT `+objectColumns(cols)+` FROM @list($1; v)
		JOIN object o ON o.account_id = CAST(v.value AS BIGINT) AND o.uid = $2 AND o.item = ''
		JOIN collection c ON c.account_id = o.account_id AND c.id = o.collection_id AND c.deleting = 0
		ORDER BY o.account_id, o.collection_id`, text, uid)
}

// InboxByUID reads the inbox items with a UID.
func (tx *Tx) InboxByUID(ctx context.Context, account AccountID, uid string, cols Columns) ([]Object, error) {
	return queryAll(ctx, tx.s, objectScanner(cols), `SELECT `+objectColumns(cols)+` FROM object o
		WHERE o.account_id = $1 AND o.uid = $2 AND o.item <> '' ORDER BY o.collection_id, o.seq`, int64(account), uid)
}
