package storage

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
)

// Contents are the collections of a home in the order of their names, the home
// itself first, and the dead properties of all of them. They must not be
// written to.
type Contents struct {
	Collections []Collection
	Properties  []Property
	// Number stands for all of that: as long as Find gives an account the same
	// number, it gives the same contents. 0: they are not kept.
	Number uint64

	place map[int64]int // in Collections, by id
}

// Contents reads the collections of a home and their dead properties, by two
// statements in one round trip.
func (db *DB) Contents(ctx context.Context, account AccountID) (*Contents, error) {
	m := new(Contents)
	if err := db.readTogether(ctx, m.readings(account)...); err != nil {
		return nil, err
	}
	m.sort()
	return m, nil
}

func (m *Contents) readings(account AccountID) []reading {
	args := []any{int64(account)}
	return []reading{
		{`SELECT ` + collectionWide + ` FROM collection c WHERE c.account_id = $1 AND c.deleting = 0`, args, func(r rows) error { return into(&m.Collections, r, scanCollection) }},
		{`SELECT ` + propertyColumns + ` FROM property p WHERE p.account_id = $1 AND p.object_name = ''`, args, func(r rows) error { return into(&m.Properties, r, scanProperty) }},
	}
}

// sort makes an order that does not depend on the database's.
func (m *Contents) sort() {
	slices.SortFunc(m.Collections, func(a, b Collection) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(m.Properties, func(a, b Property) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), strings.Compare(a.Space, b.Space), strings.Compare(a.Local, b.Local), cmp.Compare(a.Principal, b.Principal))
	})
}

// Every program polls its home, again and again, and is told of the same
// collections. A collection that comes, goes or changes a property counts a
// change of the home, in the same transaction (bumpHome). So what was read once
// holds as long as the home's number and tag are the same; of the others only
// number, tag and size change without that, and then what is kept is replaced.

// contentsCache keeps the contents of homes, each at about half a kilobyte a
// collection and the octets of its properties.
type contentsCache struct {
	mu   sync.RWMutex
	kept map[AccountID]*Contents // never written to
	last uint64                  // number that was given to contents
}

const (
	contentsCacheSize = 4000 // homes
	contentsMost      = 200  // collections and properties of one
)

func (c *contentsCache) get(account AccountID) *Contents {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.kept[account]
}

// put keeps m, which nobody else has seen yet, and gives it its number.
func (c *contentsCache) put(account AccountID, m *Contents) {
	if m.place == nil {
		m.place = make(map[int64]int, len(m.Collections))
		for i := range m.Collections {
			m.place[int64(m.Collections[i].ID)] = i
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(m.Collections)+len(m.Properties) > contentsMost {
		delete(c.kept, account) // asking whether it still holds would be in vain
		return
	}
	if c.kept == nil {
		c.kept = map[AccountID]*Contents{}
	}
	for account := range c.kept {
		if len(c.kept) < contentsCacheSize {
			break
		}
		delete(c.kept, account)
	}
	c.last++
	m.Number = c.last
	c.kept[account] = m
}

// pollText asks for all that may have changed in a home that counts no change.
const pollText = `SELECT h.version, h.modified, c.id, c.seq, c.tag, c.bytes FROM account h
	JOIN collection c ON c.account_id = h.id AND c.deleting = 0 WHERE h.id = $1 AND h.removed = 0`

// poll finds an owner's home as it is kept, by one statement; nil when the
// account or the home has changed.
func (db *DB) poll(ctx context.Context, known *Account) (*Contents, error) {
	kept := db.contents.get(known.ID)
	if kept == nil {
		return nil, nil
	}
	now := kept
	seen, same := 0, true
	err := db.readTogether(ctx, reading{pollText, []any{int64(known.ID)}, func(r rows) error {
		now, seen, same = kept, 0, true
		var version, modified, id, seq, bytes int64
		var tag string
		dest := []any{&version, &modified, &id, &seq, &tag, &bytes}
		for r.Next() {
			if err := r.Scan(dest...); err != nil {
				return err
			}
			at, ok := kept.place[id]
			if !ok || version != known.Version || modified != known.Modified {
				same = false
				continue
			}
			seen++
			c := &kept.Collections[at]
			counted := c.Seq != seq || c.Tag != tag
			if counted && c.Kind == CollectionHome {
				same = false
			}
			if !counted && c.Bytes == bytes {
				continue
			}
			if now == kept {
				now = &Contents{Collections: slices.Clone(kept.Collections), Properties: kept.Properties, place: kept.place}
			}
			c = &now.Collections[at]
			c.Seq, c.Tag, c.Bytes = seq, tag, bytes
		}
		return r.Err()
	}})
	if err != nil || !same || seen != len(kept.Collections) {
		return nil, err
	}
	if now != kept {
		db.contents.put(known.ID, now)
	}
	return now, nil
}
