package storage

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/kalends/kalends/caldav/acl"
)

// findShape says which statement a Query needs.
type findShape struct {
	login      int8 // 0 none, 1 handle, 2 address
	home       bool
	same       bool // login and home are the same handle
	collection bool
	object     bool
	columns    Columns
}

var findTexts sync.Map // findShape -> string

// collectionNarrow are the columns of a collection that a request needs;
// collectionWide has description and timezone as well.
const (
	collectionNarrow = `c.account_id, c.id, c.name, c.kind, c.seq, c.tag, c.nonce, c.components, c.transparent, c.deleting, c.display_name, c.color, c.sort_order, c.timezone_id, c.acl, c.created, c.modified, c.description, c.bytes`
	collectionWide   = collectionNarrow + `, c.timezone`
)

// objectMeta are the columns that every read of objects loads.
const objectMeta = `o.account_id, o.collection_id, o.name, o.uid, o.component, o.etag, o.schedule_tag, o.size, o.start_at, o.end_at, o.flags, o.sequence, o.seq, o.created, o.modified`

// With ColumnBrief a Find fills no more than what GET and HEAD need; each
// column costs about a microsecond of the request. BriefColumns:
//
//	Account     ID, Handle, Kind, Rights, Verifier, Version, Disabled; all of it when Login is the owner
//	Collection  CollectionKey, Name, Kind, Components, and ACL for others
//	Object      ObjectKey, Component, ETag, ScheduleTag, Size, Flags, Modified, Data if asked for
const (
	accountBrief    = `a.id, a.handle, a.kind, a.rights, a.verifier, a.version, a.disabled`
	collectionBrief = `c.id, c.kind, c.components`
	objectBrief     = `o.name, o.component, o.etag, o.schedule_tag, o.size, o.flags, o.modified`
)

func (r *accountRow) brief(d []any) []any {
	return append(d, &r.id, &r.handle, &r.kind, &r.rights, &r.verifier, &r.version, &r.disabled)
}

func (row *findRow) briefCollection(d []any, others bool) []any {
	d = append(d, (*int64)(&row.c.ID), &row.collection.kind, &row.collection.components)
	if others {
		d = append(d, &row.collection.acl)
	}
	return d
}

func (row *findRow) briefObject(d []any, data bool) []any {
	o := &row.o
	d = append(d, &o.Name, &o.Component, &o.ETag, &o.ScheduleTag, &o.Size, &row.object.flags, &o.Modified)
	if data {
		d = append(d, &o.Data)
	}
	return d
}

// orNothing makes each column of a list 0 or ” where an outer join found no row.
func orNothing(columns string) string {
	var b strings.Builder
	for i, c := range strings.Split(columns, ", ") {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("COALESCE(" + c + ", ")
		switch c[2:] {
		case "account_id", "collection_id", "id", "kind", "seq", "bytes", "components", "transparent", "deleting", "created", "modified",
			"size", "start_at", "end_at", "flags", "sequence", "rights", "version", "disabled":
			b.WriteString("0)")
		default:
			b.WriteString("'')")
		}
	}
	return b.String()
}

// findText builds the statement for a shape: the accounts by their unique
// handles or addresses, the collection by its unique name in the home, the
// object by its primary key; each a single look into an index.
func findText(k findShape) string {
	if t, ok := findTexts.Load(k); ok {
		return t.(string)
	}
	n := 0
	param := func() string { n++; return "$" + strconv.Itoa(n) }
	var columns []string
	var from strings.Builder
	where := ""
	brief := k.columns&(ColumnBrief|ColumnPresence) != 0
	others := !k.same
	account := accountColumns
	if k.columns&ColumnBrief != 0 && others {
		account = accountBrief
	}
	loginColumns := strings.ReplaceAll(account, "a.", "l.")
	homeColumns := strings.ReplaceAll(account, "a.", "h.")
	switch {
	case k.login == 0 || k.same:
		columns = append(columns, homeColumns)
		from.WriteString("account h")
		where = " WHERE h.handle = " + param() + " AND h.removed = 0"
	default:
		from.WriteString("(SELECT 1 AS one) x")
		if k.login == 1 {
			from.WriteString(" LEFT JOIN account l ON l.handle = " + param() + " AND l.removed = 0")
		} else {
			from.WriteString(" LEFT JOIN address d ON d.address = " + param() + " AND d.held_until = 0 LEFT JOIN account l ON l.id = d.account_id AND l.removed = 0")
		}
		columns = append(columns, orNothing(loginColumns))
		if k.home {
			from.WriteString(" LEFT JOIN account h ON h.handle = " + param() + " AND h.removed = 0")
			columns = append(columns, orNothing(homeColumns),
				"COALESCE((SELECT string_agg(CAST(m.group_id AS TEXT), ' ') FROM membership m WHERE m.account_id = l.id), '')",
				"COALESCE((SELECT MAX(g.mode) FROM delegate g WHERE g.account_id = h.id AND (g.delegate_id = l.id OR g.delegate_id IN (SELECT m.group_id FROM membership m WHERE m.account_id = l.id))), 0)",
				"COALESCE((SELECT y.acl FROM collection y WHERE y.account_id = h.id AND y.name = ''), '')")
		}
	}
	if k.collection {
		from.WriteString(" LEFT JOIN collection c ON c.account_id = h.id AND c.name = " + param() + " AND c.deleting = 0")
		list := collectionNarrow
		switch {
		case brief && others:
			list = collectionBrief + ", c.acl"
		case brief:
			list = collectionBrief
		case k.columns&ColumnTimezone != 0:
			list = collectionWide
		}
		columns = append(columns, orNothing(list))
	}
	if k.object {
		from.WriteString(" LEFT JOIN object o ON o.account_id = c.account_id AND o.collection_id = c.id AND o.name = " + param())
		list := objectColumns(k.columns)
		if brief {
			list = objectBrief
			if k.columns&ColumnData != 0 {
				list += ", o.data"
			}
		}
		columns = append(columns, orNothing(list))
	}
	text := "SELECT " + strings.Join(columns, ", ") + " FROM " + from.String() + where
	findTexts.Store(k, text)
	return text
}

