package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

func testCollections(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	in := storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: "work", Kind: storage.CollectionCalendar, DisplayName: "Wörk", Description: "d",
		Color: "#fff", Order: "3", Timezone: "TZ", TimezoneID: "Europe/Zurich", Components: storage.CompEvent | storage.CompTodo, Transparent: true}
	c, err := db.CreateCollection(bg, in, []storage.Property{{Space: "x:", Local: "p", XML: "<p/>"}})
	ok(t, err)
	got, err := db.CollectionByName(bg, a.ID, "work")
	ok(t, err)
	equal(t, "collection", fmt.Sprint(got), fmt.Sprint(c))
	if got.Nonce == "" || got.Tag == "" || got.Token() == "" || got.Description != "d" || !got.Transparent {
		t.Fatalf("%+v", got)
	}
	props, err := db.Properties(bg, storage.PropertyKey{CollectionKey: c.CollectionKey})
	ok(t, err)
	equal(t, "properties", len(props), 1)
	_, err = db.CreateCollection(bg, in, nil)
	is(t, err, storage.ErrExists)
	in.Account = 5
	_, err = db.CreateCollection(bg, in, nil)
	is(t, err, storage.ErrNotFound)
	got.Name, got.DisplayName = "calendar", "Taken"
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.UpdateCollection(ctx, got) }), storage.ErrExists)
	got.ID = 99
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.UpdateCollection(ctx, got) }), storage.ErrNotFound)
}

func testProperties(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	set := func(list ...storage.Property) {
		t.Helper()
		ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.SetProperties(ctx, list) }))
	}
	here, there := storage.PropertyKey{CollectionKey: k}, storage.PropertyKey{CollectionKey: k, Object: "x.ics"}
	before, err := db.CollectionByName(bg, a.ID, "")
	ok(t, err)
	set(storage.Property{PropertyKey: here, Space: "s", Local: "a", XML: "<a/>"}, storage.Property{PropertyKey: here, Principal: 7, Space: "s", Local: "a", XML: "<a>7</a>"},
		storage.Property{PropertyKey: there, Space: "s", Local: "b", XML: "<b/>"})
	after, err := db.CollectionByName(bg, a.ID, "")
	ok(t, err)
	equal(t, "changes of the home", after.Seq, before.Seq+1)
	list, err := db.Properties(bg, here, there)
	ok(t, err)
	equal(t, "all", len(list), 3)
	set(storage.Property{PropertyKey: here, Space: "s", Local: "a", XML: "<a>new</a>"}, storage.Property{PropertyKey: there, Space: "s", Local: "b"})
	ctx, counter := storage.WithCounter(bg)
	contents, err := db.Contents(ctx, a.ID)
	ok(t, err)
	list = contents.Properties
	equal(t, "statements", counter.Statements(), 2)
	if want, err := db.Collections(bg, a.ID); err != nil || fmt.Sprint(contents.Collections) != fmt.Sprint(want) {
		t.Fatalf("%+v, want %+v, %v", contents.Collections, want, err)
	}
	for round, home := range []string{"alice", "alice", "bob"} { // the second time the account is known
		f, err := db.Find(bg, storage.Query{Login: "alice", Home: home, Columns: storage.ColumnContents | storage.ColumnTimezone})
		ok(t, err)
		if round == 1 && (f.Contents == nil || !sameContents(f.Contents, contents)) || round == 2 && f.Contents != nil {
			t.Fatalf("round %d: found %+v, want %+v", round, f.Contents, contents)
		}
	}
	if len(list) != 2 || list[0].XML != "<a>new</a>" || list[1].Principal != 7 {
		t.Fatalf("%+v", list)
	}
	o := object(k, "x.ics", "u", "e")
	apply(t, db, put(o))
	set(storage.Property{PropertyKey: there, Space: "s", Local: "b", XML: "<b/>"})
	apply(t, db, del(o))
	list, err = db.Properties(bg, there)
	ok(t, err)
	equal(t, "properties of a deleted object", len(list), 0)

	// Of several changes of one property the last counts.
	set(storage.Property{PropertyKey: there, Space: "s", Local: "b", XML: "<b>1</b>"}, storage.Property{PropertyKey: there, Space: "s", Local: "b", XML: "<b>2</b>"},
		storage.Property{PropertyKey: there, Space: "s", Local: "c", XML: "<c/>"}, storage.Property{PropertyKey: there, Space: "s", Local: "c"},
		storage.Property{PropertyKey: there, Principal: 7, Space: "s", Local: "b", XML: "<b>7</b>"})
	list, err = db.Properties(bg, there)
	ok(t, err)
	if len(list) != 2 || list[0].XML != "<b>2</b>" || list[1].XML != "<b>7</b>" {
		t.Fatalf("%+v", list)
	}
	tasks := calendarOf(t, db, a, "tasks")
	moved := storage.PropertyKey{CollectionKey: tasks, Object: "y.ics"}
	set(storage.Property{PropertyKey: moved, Space: "s", Local: "old", XML: "<old/>"})
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		return tx.MoveProperties(ctx, storage.ObjectKey{CollectionKey: k, Name: "x.ics"}, storage.ObjectKey{CollectionKey: tasks, Name: "y.ics"})
	}))
	list, err = db.Properties(bg, there, moved)
	ok(t, err)
	if len(list) != 2 || list[0].PropertyKey != moved || list[0].XML != "<b>2</b>" || list[1].Principal != 7 {
		t.Fatalf("%+v", list)
	}
	other := calendarOf(t, db, user(t, db, "bobby"), "calendar")
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		return tx.MoveProperties(ctx, storage.ObjectKey{CollectionKey: tasks, Name: "y.ics"}, storage.ObjectKey{CollectionKey: other, Name: "y.ics"})
	}), storage.ErrInvalid)
}

