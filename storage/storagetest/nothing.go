package storagetest

import (
	"context"
	"testing"

	"github.com/kalends/kalends/storage"
)

// testNothing asks for nothing and gives nothing: empty lists are no errors on
// either engine.
func testNothing(t *testing.T, db *storage.DB) {
	if m, err := db.AccountsByID(bg, nil); err != nil || len(m) != 0 {
		t.Errorf("AccountsByID: %v, %v", m, err)
	}
	if m, err := db.Recipients(bg, nil); err != nil || len(m) != 0 {
		t.Errorf("Recipients: %v, %v", m, err)
	}
	if list, err := db.CollectionsSharedWith(bg, nil); err != nil || len(list) != 0 {
		t.Errorf("CollectionsSharedWith: %v, %v", list, err)
	}
	if list, err := db.Properties(bg); err != nil || len(list) != 0 {
		t.Errorf("Properties: %v, %v", list, err)
	}
	if created, changed, err := db.ImportAccounts(bg, nil); err != nil || created+changed != 0 {
		t.Errorf("ImportAccounts: %d, %d, %v", created, changed, err)
	}
	if list, err := db.PropertiesNamed(bg, nil, "DAV:", "x"); err != nil || len(list) != 0 {
		t.Errorf("PropertiesNamed: %v, %v", list, err)
	}
	for range db.BusyObjects(bg, nil, 0, 1) {
		t.Error("BusyObjects of nobody gave something")
	}
	for range db.Get(bg, storage.CollectionKey{}, nil, storage.ColumnsMeta) {
		t.Error("Get of no names gave something")
	}
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		if list, err := tx.Objects(ctx, nil, storage.ColumnsMeta); err != nil || len(list) != 0 {
			t.Errorf("Objects: %v, %v", list, err)
		}
		if list, err := tx.ObjectsByUID(ctx, nil, "uid", storage.ColumnsMeta); err != nil || len(list) != 0 {
			t.Errorf("ObjectsByUID: %v, %v", list, err)
		}
		if list, err := tx.Forgotten(ctx, nil, "uid"); err != nil || len(list) != 0 {
			t.Errorf("Forgotten: %v, %v", list, err)
		}
		if _, err := tx.Apply(ctx, nil); err != nil {
			t.Errorf("Apply: %v", err)
		}
		if err := tx.Enqueue(ctx, nil, nil); err != nil {
			t.Errorf("Enqueue: %v", err)
		}
		if _, err := tx.Finish(ctx, nil); err != nil {
			t.Errorf("Finish: %v", err)
		}
		if err := tx.SetPeerStates(ctx, nil); err != nil {
			t.Errorf("SetPeerStates: %v", err)
		}
		if err := tx.LockUIDs(ctx, nil); err != nil {
			t.Errorf("LockUIDs: %v", err)
		}
		if _, err := tx.LockCollections(ctx, nil); err != nil {
			t.Errorf("LockCollections: %v", err)
		}
		return tx.SetProperties(ctx, nil)
	}))
}
