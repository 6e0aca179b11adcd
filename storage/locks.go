package storage

import (
	"context"
	"errors"
)

// LockExisting is LockCollections for collections that may have gone away
// meanwhile: those are left out of the answer.
func (tx *Tx) LockExisting(ctx context.Context, keys []CollectionKey) ([]Collection, error) {
	list, err := tx.LockCollections(ctx, keys)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return list, err
	}
	list = nil // the rows that exist are locked; pick them
	for _, k := range keys {
		if c := tx.locked[k]; c != nil {
			list = append(list, *c)
		}
	}
	return list, nil
}

// LockMarked locks a collection whose removal has begun, so that its objects
// can be taken out one by one with what their removal causes. Nobody else
// finds such a collection.
func (tx *Tx) LockMarked(ctx context.Context, k CollectionKey) error {
	c, err := queryOne(ctx, tx.s, scanCollection, `SELECT `+collectionWide+` FROM collection c
		WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 1 @forupdate(c)`, int64(k.Account), int64(k.ID))
	if err != nil {
		return err
	}
	if tx.locked == nil {
		tx.locked = map[CollectionKey]*Collection{}
	}
	tx.locked[k] = &c
	return nil
}