func testHomeChanges(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	home, err := db.CollectionByName(bg, a.ID, "")
	ok(t, err)
	c, err := db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: "one", Kind: storage.CollectionCalendar}, nil)
	ok(t, err)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c.Name = "two"
		return tx.UpdateCollection(ctx, c)
	}))
	set, err := db.HomeChanges(bg, a.ID, home.Token())
	ok(t, err)
	equal(t, "changes", fmt.Sprint(set.Changed, set.Deleted), "[two] [one]")
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, c.CollectionKey) }))
	next, err := db.HomeChanges(bg, a.ID, set.Token)
	ok(t, err)
	equal(t, "changes", fmt.Sprint(next.Changed, next.Deleted), "[] [two]")
	_, err = db.HomeChanges(bg, a.ID, "urn:kalends:sync:aa-0-bb")
	is(t, err, storage.ErrBadToken)
}

func testApply(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	o := object(k, "x.ics", "u1", "e1")
	first := apply(t, db, put(o))
	equal(t, "number", first[0].Seq, int64(1))
	var created int64
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		slot, err := tx.Slot(ctx, o.ObjectKey, "u1")
		if err != nil {
			return err
		}
		if slot.Existing == nil || slot.Existing.Data != o.Data || len(slot.SameUID) != 0 {
			t.Errorf("slot: %+v", slot)
		}
		created = slot.Existing.Created
		return nil
	}))
	o.ETag, o.Data, o.ScheduleTag, o.Extra = "e2", "new", "s1", "{}"
	second := apply(t, db, put(o))
	equal(t, "number", second[0].Seq, int64(2))
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		locked, err := tx.LockCollections(ctx, []storage.CollectionKey{k})
		if err != nil {
			return err
		}
		equal(t, "tag", locked[0].Tag, second[0].Tag)
		list, err := tx.Objects(ctx, []storage.ObjectKey{o.ObjectKey, {CollectionKey: k, Name: "none"}}, storage.ColumnData)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Data != "new" || list[0].Size != 3 || list[0].Created != created || list[0].ScheduleTag != "s1" {
			t.Errorf("object: %+v", list)
		}
		return nil
	}))
	apply(t, db, del(o))
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "number", c.Seq, int64(3))
	broken := o
	broken.Data = "a\x00b"
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Apply(ctx, []storage.Write{put(broken)})
		return err
	}), storage.ErrInvalid)
	stop := errors.New("stop")
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		if _, err := tx.Apply(ctx, []storage.Write{put(o)}); err != nil {
			return err
		}
		return stop
	}), stop)
	for o := range db.List(bg, k, storage.ColumnsMeta) {
		t.Fatalf("%s is still there", o.Name)
	}
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Apply(ctx, []storage.Write{put(object(storage.CollectionKey{Account: a.ID, ID: 5}, "x", "u", "e"))})
		return err
	}), storage.ErrNotFound)
}

