package storage

import (
	"context"
	"fmt"
)

const propertyColumns = `p.account_id, p.collection_id, p.object_name, p.principal_id, p.space, p.local, p.xml`

func scanProperty(r rows) (p Property, err error) {
	err = r.Scan((*int64)(&p.Account), (*int64)(&p.ID), &p.Object, (*int64)(&p.Principal), &p.Space, &p.Local, &p.XML)
	return
}

type propertyRow struct {
	Account    int64  `json:"account_id"`
	Collection int64  `json:"collection_id"`
	Object     string `json:"object_name"`
	Principal  int64  `json:"principal_id"`
	Space      string `json:"space"`
	Local      string `json:"local"`
	XML        string `json:"xml"`
}

const propertyTypes = `account_id bigint, collection_id bigint, object_name text, principal_id bigint, space text, local text, xml text`

// Properties reads the dead properties of collections and objects, everybody's
// and per user, in one statement.
func (db *DB) Properties(ctx context.Context, keys ...PropertyKey) ([]Property, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	list := make([]propertyRow, len(keys))
	for i, k := range keys {
		list[i] = propertyRow{Account: int64(k.Account), Collection: int64(k.ID), Object: k.Object}
	}
	text, err := jsonText(list)
	if err != nil {
		return nil, err
	}
	return readAll(ctx, db, scanProperty, `SELECT `+propertyColumns+` FROM @rows($1; r; account_id bigint, collection_id bigint, object_name text)
		JOIN property p ON p.account_id = r.account_id AND p.collection_id = r.collection_id AND p.object_name = r.object_name
		ORDER BY p.account_id, p.collection_id, p.object_name, p.space, p.local, p.principal_id`, text)
}

// SetProperties sets dead properties and removes those whose XML is empty; of
// several that are the same one the last counts. The homes that they belong to
// count a change.
func (tx *Tx) SetProperties(ctx context.Context, props []Property) error {
	if len(props) == 0 {
		return nil
	}
	type place struct {
		PropertyKey
		principal    AccountID
		space, local string
	}
	last := make(map[place]int, len(props))
	for i, p := range props {
		last[place{p.PropertyKey, p.Principal, p.Space, p.Local}] = i
	}
	all := make([]propertyRow, len(props))
	var set []propertyRow
	bumped := map[CollectionKey]bool{}
	for i, p := range props {
		if err := plainText(p.Object, p.Space, p.Local, p.XML); err != nil {
			return err
		}
		if p.Local == "" {
			return fmt.Errorf("%w: a property without a name", ErrInvalid)
		}
		all[i] = propertyRow{int64(p.Account), int64(p.ID), p.Object, int64(p.Principal), p.Space, p.Local, p.XML}
		if p.XML != "" && last[place{p.PropertyKey, p.Principal, p.Space, p.Local}] == i {
			set = append(set, all[i])
		}
		if !bumped[p.CollectionKey] {
			bumped[p.CollectionKey] = true
			if err := tx.bumpHome(ctx, p.CollectionKey, false); err != nil {
				return err
			}
		}
	}
	text, err := jsonText(all)
	if err != nil {
		return err
	}
	if err := tx.s.later(ctx, `DELETE FROM property WHERE (account_id, collection_id, object_name, principal_id, space, local) IN
		(SELECT r.account_id, r.collection_id, r.object_name, r.principal_id, r.space, r.local FROM @rows($1; r; `+propertyTypes+`))`, text); err != nil {
		return err
	}
	if len(set) == 0 {
		return nil
	}
	if text, err = jsonText(set); err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO property (account_id, collection_id, object_name, principal_id, space, local, xml)
		SELECT r.account_id, r.collection_id, r.object_name, r.principal_id, r.space, r.local, r.xml FROM @rows($1; r; `+propertyTypes+`)`, text)
}

// MoveProperties gives the dead properties of an object, everybody's and per user, to
// another one of the same account, in the place of what that one had.
func (tx *Tx) MoveProperties(ctx context.Context, from, to ObjectKey) error {
	if from.Account != to.Account {
		return fmt.Errorf("%w: properties move inside of one account", ErrInvalid)
	}
	account := int64(from.Account)
	if err := tx.s.later(ctx, `DELETE FROM property WHERE account_id = $1 AND collection_id = $2 AND object_name = $3`, account, int64(to.ID), to.Name); err != nil {
		return err
	}
	return tx.s.later(ctx, `UPDATE property SET collection_id = $4, object_name = $5 WHERE account_id = $1 AND collection_id = $2 AND object_name = $3`,
		account, int64(from.ID), from.Name, int64(to.ID), to.Name)
}

// zoneColumn is the time zone of a collection: its name where it has one
// (RFC 7809 §5.2), else its definition.
const zoneColumn = `CASE WHEN c.timezone_id <> '' THEN c.timezone_id ELSE c.timezone END`

// PropertiesNamed reads one dead property of all collections of accounts, as it
// is for everybody; one statement.
func (db *DB) PropertiesNamed(ctx context.Context, accounts []AccountID, space, local string) ([]CollectionProperty, error) {
	list, err := jsonText(accounts)
	if err != nil || len(accounts) == 0 {
		return nil, err
	}
	return readAll(ctx, db, scanCollectionProperty, propertiesNamedText, list, space, local)
}

// PropertiesNamed is DB.PropertiesNamed within a transaction.
func (tx *Tx) PropertiesNamed(ctx context.Context, accounts []AccountID, space, local string) ([]CollectionProperty, error) {
	list, err := jsonText(accounts)
	if err != nil || len(accounts) == 0 {
		return nil, err
	}
	return queryAll(ctx, tx.s, scanCollectionProperty, propertiesNamedText, list, space, local)
}

const propertiesNamedText = `SELECT c.account_id, c.id, c.kind, c.transparent, ` + zoneColumn + `, p.xml FROM @list($1; v)
	JOIN collection c ON c.account_id = CAST(v.value AS BIGINT) AND c.deleting = 0
	JOIN property p ON p.account_id = c.account_id AND p.collection_id = c.id AND p.object_name = '' AND p.principal_id = 0 AND p.space = $2 AND p.local = $3
	ORDER BY c.account_id, c.id`

func scanCollectionProperty(r rows) (p CollectionProperty, err error) {
	var kind, transparent int64
	err = r.Scan((*int64)(&p.Account), (*int64)(&p.ID), &kind, &transparent, &p.Timezone, &p.XML)
	p.Kind, p.Transparent = CollectionKind(kind), transparent != 0
	return p, err
}
