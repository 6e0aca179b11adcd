package storage

import (
	"context"
	"fmt"

	"github.com/kalends/kalends/caldav/acl"
)

// collectionRow receives the columns of a collection that need converting.
type collectionRow struct {
	kind, components, transparent, deleting int64
	acl                                     string
}

func (r *collectionRow) dest(d []any, c *Collection, wide bool) []any {
	d = append(d, (*int64)(&c.Account), (*int64)(&c.ID), &c.Name, &r.kind, &c.Seq, &c.Tag, &c.Nonce, &r.components, &r.transparent, &r.deleting,
		&c.DisplayName, &c.Color, &c.Order, &c.TimezoneID, &r.acl, &c.Created, &c.Modified, &c.Description, &c.Bytes)
	if wide {
		d = append(d, &c.Timezone)
	}
	return d
}

func (r *collectionRow) fill(c *Collection, withACL bool) error {
	c.Kind, c.Components, c.Transparent, c.Deleting = CollectionKind(r.kind), Components(r.components), r.transparent != 0, r.deleting != 0
	if withACL && r.acl != "" {
		list, err := acl.Decode([]byte(r.acl))
		if err != nil {
			return fmt.Errorf("storage: collection %d: %w", c.ID, err)
		}
		c.ACL = list
	}
	return nil
}

func scanCollection(r rows) (c Collection, err error) {
	var row collectionRow
	if err := r.Scan(row.dest(make([]any, 0, 20), &c, true)...); err != nil {
		return c, err
	}
	return c, row.fill(&c, true)
}

func aclText(list []acl.ACE) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	b, err := acl.Encode(list)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return string(b), plainText(string(b))
}

// newCollection sets what a collection is born with.
func (tx *Tx) newCollection(c *Collection, now int64) {
	if c.ID == 0 {
		c.ID = CollectionID(tx.NewID())
	}
	c.Nonce, c.Tag, c.Seq = tx.db.random(8), tx.db.random(6), 0
	c.Created, c.Modified, c.Deleting = now, now, false
}

type newCollectionRow struct {
	Account     int64  `json:"account_id"`
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Kind        int64  `json:"kind"`
	Tag         string `json:"tag"`
	Nonce       string `json:"nonce"`
	Components  int64  `json:"components"`
	Transparent int64  `json:"transparent"`
	DisplayName string `json:"display_name"`
	Color       string `json:"color"`
	Order       string `json:"sort_order"`
	TimezoneID  string `json:"timezone_id"`
	ACL         string `json:"acl"`
	Created     int64  `json:"created"`
	Description string `json:"description"`
	Timezone    string `json:"timezone"`
}

const newCollectionTypes = `account_id bigint, id bigint, name text, kind bigint, tag text, nonce text, components bigint, transparent bigint, display_name text, color text, sort_order text, timezone_id text, acl text, created bigint, description text, timezone text`

// insertCollections stores collections with the journal row of their
// beginning, which an early sync token refers to.
func (tx *Tx) insertCollections(ctx context.Context, list []Collection) error {
	if len(list) == 0 {
		return nil
	}
	out := make([]newCollectionRow, len(list))
	for i := range list {
		c := &list[i]
		text, err := aclText(c.ACL)
		if err != nil {
			return err
		}
		if err := plainText(c.Name, c.DisplayName, c.Description, c.Color, c.Order, c.Timezone, c.TimezoneID); err != nil {
			return err
		}
		out[i] = newCollectionRow{int64(c.Account), int64(c.ID), c.Name, int64(c.Kind), c.Tag, c.Nonce, int64(c.Components), bit(c.Transparent),
			c.DisplayName, c.Color, c.Order, c.TimezoneID, text, c.Created, c.Description, c.Timezone}
	}
	text, err := jsonText(out)
	if err != nil {
		return err
	}
	if err := tx.s.later(ctx, `INSERT INTO collection (account_id, id, name, kind, seq, tag, nonce, components, transparent, deleting,
			display_name, color, sort_order, timezone_id, acl, created, modified, description, timezone)
		SELECT r.account_id, r.id, r.name, r.kind, 0, r.tag, r.nonce, r.components, r.transparent, 0,
			r.display_name, r.color, r.sort_order, r.timezone_id, r.acl, r.created, r.created, r.description, r.timezone
		FROM @rows($1; r; `+newCollectionTypes+`)`, text); err != nil {
		return err
	}
	if err := tx.s.later(ctx, `INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT r.account_id, r.id, 0, '', 0, r.tag, r.created FROM @rows($1; r; `+newCollectionTypes+`)`, text); err != nil {
		return err
	}
	return tx.setGrantees(ctx, list)
}