func testApplyMany(t *testing.T, db *storage.DB) {
	var writes []storage.Write
	var accounts []storage.AccountID
	for i := range 20 {
		a := user(t, db, fmt.Sprintf("user%02d", i))
		accounts = append(accounts, a.ID)
		writes = append(writes, put(object(calendarOf(t, db, a, "calendar"), "m.ics", "meeting", fmt.Sprint("e", i))))
		inbox := calendarOf(t, db, a, "inbox")
		writes = append(writes, put(object(inbox, "1.ics", "meeting", "i1")), put(object(inbox, "2.ics", "meeting", "i2")))
	}
	ctx, counter := storage.WithCounter(bg)
	run := func(writes []storage.Write) int {
		t.Helper()
		counter.Reset()
		ok(t, db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Apply(ctx, writes)
			return err
		}))
		return counter.Statements()
	}
	if n := run(writes); n > 7 {
		t.Fatalf("%d statements", n)
	}
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		list, err := tx.ObjectsByUID(ctx, accounts, "meeting", storage.ColumnData)
		if err != nil {
			return err
		}
		equal(t, "copies", len(list), 20)
		equal(t, "data", list[7].Data, writes[0].Object.Data)
		list, err = tx.ObjectsByUID(ctx, accounts[:1], "meeting", storage.ColumnsMeta)
		if err != nil {
			return err
		}
		equal(t, "copies of one", len(list), 1)
		list, err = tx.InboxByUID(ctx, accounts[3], "meeting", storage.ColumnsMeta)
		equal(t, "inbox items", len(list), 2)
		return err
	}))
	for i := range writes {
		writes[i].Delete = i%3 == 1
	}
	if n := run(writes); n > 10 {
		t.Fatalf("%d statements", n)
	}
	c, err := db.CollectionByName(bg, accounts[0], "inbox")
	ok(t, err)
	equal(t, "changes of an inbox", c.Seq, int64(4))
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Apply(ctx, []storage.Write{writes[0], writes[0]})
		return err
	}), storage.ErrInvalid)
}

func testMove(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	from, to := object(k, "old.ics", "u1", "e1"), object(k, "new.ics", "u1", "e1")
	apply(t, db, put(from))
	apply(t, db, put(to), del(from))
	var names []string
	for o, err := range db.List(bg, k, storage.ColumnsMeta) {
		ok(t, err)
		names = append(names, o.Name)
	}
	equal(t, "names", strings.Join(names, " "), "new.ics")
}

func testUIDs(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	calendar, tasks := calendarOf(t, db, a, "calendar"), calendarOf(t, db, a, "tasks")
	apply(t, db, put(object(calendar, "a.ics", "u1", "e")), put(object(tasks, "b.ics", "u1", "e")))
	for _, writes := range [][]storage.Write{
		{put(object(calendar, "c.ics", "u1", "e"))},
		{put(object(calendar, "c.ics", "u1", "e")), put(object(calendar, "d.ics", "u2", "e"))},
	} {
		err := db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Apply(ctx, writes)
			return err
		})
		is(t, err, storage.ErrExists)
		is(t, err, storage.ErrUIDConflict)
	}
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		slot, err := tx.Slot(ctx, storage.ObjectKey{CollectionKey: calendar, Name: "a.ics"}, "u1")
		if err != nil {
			return err
		}
		if slot.Existing == nil || len(slot.SameUID) != 1 || slot.SameUID[0].Collection != "tasks" || slot.SameUID[0].Name != "b.ics" {
			t.Errorf("slot: %+v", slot)
		}
		return nil
	}))
}