// findRow is what one Find reads, in one piece of memory.
type findRow struct {
	login, home accountRow
	collection  collectionRow
	object      objectRow
	groups      string
	proxy       int64
	homeACL     string
	accounts    [2]Account
	c           Collection
	o           Object
	dest        [80]any
}

// Find looks up who signs in and what the path names, in one statement; in two
// when the short way of an owner (see owner) met nothing or an account that has
// changed.
func (db *DB) Find(ctx context.Context, q Query) (Found, error) {
	var f Found
	login := q.Login
	k := findShape{home: q.Home != "", columns: q.Columns &^ ColumnTimezone}
	if login != "" {
		k.login = 1
		if strings.IndexByte(login, '@') >= 0 {
			k.login, login = 2, NormalEmail(login)
		} else {
			login = strings.ToLower(login)
		}
		k.same = k.login == 1 && login == q.Home
	}
	k.collection = k.home && q.Collection != ""
	k.object = k.collection && q.Object != ""
	if k.collection {
		k.columns = q.Columns
	}
	if k.login == 0 && !k.home || plainText(login, q.Home, q.Collection, q.Object) != nil {
		return f, nil
	}
	alone := k.login != 0 && !k.home // only the login: the same statement as only a home
	if alone && k.login == 1 {
		k.same = true
	}
	args := make([]any, 0, 4)
	if k.login != 0 && !k.same {
		args = append(args, login)
	}
	switch {
	case alone && k.same:
		args = append(args, login)
	case k.home:
		args = append(args, q.Home)
	}
	if k.collection {
		args = append(args, q.Collection)
	}
	if k.object {
		args = append(args, q.Object)
	}
	if k.home && k.login != 0 && (!k.object || k.columns&(ColumnBrief|ColumnPresence) != 0) {
		if known, ok := db.accounts.get(q.Home); ok && known.SignsInAs(login) {
			if done, err := db.owner(ctx, &q, &known, &f); done || err != nil {
				db.calendars.note(&f, q.Columns)
				return f, err
			}
		}
	}
	row := new(findRow)
	found := false
	err := db.readTogether(ctx, reading{findText(k), args, func(r rows) error {
		if found = r.Next(); !found {
			return r.Err()
		}
		dest := row.dest[:0]
		brief := k.columns&(ColumnBrief|ColumnPresence) != 0
		account := (*accountRow).dest
		if k.columns&ColumnBrief != 0 && !k.same {
			account = (*accountRow).brief
		}
		switch {
		case k.login == 0 || k.same:
			dest = account(&row.home, dest)
		default:
			dest = account(&row.login, dest)
			if k.home {
				dest = append(account(&row.home, dest), &row.groups, &row.proxy, &row.homeACL)
			}
		}
		switch {
		case k.collection && brief:
			dest = row.briefCollection(dest, !k.same)
		case k.collection:
			dest = row.collection.dest(dest, &row.c, k.columns&ColumnTimezone != 0)
		}
		switch {
		case k.object && brief:
			dest = row.briefObject(dest, k.columns&ColumnData != 0)
		case k.object:
			dest = row.object.dest(dest, &row.o, k.columns)
		}
		return r.Scan(dest...)
	}})
	if err != nil || !found {
		return f, err
	}
	if k.columns&(ColumnBrief|ColumnPresence) != 0 {
		if row.c.ID != 0 {
			row.c.Account, row.c.Name = AccountID(row.home.id), q.Collection
		}
		row.o.CollectionKey = row.c.CollectionKey
	}
	err = row.found(&f, k, alone, &db.accounts)
	db.calendars.note(&f, q.Columns)
	return f, err
}

// found turns the row into what it says.
func (row *findRow) found(f *Found, k findShape, alone bool, known *accountCache) error {
	if row.home.id != 0 {
		if err := row.home.account(&row.accounts[0]); err != nil {
			return err
		}
		f.Home = &row.accounts[0]
	}
	switch {
	case k.same:
		f.Login = f.Home
		if f.Home != nil {
			known.put(f.Home)
		}
	case row.login.id != 0 && row.login.id == row.home.id:
		f.Login = f.Home
		if k.columns&ColumnBrief == 0 {
			known.put(f.Home)
		}
	case row.login.id != 0:
		if err := row.login.account(&row.accounts[1]); err != nil {
			return err
		}
		f.Login = &row.accounts[1]
		for id := range strings.FieldsSeq(row.groups) {
			n, err := strconv.ParseInt(id, 10, 64)
			if err != nil {
				return err
			}
			f.Groups = append(f.Groups, AccountID(n))
		}
	}
	if f.Login != f.Home && f.Home != nil {
		f.Proxy = acl.Proxy(row.proxy)
		if row.homeACL != "" {
			list, err := acl.Decode([]byte(row.homeACL))
			if err != nil {
				return fmt.Errorf("storage: home of %s: %w", f.Home.Handle, err)
			}
			f.HomeACL = list
		}
	}
	if alone {
		f.Home = nil
	}
	if k.collection && row.c.ID != 0 {
		if err := row.collection.fill(&row.c, f.Login != f.Home); err != nil {
			return err
		}
		f.Collection = &row.c
	}
	if k.object && row.o.Name != "" {
		row.object.fill(&row.o)
		f.Object = &row.o
	}
	return nil
}