// setGrantees records whom the ACLs of collections name, to find what is
// shared with somebody.
func (tx *Tx) setGrantees(ctx context.Context, list []Collection) error {
	type grantee struct {
		Account    int64 `json:"account_id"`
		Collection int64 `json:"collection_id"`
		Principal  int64 `json:"principal_id"`
	}
	var out []grantee
	for i := range list {
		seen := map[int64]bool{}
		for _, ace := range list[i].ACL {
			p := ace.Principal
			if (p.Kind == acl.Account || p.Kind == acl.Group) && ace.Grant != 0 && !seen[p.ID] {
				seen[p.ID] = true
				out = append(out, grantee{int64(list[i].Account), int64(list[i].ID), p.ID})
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	text, err := jsonText(out)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO grantee (account_id, collection_id, principal_id)
		SELECT r.account_id, r.collection_id, r.principal_id FROM @rows($1; r; account_id bigint, collection_id bigint, principal_id bigint)`, text)
}

// CreateCollection makes a collection of a home, with dead properties; ID,
// nonce and times are set. ErrExists when the name is taken.
func (db *DB) CreateCollection(ctx context.Context, c Collection, props []Property) (out Collection, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if out, err = tx.CreateCollection(ctx, c); err != nil {
			return err
		}
		own := make([]Property, len(props))
		for i, p := range props {
			p.CollectionKey = out.CollectionKey
			own[i] = p
		}
		return tx.SetProperties(ctx, own)
	})
	return out, err
}

// CreateCollection is DB.CreateCollection within a transaction, without
// properties.
func (tx *Tx) CreateCollection(ctx context.Context, c Collection) (Collection, error) {
	if c.Name == "" || c.Kind == CollectionHome {
		return c, fmt.Errorf("%w: a collection needs a name; homes come with accounts", ErrInvalid)
	}
	tx.newCollection(&c, Micros(tx.Now()))
	if err := tx.LockHome(ctx, c.Account); err != nil {
		return c, err
	}
	if err := tx.insertCollections(ctx, []Collection{c}); err != nil {
		return c, err
	}
	return c, tx.bumpHome(ctx, c.CollectionKey, false)
}

// LockHome takes the row lock of a home, before those of its collections;
// ErrNotFound when there is none.
func (tx *Tx) LockHome(ctx context.Context, account AccountID) error {
	_, err := queryOne(ctx, tx.s, scanInt, `SELECT c.id FROM collection c WHERE c.account_id = $1 AND c.name = '' @forupdate(c)`, int64(account))
	return err
}

// bumpHome counts a change of one of a home's collections, or of its
// properties, in the journal of the home, under its row lock.
func (tx *Tx) bumpHome(ctx context.Context, k CollectionKey, deleted bool) error {
	tag, now := tx.db.random(6), Micros(tx.Now())
	tx.changed(k.Account)
	n, err := tx.s.exec(ctx, `UPDATE collection SET seq = seq + 1, tag = $2, modified = $3 WHERE account_id = $1 AND name = ''`, int64(k.Account), tag, now)
	if err := affectedOne(n, err); err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT h.account_id, h.id, h.seq, c.name, CAST($3 AS BIGINT), h.tag, CAST($4 AS BIGINT)
		FROM collection h JOIN collection c ON c.account_id = h.account_id AND c.id = $2 WHERE h.account_id = $1 AND h.name = ''`,
		int64(k.Account), int64(k.ID), bit(deleted), now)
}

// UpdateCollection writes the name, properties, components, transparency and
// ACL of c; its kind, nonce, sequence and times of birth stay.
func (tx *Tx) UpdateCollection(ctx context.Context, c Collection) error {
	text, err := aclText(c.ACL)
	if err != nil {
		return err
	}
	if err := plainText(c.Name, c.DisplayName, c.Description, c.Color, c.Order, c.Timezone, c.TimezoneID); err != nil {
		return err
	}
	if err := tx.LockHome(ctx, c.Account); err != nil {
		return err
	}
	old, err := queryOne(ctx, tx.s, scanText, `SELECT c.name FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0 @forupdate(c)`, int64(c.Account), int64(c.ID))
	if err != nil {
		return err
	}
	if old == "" {
		c.Name = "" // a home has no name
	}
	if old != c.Name {
		if err := tx.bumpHome(ctx, c.CollectionKey, true); err != nil {
			return err
		}
	}
	n, err := tx.s.exec(ctx, `UPDATE collection SET name = $3, display_name = $4, description = $5, color = $6, sort_order = $7, timezone = $8,
		timezone_id = $9, components = $10, transparent = $11, acl = $12, modified = $13 WHERE account_id = $1 AND id = $2 AND deleting = 0`,
		int64(c.Account), int64(c.ID), c.Name, c.DisplayName, c.Description, c.Color, c.Order, c.Timezone,
		c.TimezoneID, int64(c.Components), bit(c.Transparent), text, Micros(tx.Now()))
	if err := affectedOne(n, err); err != nil {
		return err
	}
	if err := tx.bumpHome(ctx, c.CollectionKey, false); err != nil {
		return err
	}
	if err := tx.s.later(ctx, `DELETE FROM grantee WHERE account_id = $1 AND collection_id = $2`, int64(c.Account), int64(c.ID)); err != nil {
		return err
	}
	return tx.setGrantees(ctx, []Collection{c})
}

// MarkDeleting is the first step of deleting a collection: nobody finds it any
// more, and its name is free at once. The objects follow in batches.
func (tx *Tx) MarkDeleting(ctx context.Context, k CollectionKey) error {
	if err := tx.bumpHome(ctx, k, true); err != nil {
		return err
	}
	n, err := tx.s.exec(ctx, `UPDATE collection SET deleting = 1, name = '~' || CAST(id AS TEXT) WHERE account_id = $1 AND id = $2 AND deleting = 0 AND kind <> 1`, int64(k.Account), int64(k.ID))
	return affectedOne(n, err)
}

// RemoveObjects removes up to limit (0: 200) objects of a collection that is
// marked, without journal; more tells whether some are left.
func (db *DB) RemoveObjects(ctx context.Context, k CollectionKey, limit int) (more bool, err error) {
	if limit <= 0 || limit > 200 {
		limit = 200
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.s.exec(ctx, `DELETE FROM object WHERE account_id = $1 AND collection_id = $2 AND name IN (
				SELECT o.name FROM object o JOIN collection c ON c.account_id = o.account_id AND c.id = o.collection_id AND c.deleting = 1
				WHERE o.account_id = $1 AND o.collection_id = $2 ORDER BY o.name LIMIT $3)`, int64(k.Account), int64(k.ID), int64(limit))
		more = n == int64(limit)
		return err
	})
	return more, err
}

// RemoveCollection removes the row, journal and properties of a collection
// that is marked and has no objects any more; ErrExists when it has.
func (tx *Tx) RemoveCollection(ctx context.Context, k CollectionKey) error {
	n, err := queryOne(ctx, tx.s, scanInt, `SELECT count(*) FROM object WHERE account_id = $1 AND collection_id = $2`, int64(k.Account), int64(k.ID))
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%w: the collection still has %d objects", ErrExists, n)
	}
	n, err = tx.s.exec(ctx, `DELETE FROM collection WHERE account_id = $1 AND id = $2 AND deleting = 1`, int64(k.Account), int64(k.ID))
	if err := affectedOne(n, err); err != nil {
		return err
	}
	for _, table := range []string{"journal", "property", "grantee", "link"} {
		if err := tx.s.later(ctx, `DELETE FROM `+table+` WHERE account_id = $1 AND collection_id = $2`, int64(k.Account), int64(k.ID)); err != nil {
			return err
		}
	}
	return nil
}