func testCreateRace(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	second := Second(t, db)
	taken := errors.New("taken")
	var won, lost atomic.Int64
	parallel(10, func(i int) {
		o := object(k, "x.ics", "u1", fmt.Sprint("e", i))
		err := []*storage.DB{db, second}[i%2].Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: a.ID, UID: "u1"}, {UID: "u1"}, {UID: "u0"}}); err != nil {
				return err
			}
			if _, err := tx.LockCollections(ctx, []storage.CollectionKey{k}); err != nil {
				return err
			}
			slot, err := tx.Slot(ctx, o.ObjectKey, "u1")
			if err != nil {
				return err
			}
			if slot.Existing != nil {
				return taken
			}
			_, err = tx.Apply(ctx, []storage.Write{put(o)})
			return err
		})
		switch {
		case err == nil:
			won.Add(1)
		case errors.Is(err, taken):
			lost.Add(1)
		default:
			t.Errorf("error %v", err)
		}
	})
	if won.Load() != 1 || lost.Load() != 9 {
		t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func testReads(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	var writes []storage.Write
	for i := range 30 {
		o := object(k, fmt.Sprintf("%02d.ics", i), fmt.Sprint("u", i), "e")
		o.Start, o.End = int64(i)*100, int64(i)*100+50
		if i%10 == 9 {
			o.Component = "VTODO"
		}
		if i == 20 {
			o.End = o.Start
		}
		switch i {
		case 3, 14:
			o.Flags = storage.FlagScheduling | storage.FlagAttendee
		case 15:
			o.Flags = storage.FlagScheduling | storage.FlagOrganizer
		}
		writes = append(writes, put(o))
	}
	apply(t, db, writes...)
	selected := func(q storage.ObjectQuery) string {
		t.Helper()
		var out []string
		for o, err := range db.Select(bg, k, q) {
			ok(t, err)
			out = append(out, strings.TrimSuffix(o.Name, ".ics"))
			if (q.Columns&storage.ColumnData != 0) != (o.Data != "") {
				t.Fatalf("data of %s: %q", o.Name, o.Data)
			}
		}
		return strings.Join(out, " ")
	}
	equal(t, "range", selected(storage.ObjectQuery{From: 1050, To: 1301}), "11 12 13")
	equal(t, "edges", selected(storage.ObjectQuery{From: 1049, To: 1200, Columns: storage.ColumnData}), "10 11")
	equal(t, "no length", selected(storage.ObjectQuery{From: 2000, To: 2001}), "20")
	equal(t, "no length, after", selected(storage.ObjectQuery{From: 2001, To: 2100}), "")
	equal(t, "UIDs", selected(storage.ObjectQuery{UIDs: []string{"u3", "u11", "none"}}), "03 11")

	// Several collections at once, in their order; those of others are not seen.
	second := calendarOf(t, db, a, "tasks")
	stranger := calendarOf(t, db, user(t, db, "mallory"), "calendar")
	apply(t, db, put(object(second, "x.ics", "u3", "e")), put(object(second, "y.ics", "other", "e")))
	apply(t, db, put(object(stranger, "z.ics", "u3", "e")))
	both := func(q storage.ObjectQuery) string {
		t.Helper()
		var out []string
		for o, err := range db.SelectIn(bg, k.Account, []storage.CollectionID{second.ID, stranger.ID, k.ID}, q) {
			ok(t, err)
			name := strings.TrimSuffix(o.Name, ".ics")
			if o.CollectionKey == second {
				name = "second/" + name
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	equal(t, "one UID in two", both(storage.ObjectQuery{UID: "u3"}), "second/x 03")
	equal(t, "UIDs in two", both(storage.ObjectQuery{UIDs: []string{"other", "u4"}, Columns: storage.ColumnData}), "second/y 04")
	equal(t, "range in two", both(storage.ObjectQuery{From: 1050, To: 1301}), "second/x second/y 11 12 13")
	for o, err := range db.SelectIn(bg, k.Account, nil, storage.ObjectQuery{}) {
		t.Errorf("nothing asked for gives %v, %v", o.Name, err)
	}
	equal(t, "components", selected(storage.ObjectQuery{Components: []string{"VTODO", "VJOURNAL"}}), "09 19 29")
	equal(t, "uid", selected(storage.ObjectQuery{UID: "u7"}), "07")
	equal(t, "limit", selected(storage.ObjectQuery{Limit: 2}), "00 01")
	equal(t, "flag", selected(storage.ObjectQuery{Flags: storage.FlagAttendee}), "03 14")
	equal(t, "any of the flags", selected(storage.ObjectQuery{Flags: storage.FlagAttendee | storage.FlagOrganizer}), "03 14 15")
	equal(t, "no such flag", selected(storage.ObjectQuery{Flags: storage.FlagRead}), "")
	equal(t, "everything at once", selected(storage.ObjectQuery{UID: "u14", From: 1000, To: 5000, Components: []string{"VEVENT"}, Flags: storage.FlagScheduling, Columns: storage.ColumnData, Limit: 5}), "14")
	var got []string
	for o, err := range db.Get(bg, k, []string{"05.ics", "none", "01.ics", "05.ics"}, storage.ColumnData) {
		ok(t, err)
		got = append(got, fmt.Sprintf("%s/%t/%t", o.Name, o.Missing(), o.Data != ""))
	}
	equal(t, "get", strings.Join(got, " "), "05.ics/false/true none/true/false 01.ics/false/true 05.ics/false/true")
	names := make([]string, 1200)
	for i := range names {
		names[i] = fmt.Sprintf("%02d.ics", i)
	}
	ctx, counter := storage.WithCounter(bg)
	n := 0
	for o, err := range db.Get(ctx, k, names, storage.ColumnsMeta) {
		ok(t, err)
		equal(t, "order", o.Name, names[n])
		n++
	}
	equal(t, "answers", n, len(names))
	equal(t, "statements", counter.Statements(), 3)
	for range db.List(bg, k, storage.ColumnData) {
		break // the connection comes back
	}
	n = 0
	for _, err := range db.List(bg, k, storage.ColumnExtra) {
		ok(t, err)
		n++
	}
	equal(t, "listed", n, 30)
	ended, cancel := context.WithCancel(bg)
	cancel()
	for _, err := range db.List(ended, k, storage.ColumnsMeta) {
		is(t, err, context.Canceled)
	}
}

func testBusy(t *testing.T, db *storage.DB) {
	var ids []storage.AccountID
	var writes []storage.Write
	for i := range 5 {
		a := user(t, db, fmt.Sprintf("user%d", i))
		ids = append(ids, a.ID)
		k := calendarOf(t, db, a, "calendar")
		inside, before, free, again := object(k, "in", "u1", "e"), object(k, "before", "u2", "e"), object(k, "free", "u3", "e"), object(k, "again", "u4", "e")
		before.End = 1000
		free.Flags |= storage.FlagTransparent
		again.Flags |= storage.FlagTransparent | storage.FlagRecurring
		known := object(k, "known", "u5", "e")
		known.Flags |= storage.FlagBusy
		writes = append(writes, put(inside), put(before), put(free), put(again), put(known), put(object(calendarOf(t, db, a, "inbox"), "in", "u1", "e")))
		c, err := db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: "free", Kind: storage.CollectionCalendar, Transparent: true}, nil)
		ok(t, err)
		writes = append(writes, put(object(c.CollectionKey, "in", "u9", "e")))
	}
	apply(t, db, writes...)
	ctx, counter := storage.WithCounter(bg)
	got := map[storage.AccountID][]string{}
	for b, err := range db.BusyObjects(ctx, ids[:4], 1500, 3000) {
		ok(t, err)
		if (b.Data == "") != (b.Flags&storage.FlagBusy != 0) || b.Start != 1000 || b.End != 2000 || b.Component != "VEVENT" {
			t.Fatalf("%+v", b)
		}
		got[b.Account] = append(got[b.Account], b.UID)
	}
	equal(t, "statements", counter.Statements(), 1)
	equal(t, "accounts", len(got), 4)
	for _, s := range got {
		slices.Sort(s)
		equal(t, "objects", strings.Join(s, " "), "u1 u4 u5")
	}

	// One property of all collections, for everybody; the name of a zone goes
	// before its definition.
	k := calendarOf(t, db, storage.Account{ID: ids[0]}, "calendar")
	prop := func(k storage.CollectionKey, principal storage.AccountID, object, local string) storage.Property {
		return storage.Property{PropertyKey: storage.PropertyKey{CollectionKey: k, Object: object}, Principal: principal, Space: "x:", Local: local, XML: "<" + local + "/>"}
	}
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, ids[0], "calendar")
		if err != nil {
			return err
		}
		c.Timezone = "definition"
		if err := tx.UpdateCollection(ctx, c); err != nil {
			return err
		}
		inbox, err := tx.CollectionByName(ctx, ids[0], "inbox")
		if err != nil {
			return err
		}
		inbox.Timezone, inbox.TimezoneID = "definition", "name"
		if err := tx.UpdateCollection(ctx, inbox); err != nil {
			return err
		}
		return tx.SetProperties(ctx, []storage.Property{prop(k, 0, "", "a"), prop(inbox.CollectionKey, 0, "", "a"), prop(k, ids[1], "", "a"), prop(k, 0, "in", "a"), prop(k, 0, "", "b")})
	}))
	ctx, counter = storage.WithCounter(bg)
	props, err := db.PropertiesNamed(ctx, ids, "x:", "a")
	ok(t, err)
	equal(t, "statements", counter.Statements(), 1)
	zones := map[storage.CollectionKind]string{}
	for _, p := range props {
		equal(t, "account", p.Account, ids[0])
		equal(t, "XML", p.XML, "<a/>")
		zones[p.Kind] = p.Timezone
	}
	equal(t, "properties", len(props), 2)
	equal(t, "zone", zones[storage.CollectionCalendar], "definition")
	equal(t, "zone by name", zones[storage.CollectionInbox], "name")
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		props, err := tx.PropertiesNamed(ctx, ids, "x:", "b")
		equal(t, "properties in a transaction", len(props), 1)
		return err
	}))
}

