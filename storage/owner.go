package storage

import (
	"context"
	"sync"
)

// calendarCache keeps the numbers and components of calendars. They are used by
// Remember only, whose user compares them in the statement that stores.
type calendarCache struct {
	mu   sync.RWMutex
	rows map[calendarName]calendarBrief
}

type calendarName struct {
	account AccountID
	name    string
}

type calendarBrief struct {
	id         int64
	components Components
}

func (c *calendarCache) get(k calendarName) (calendarBrief, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	b, ok := c.rows[k]
	return b, ok
}

// note keeps what was found for an owner who may store something.
func (c *calendarCache) note(f *Found, columns Columns) {
	if columns&ColumnPresence == 0 || f.Collection == nil || f.Login != f.Home || f.Collection.Kind != CollectionCalendar {
		return
	}
	k := calendarName{f.Home.ID, f.Collection.Name}
	b := calendarBrief{int64(f.Collection.ID), f.Collection.Components}
	if old, ok := c.get(k); ok && old == b {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows = map[calendarName]calendarBrief{}
	}
	for name := range c.rows {
		if len(c.rows) < accountCacheSize {
			break
		}
		delete(c.rows, name)
	}
	c.rows[k] = b
}

// Remember is what Find would probably say of an owner's calendar, without a
// look into the database, and what of it PutPlain must compare. False: nothing
// is remembered.
func (db *DB) Remember(handle, collection string) (Found, Seen, bool) {
	a, ok := db.accounts.get(handle)
	if !ok {
		return Found{}, Seen{}, false
	}
	b, ok := db.calendars.get(calendarName{a.ID, collection})
	if !ok {
		return Found{}, Seen{}, false
	}
	c := &Collection{CollectionKey: CollectionKey{Account: a.ID, ID: CollectionID(b.id)}, Name: collection, Kind: CollectionCalendar, Components: b.components}
	return Found{Login: &a, Home: &a, Collection: c}, Seen{Version: a.Version, Modified: a.Modified, Collection: collection, Components: b.components}, true
}

// accountCache keeps what accounts say. A row is used only where the request's
// own statement has read the same version and time of modification, one of
// which rises with every change; so nothing has to be told when an account
// changes, on any node.
type accountCache struct {
	mu   sync.RWMutex
	rows map[string]Account // by handle; their slices are never written to
}

// accountCacheSize bounds the cache, at about half a kilobyte a row.
const accountCacheSize = 20000

func (c *accountCache) get(handle string) (Account, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.rows[handle]
	return a, ok
}

func (c *accountCache) put(a *Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.rows[a.Handle]; ok && old.ID == a.ID && old.Version >= a.Version && old.Modified >= a.Modified {
		return
	}
	if c.rows == nil {
		c.rows = map[string]Account{}
	}
	for handle := range c.rows {
		if len(c.rows) < accountCacheSize {
			break
		}
		delete(c.rows, handle)
	}
	c.rows[a.Handle] = *a
}

// The statements of owner. A table and a column less each are a few
// microseconds of the database's time, which is most of what GET costs.
const (
	ownerFrom   = ` FROM account h JOIN collection c ON c.account_id = h.id AND c.name = $2 AND c.deleting = 0`
	ownerObject = ` o ON o.account_id = c.account_id AND o.collection_id = c.id AND o.name = $3 WHERE h.id = $1 AND h.removed = 0`
	ownerAlone  = `SELECT h.version, h.modified FROM account h WHERE h.id = $1 AND h.removed = 0`
	ownerPut    = `SELECT h.version, h.modified, c.id, c.kind, c.components, COALESCE(o.etag, ''), COALESCE(o.flags, 0)` + ownerFrom + ` LEFT JOIN object` + ownerObject
	ownerHead   = `SELECT h.version, h.modified, c.id, c.kind, c.components, o.etag, o.flags, o.component, o.schedule_tag, o.size, o.modified` + ownerFrom + ` JOIN object` + ownerObject
	ownerWhole  = `SELECT h.version, h.modified, ` + collectionWide + ownerFrom + ` WHERE h.id = $1 AND h.removed = 0`
	ownerGet    = `SELECT h.version, h.modified, c.id, c.kind, c.components, o.etag, o.flags, o.component, o.schedule_tag, o.size, o.modified, o.data` + ownerFrom + ` JOIN object` + ownerObject
)

// owner is Find's short way for somebody whose account is known, by this login,
// and who asks for himself, a calendar or an object of his own. False: nothing was found this way, or
// the account has changed meanwhile; Find looks again in full.
func (db *DB) owner(ctx context.Context, q *Query, known *Account, f *Found) (bool, error) {
	if q.Collection == "" && q.Columns&ColumnContents != 0 {
		if contents, err := db.poll(ctx, known); err != nil {
			return false, err
		} else if contents != nil {
			f.Login, f.Home, f.Contents = known, known, contents
			return true, nil
		}
	}
	row := new(struct {
		a                 Account
		c                 Collection
		o                 Object
		version, modified int64
		col               collectionRow
		flags             int64
	})
	c, o := &row.c, &row.o
	args := append(make([]any, 0, 3), int64(known.ID))
	dest := append(make([]any, 0, 21), &row.version, &row.modified)
	text := ownerAlone
	switch {
	case q.Object == "" && q.Collection != "":
		text, args = ownerWhole, append(args, q.Collection)
		dest = row.col.dest(dest, c, true)
	case q.Object != "":
		args = append(args, q.Collection, q.Object)
		dest = append(dest, (*int64)(&c.ID), &row.col.kind, &row.col.components, &o.ETag, &row.flags)
		text = ownerPut
		if q.Columns&ColumnPresence == 0 {
			text = ownerHead
			dest = append(dest, &o.Component, &o.ScheduleTag, &o.Size, &o.Modified)
			if q.Columns&ColumnData != 0 {
				text = ownerGet
				dest = append(dest, &o.Data)
			}
		}
	}
	found := false
	list := []reading{{text, args, func(r rows) error {
		if found = r.Next(); !found {
			return r.Err()
		}
		return r.Scan(dest...)
	}}}
	var contents *Contents
	if q.Collection == "" && q.Columns&ColumnContents != 0 {
		contents = new(Contents)
		list = append(list, contents.readings(known.ID)...)
	}
	err := db.readTogether(ctx, list...)
	if err != nil || !found || row.version != known.Version || row.modified != known.Modified {
		return false, err
	}
	row.a = *known
	f.Login, f.Home = &row.a, &row.a
	if q.Collection == "" {
		if contents != nil {
			contents.sort()
			db.contents.put(known.ID, contents)
			f.Contents = contents
		}
		return true, nil
	}
	c.Account, c.Name = known.ID, q.Collection
	if err := row.col.fill(c, false); err != nil {
		return false, err
	}
	f.Collection = c
	if o.ETag != "" {
		o.ObjectKey, o.Flags = ObjectKey{c.CollectionKey, q.Object}, Flags(row.flags)
		f.Object = o
	}
	return true, nil
}