const collectionsText = `SELECT ` + collectionWide + ` FROM collection c WHERE c.account_id = $1 AND c.deleting = 0 ORDER BY c.name`

// Collections lists the collections of a home in the order of their names, the
// home itself first; one statement.
func (db *DB) Collections(ctx context.Context, account AccountID) ([]Collection, error) {
	return readAll(ctx, db, scanCollection, collectionsText, int64(account))
}

// Collections is DB.Collections within a transaction.
func (tx *Tx) Collections(ctx context.Context, account AccountID) ([]Collection, error) {
	return queryAll(ctx, tx.s, scanCollection, collectionsText, int64(account))
}

// DeletingCollections lists collections whose removal has begun.
func (db *DB) DeletingCollections(ctx context.Context, limit int) ([]Collection, error) {
	return readAll(ctx, db, scanCollection, `SELECT `+collectionWide+` FROM collection c WHERE c.deleting = 1 ORDER BY c.account_id, c.id LIMIT $1`, int64(max(limit, 1)))
}

const collectionByNameText = `SELECT ` + collectionWide + ` FROM collection c WHERE c.account_id = $1 AND c.name = $2 AND c.deleting = 0`

// CollectionByName finds a collection of a home ("" is the home); ErrNotFound.
func (db *DB) CollectionByName(ctx context.Context, account AccountID, name string) (Collection, error) {
	return readOne(ctx, db, scanCollection, collectionByNameText, int64(account), name)
}

// CollectionByName is DB.CollectionByName within a transaction.
func (tx *Tx) CollectionByName(ctx context.Context, account AccountID, name string) (Collection, error) {
	return queryOne(ctx, tx.s, scanCollection, collectionByNameText, int64(account), name)
}

// CollectionsSharedWith lists the collections of others whose ACL names any
// of the principals. What the ACL grants them is the caller's to see.
func (db *DB) CollectionsSharedWith(ctx context.Context, principals []AccountID) ([]Collection, error) {
	text, err := jsonText(principals)
	if err != nil {
		return nil, err
	}
	return readAll(ctx, db, scanCollection, `SELECT `+collectionWide+` FROM collection c
		WHERE c.deleting = 0 AND (c.account_id, c.id) IN (
			SELECT g.account_id, g.collection_id FROM grantee g WHERE g.principal_id IN (SELECT CAST(v.value AS BIGINT) FROM @list($1; v)))
		ORDER BY c.account_id, c.name`, text)
}