func testRetries(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	x, y := calendarOf(t, db, a, "calendar"), calendarOf(t, db, a, "tasks")
	// Two transactions that take the same locks in opposite order.
	var runs atomic.Int64
	parallel(6, func(i int) {
		keys := []storage.CollectionKey{x, y}
		if i%2 == 1 {
			keys = []storage.CollectionKey{y, x}
		}
		err := db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			runs.Add(1)
			for _, k := range keys {
				if _, err := tx.LockCollections(ctx, []storage.CollectionKey{k}); err != nil {
					return err
				}
				time.Sleep(5 * time.Millisecond)
			}
			_, err := tx.Apply(ctx, []storage.Write{put(object(x, fmt.Sprint(i), fmt.Sprint("u", i), "e"))})
			return err
		})
		if err != nil {
			t.Errorf("transaction %d: %v", i, err)
		}
	})
	if runs.Load() < 6 {
		t.Fatalf("%d runs", runs.Load())
	}
	c, err := db.CollectionByName(bg, a.ID, "calendar")
	ok(t, err)
	equal(t, "changes", c.Seq, int64(6))
	ended, cancel := context.WithCancel(bg)
	cancel()
	is(t, db.Tx(ended, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.LockCollections(ctx, []storage.CollectionKey{x})
		return err
	}), context.Canceled)
	func() { // a panic leaves no transaction behind
		defer func() { _ = recover() }()
		_ = db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
			_, _ = tx.LockCollections(ctx, []storage.CollectionKey{x})
			panic("x")
		})
	}()
	apply(t, db, put(object(x, "after", "after", "e")))
}

func testStatements(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	ctx, counter := storage.WithCounter(bg)
	plain := func(name string) {
		t.Helper()
		counter.Reset()
		ok(t, db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
			if _, err := tx.LockCollections(ctx, []storage.CollectionKey{k}); err != nil {
				return err
			}
			o := object(k, name, name, "e")
			if _, err := tx.Slot(ctx, o.ObjectKey, o.UID); err != nil {
				return err
			}
			_, err := tx.Apply(ctx, []storage.Write{put(o)})
			return err
		}))
		if counter.Statements() > 7 || db.Engine() == "postgres" && counter.RoundTrips() > 3 {
			t.Fatalf("%d statements in %d round trips", counter.Statements(), counter.RoundTrips())
		}
	}
	plain("a")
	plain("a")
	counter.Reset()
	_, err := db.PutPlain(ctx, storage.PlainPut{Object: object(k, "a", "a", "e3")})
	ok(t, err)
	if counter.Statements() > 5 || db.Engine() == "postgres" && counter.RoundTrips() != 1 {
		t.Fatalf("%d statements in %d round trips", counter.Statements(), counter.RoundTrips())
	}
	// The work for ten and for a thousand members takes as many statements.
	var counts [2]int
	for i, n := range []int{10, 1000} {
		writes := make([]storage.Write, n)
		names := make([]string, n)
		for j := range writes {
			names[j] = fmt.Sprintf("%d-%d", n, j)
			writes[j] = put(object(k, names[j], names[j], "e"))
		}
		counter.Reset()
		ok(t, db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Apply(ctx, writes)
			return err
		}))
		for _, err := range db.List(ctx, k, storage.ColumnsMeta) {
			ok(t, err)
		}
		for _, err := range db.Select(ctx, k, storage.ObjectQuery{From: 1, To: 5000, Columns: storage.ColumnData}) {
			ok(t, err)
		}
		_, err := db.Changes(ctx, k, "", 0)
		ok(t, err)
		counts[i] = counter.Statements()
	}
	equal(t, "statements", counts[1], counts[0])
}

func testView(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	apply(t, db, put(object(k, "a", "u1", "e")))
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		n := func() (n int) {
			for _, err := range tx.List(ctx, k, storage.ColumnsMeta) {
				ok(t, err)
				n++
			}
			return n
		}
		equal(t, "before", n(), 1)
		apply(t, db, put(object(k, "b", "u2", "e")))
		equal(t, "after", n(), 1)
		return nil
	}))
	err := db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.CreateAccount(ctx, storage.Account{Handle: "bob"})
		if err == nil {
			err = tx.SaveSnapshot(ctx, storage.Snapshot{Account: 1, UID: "u", Digest: "d"})
		}
		if err == nil { // whatever waited is sent
			_, err = tx.Snapshot(ctx, 1, "u", "d")
		}
		return err
	})
	if err == nil {
		t.Fatal("a view wrote")
	}
}

func testRemoveCollection(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	var writes []storage.Write
	for i := range 450 {
		writes = append(writes, put(object(k, fmt.Sprint(i), fmt.Sprint("u", i), "e")))
	}
	apply(t, db, writes...)
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.RemoveCollection(ctx, k) }), storage.ErrExists)
	more, err := db.RemoveObjects(bg, k, 0)
	ok(t, err)
	equal(t, "an unmarked collection", more, false)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, k) }))
	is(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, k) }), storage.ErrNotFound)
	_, err = db.CollectionByName(bg, a.ID, "calendar")
	is(t, err, storage.ErrNotFound)
	_, err = db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: "calendar", Kind: storage.CollectionCalendar}, nil)
	ok(t, err)
	rounds := 0
	for more = true; more; rounds++ {
		more, err = db.RemoveObjects(bg, k, 0)
		ok(t, err)
	}
	equal(t, "rounds", rounds, 3)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.RemoveCollection(ctx, k) }))
	list, err := db.DeletingCollections(bg, 10)
	ok(t, err)
	equal(t, "left", len(list), 0)
}
