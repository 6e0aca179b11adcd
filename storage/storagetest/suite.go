package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// Run is the conformance suite. open gives a fresh, migrated database made by
// this package (so that Second can open it once more).
func Run(t *testing.T, open func(t *testing.T) *storage.DB) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, db *storage.DB)
	}{
		{"Accounts", testAccounts}, {"HoldBack", testHoldBack}, {"Import", testImport}, {"Groups", testGroups},
		{"Recipients", testRecipients}, {"Find", testFind}, {"FindOwner", testFindOwner}, {"FindShared", testFindShared},
		{"Collections", testCollections}, {"Properties", testProperties}, {"HomeChanges", testHomeChanges},
		{"Apply", testApply}, {"ApplyMany", testApplyMany}, {"MoveInOneCall", testMove}, {"UIDs", testUIDs},
		{"PutPlain", testPutPlain}, {"PutPlainRace", testPutPlainRace}, {"PutSeen", testPutSeen}, {"PutTogether", testPutTogether}, {"CreateRace", testCreateRace}, {"Reads", testReads}, {"Busy", testBusy},
		{"Changes", testChanges}, {"Contents", testContents}, {"AddressLogin", testAddressLogin}, {"Listing", testListing}, {"Named", testNamed}, {"ListingBesideWriters", testListingBesideWriters}, {"BadTokens", testBadTokens}, {"InitialPages", testInitialPages}, {"SyncBesideWriters", testSyncBesideWriters},
		{"Retries", testRetries}, {"Statements", testStatements}, {"View", testView}, {"RemoveCollection", testRemoveCollection},
		{"Deliveries", testDeliveries}, {"ClaimOrder", testClaimOrder}, {"ClaimCap", testClaimCap}, {"WireIDs", testWireIDs}, {"Leases", testLeases},
		{"WriteBack", testWriteBack}, {"PeerStates", testPeerStates}, {"Refresh", testRefresh}, {"Replay", testReplay}, {"ReplayRace", testReplayRace},
		{"Nothing", testNothing}, {"BusyQuestions", testBusyQuestions}, {"Delegates", testDelegates}, {"Usage", testUsage}, {"Forgotten", testForgotten}, {"OldStates", testOldStates}, {"FailedRecipients", testFailedRecipients}, {"RefreshMany", testRefreshMany}, {"Alarms", testAlarms}, {"MembersOf", testMembersOf}, {"Domains", testDomains}, {"Settings", testSettings}, {"Peers", testPeers}, {"Secrets", testSecrets}, {"Watch", testWatch}, {"Janitor", testJanitor},
		{"Push", testPush}, {"PushMute", testPushMute}, {"PushMuteInFlight", testPushMuteInFlight}, {"PushOnce", testPushOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

var bg = context.Background()

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// user makes an account with one address, name@example.test.
func user(t *testing.T, db *storage.DB, name string) storage.Account {
	t.Helper()
	a, err := db.CreateAccount(bg, storage.Account{Handle: name, DisplayName: name, Emails: []string{name + "@Example.test"}, Verifier: "v"})
	ok(t, err)
	return a
}

func calendarOf(t *testing.T, db *storage.DB, a storage.Account, name string) storage.CollectionKey {
	t.Helper()
	c, err := db.CollectionByName(bg, a.ID, name)
	ok(t, err)
	return c.CollectionKey
}

func object(k storage.CollectionKey, name, uid, etag string) storage.Object {
	return storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: k, Name: name}, UID: uid, Component: "VEVENT", ETag: etag,
		Data: "BEGIN:VCALENDAR\r\nUID:" + uid + "\r\nSUMMARY:\"<&>'\\ ü\r\nEND:VCALENDAR\r\n", Start: 1000, End: 2000, Flags: storage.FlagExact}
}

func apply(t *testing.T, db *storage.DB, writes ...storage.Write) []storage.Applied {
	t.Helper()
	var out []storage.Applied
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) (err error) {
		out, err = tx.Apply(ctx, writes)
		return err
	}))
	return out
}

func put(o storage.Object) storage.Write { return storage.Write{Object: o} }
func del(o storage.Object) storage.Write { return storage.Write{Object: o, Delete: true} }

func testAccounts(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	equal(t, "address", a.Emails[0], "alice@example.test")
	list, err := db.Collections(bg, a.ID)
	ok(t, err)
	var names []string
	for _, c := range list {
		names = append(names, fmt.Sprintf("%s:%d:%d", c.Name, c.Kind, c.Components))
	}
	equal(t, "collections", strings.Join(names, " "), ":1:0 calendar:2:1 inbox:3:11 notification:5:0 outbox:4:8 tasks:2:2")
	for _, login := range []string{"alice", "Alice", "ALICE@example.TEST"} {
		b, err := db.AccountByLogin(bg, login)
		ok(t, err)
		equal(t, login, b.ID, a.ID)
	}
	for _, login := range []string{"bob", "bob@example.test", "a\x00b", "\xff"} {
		_, err := db.AccountByLogin(bg, login)
		is(t, err, storage.ErrNotFound)
	}
	_, err = db.CreateAccount(bg, storage.Account{Handle: "alice"})
	is(t, err, storage.ErrExists)
	_, err = db.CreateAccount(bg, storage.Account{Handle: "alice2", Emails: []string{"ALICE@example.test"}})
	is(t, err, storage.ErrExists)
	for _, handle := range []string{"", "Alice", "a b", "..", "a/b", strings.Repeat("a", 65)} {
		_, err = db.CreateAccount(bg, storage.Account{Handle: handle})
		is(t, err, storage.ErrInvalid)
	}
	verifier, off, name := "w", true, "Alice A."
	b, err := db.UpdateAccount(bg, a.ID, storage.AccountChange{DisplayName: &name})
	ok(t, err)
	equal(t, "version after a name", b.Version, a.Version)
	b, err = db.UpdateAccount(bg, a.ID, storage.AccountChange{Verifier: &verifier, Disabled: &off, AddEmails: []string{"al@example.test"},
		Settings: &storage.Settings{AutoAccept: "none", DefaultCalendar: "work"}})
	ok(t, err)
	equal(t, "version after a password", b.Version, a.Version+1)
	c, err := db.AccountByID(bg, a.ID)
	ok(t, err)
	equal(t, "account", fmt.Sprint(c), fmt.Sprint(b))
	equal(t, "settings", c.Settings.DefaultCalendar, "work")
	user(t, db, "bob")
	page, err := db.ListAccounts(bg, storage.Page{After: "alice", Limit: 5})
	ok(t, err)
	if len(page) != 1 || page[0].Handle != "bob" {
		t.Fatalf("page: %v", page)
	}
	found, err := db.SearchAccounts(bg, "BOB@Exa", 10)
	ok(t, err)
	equal(t, "found", len(found), 1)
	found, err = db.SearchAccounts(bg, "%", 10)
	ok(t, err)
	equal(t, "a per cent sign is no wildcard", len(found), 0)
}

func testHoldBack(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	_, err := db.UpdateAccount(bg, b.ID, storage.AccountChange{AddEmails: []string{"b2@example.test"}})
	ok(t, err)
	_, err = db.UpdateAccount(bg, b.ID, storage.AccountChange{RemoveEmails: []string{"B2@example.test"}})
	ok(t, err)
	_, err = db.UpdateAccount(bg, a.ID, storage.AccountChange{AddEmails: []string{"b2@example.test"}})
	is(t, err, storage.ErrExists)
	_, err = db.UpdateAccount(bg, b.ID, storage.AccountChange{AddEmails: []string{"b2@example.test"}})
	ok(t, err)
	ok(t, db.RemoveAccount(bg, b.ID))
	is(t, db.RemoveAccount(bg, b.ID), storage.ErrNotFound)
	_, err = db.AccountByHandle(bg, "bob")
	is(t, err, storage.ErrNotFound)
	r, err := db.Recipients(bg, []string{"mailto:bob@example.test", "urn:uuid:" + b.UUID, "handle:bob"})
	ok(t, err)
	equal(t, "recipients", len(r), 0)
	for _, c := range []storage.Account{{Handle: "bob"}, {Handle: "x1", Emails: []string{"bob@example.test"}}, {Handle: "x2", UUID: strings.ToUpper(b.UUID)}} {
		_, err = db.CreateAccount(bg, c)
		var held *storage.HeldError
		if !errors.As(err, &held) || !errors.Is(err, storage.ErrExists) {
			t.Fatalf("%v: %v", c, err)
		}
	}
	future := SecondWith(t, db, storage.Options{Clock: func() time.Time { return time.Now().Add(storage.HoldBack + time.Hour) }})
	_, err = future.CreateAccount(bg, storage.Account{Handle: "bob", Emails: []string{"bob@example.test"}, UUID: b.UUID})
	ok(t, err)
}

func testImport(t *testing.T, db *storage.DB) {
	admin := storage.RightAdmin
	var specs []storage.AccountSpec
	var members []string
	for i := range 300 {
		name := fmt.Sprintf("user%03d", i)
		members = append(members, name)
		specs = append(specs, storage.AccountSpec{Handle: name, Kind: storage.KindUser, DisplayName: "User", Emails: []string{name + "@example.test"}, Verifier: "v"})
	}
	specs[0].Rights = &admin
	specs = append(specs, storage.AccountSpec{Handle: "everybody", Kind: storage.KindGroup, Members: members})
	ctx, counter := storage.WithCounter(bg)
	created, updated, err := db.ImportAccounts(ctx, specs)
	ok(t, err)
	if created != 301 || updated != 0 || counter.Statements() > 25 {
		t.Fatalf("created %d, updated %d, statements %d", created, updated, counter.Statements())
	}
	created, updated, err = db.ImportAccounts(bg, specs)
	ok(t, err)
	equal(t, "second run", fmt.Sprint(created, updated), "0 0")
	specs[1].Emails = []string{"other@example.test", "user001@example.test"}
	created, updated, err = db.ImportAccounts(bg, specs)
	ok(t, err)
	equal(t, "third run", fmt.Sprint(created, updated), "0 1")
	a, err := db.AccountByLogin(bg, "other@example.test")
	ok(t, err)
	equal(t, "handle", a.Handle, "user001")
	groups, err := db.GroupsOf(bg, a.ID)
	ok(t, err)
	equal(t, "groups", len(groups), 1)
	_, _, err = db.ImportAccounts(bg, []storage.AccountSpec{{Handle: "g2", Kind: storage.KindGroup, Members: []string{"nobody"}}})
	is(t, err, storage.ErrInvalid)
	_, err = db.AccountByHandle(bg, "g2")
	is(t, err, storage.ErrNotFound)
	_, _, err = db.ImportAccounts(bg, []storage.AccountSpec{{Handle: "twice", Emails: []string{"t@example.test"}}, {Handle: "twice2", Emails: []string{"T@example.test"}}})
	is(t, err, storage.ErrExists)
}

func testGroups(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	group := func(name string) storage.Account {
		g, err := db.CreateAccount(bg, storage.Account{Handle: name, Kind: storage.KindGroup})
		ok(t, err)
		list, err := db.Collections(bg, g.ID)
		ok(t, err)
		equal(t, "collections of a group", len(list), 0)
		return g
	}
	team, staff, all := group("team"), group("staff"), group("all")
	ok(t, db.AddMember(bg, team.ID, a.ID))
	ok(t, db.AddMember(bg, staff.ID, team.ID))
	ok(t, db.AddMember(bg, all.ID, staff.ID))
	ok(t, db.AddMember(bg, team.ID, all.ID)) // a ring
	ok(t, db.AddMember(bg, team.ID, all.ID))
	ids := func(id storage.AccountID) string {
		list, err := db.GroupsOf(bg, id)
		ok(t, err)
		var out []string
		for _, g := range []storage.Account{team, staff, all} {
			if slices.Contains(list, g.ID) {
				out = append(out, g.Handle)
			}
		}
		equal(t, "no others", len(out), len(list))
		return strings.Join(out, " ")
	}
	equal(t, "alice", ids(a.ID), "team staff all")
	equal(t, "team", ids(team.ID), "staff all")
	members, err := db.AllMembers(bg, all.ID)
	ok(t, err)
	equal(t, "members of all", len(members), 3)
	ok(t, db.RemoveMember(bg, staff.ID, team.ID))
	is(t, db.RemoveMember(bg, staff.ID, team.ID), storage.ErrNotFound)
	equal(t, "alice", ids(a.ID), "team")
	is(t, db.AddMember(bg, a.ID, team.ID), storage.ErrInvalid)
	is(t, db.AddMember(bg, team.ID, 12345), storage.ErrNotFound)
	ok(t, db.RemoveAccount(bg, team.ID))
	equal(t, "alice", ids(a.ID), "")
}

func testRecipients(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	keys := []string{"mailto:alice@example.test", "urn:uuid:" + b.UUID, "handle:bob", "mailto:nobody@example.test", "https://x/", "mailto:a\x00b"}
	ctx, counter := storage.WithCounter(bg)
	r, err := db.Recipients(ctx, keys)
	ok(t, err)
	equal(t, "statements", counter.Statements(), 1)
	equal(t, "found", len(r), 3)
	got := r["mailto:alice@example.test"]
	equal(t, "account", got.Account.ID, a.ID)
	equal(t, "calendar", got.Calendar.CollectionKey, calendarOf(t, db, a, "calendar"))
	equal(t, "tasks", got.Tasks.CollectionKey, calendarOf(t, db, a, "tasks"))
	equal(t, "inbox", got.Inbox, calendarOf(t, db, a, "inbox"))
	equal(t, "components", got.Calendar.Components|got.Tasks.Components, storage.CompEvent|storage.CompTodo)
	work, err := db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: b.ID}, Name: "work", Kind: storage.CollectionCalendar,
		Components: storage.CompEvent, Transparent: true, Timezone: "TZ"}, nil)
	ok(t, err)
	_, err = db.UpdateAccount(bg, b.ID, storage.AccountChange{Settings: &storage.Settings{DefaultCalendar: "work"}})
	ok(t, err)
	r, err = db.Recipients(bg, keys)
	ok(t, err)
	d := r["handle:bob"].Calendar
	if d.CollectionKey != work.CollectionKey || !d.Transparent || d.Timezone != "TZ" || d.Name != "work" {
		t.Fatalf("default calendar: %+v", d)
	}
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf("mailto:u%d@example.test", i))
	}
	counter.Reset()
	_, err = db.Recipients(ctx, keys)
	ok(t, err)
	equal(t, "statements for a thousand", counter.Statements(), 1)
}

func testFind(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	k := calendarOf(t, db, a, "calendar")
	o := object(k, "x.ics", "u1", "e1")
	o.Extra = `{"a":1}`
	apply(t, db, put(o))
	find := func(q storage.Query) storage.Found {
		t.Helper()
		ctx, counter := storage.WithCounter(bg)
		f, err := db.Find(ctx, q)
		ok(t, err)
		if most := 1 + int(q.Columns&storage.ColumnBrief/storage.ColumnBrief); counter.Statements() > most {
			t.Fatalf("%d statements", counter.Statements())
		}
		return f
	}
	for _, login := range []string{"alice", "alice@example.test"} {
		f := find(storage.Query{Login: login, Home: "alice", Collection: "calendar", Object: "x.ics", Columns: storage.ColumnData | storage.ColumnExtra})
		if f.Login == nil || f.Login != f.Home || f.Login.ID != a.ID || f.Login.Verifier != "v" || f.Collection == nil || f.Collection.CollectionKey != k {
			t.Fatalf("%s: %+v", login, f)
		}
		if f.Object == nil || f.Object.Data != o.Data || f.Object.Extra != o.Extra || f.Object.ETag != "e1" || f.Object.Size != int64(len(o.Data)) || f.Object.Flags != o.Flags {
			t.Fatalf("%s: %+v", login, f.Object)
		}
	}
	for _, login := range []string{"alice", "bob", "bob@example.test", "nobody", ""} {
		f := find(storage.Query{Login: login, Home: "alice", Collection: "calendar", Object: "x.ics", Columns: storage.ColumnData | storage.ColumnBrief})
		if f.Home == nil || f.Home.ID != a.ID || f.Home.Verifier != "v" || f.Collection == nil || f.Collection.CollectionKey != k || f.Collection.Name != "calendar" || f.Collection.Components != storage.CompEvent {
			t.Fatalf("%s: %+v", login, f)
		}
		if f.Object == nil || f.Object.ObjectKey != o.ObjectKey || f.Object.Data != o.Data || f.Object.ETag != "e1" || f.Object.Flags != o.Flags || (f.Login != nil) != (login != "nobody" && login != "") {
			t.Fatalf("%s: %+v", login, f.Object)
		}
		if f = find(storage.Query{Login: login, Home: "alice", Collection: "none", Object: "x.ics", Columns: storage.ColumnBrief}); f.Collection != nil || f.Object != nil {
			t.Fatalf("%s: %+v", login, f)
		}
	}
	f := find(storage.Query{Login: "bob", Home: "alice", Collection: "calendar", Object: "none.ics"})
	if f.Login.ID != b.ID || f.Home.ID != a.ID || f.Collection == nil || f.Object != nil {
		t.Fatalf("%+v", f)
	}
	f = find(storage.Query{Login: "nobody", Home: "alice", Collection: "none", Object: "x.ics"})
	if f.Login != nil || f.Home == nil || f.Collection != nil || f.Object != nil {
		t.Fatalf("%+v", f)
	}
	f = find(storage.Query{Login: "bob@example.test", Home: "nobody", Collection: "calendar"})
	if f.Login == nil || f.Home != nil || f.Collection != nil {
		t.Fatalf("%+v", f)
	}
	f = find(storage.Query{Home: "alice", Collection: "calendar"})
	if f.Login != nil || f.Home == nil || f.Collection == nil {
		t.Fatalf("%+v", f)
	}
	f = find(storage.Query{Login: "alice"})
	if f.Login == nil || f.Home != nil {
		t.Fatalf("%+v", f)
	}
	if f = find(storage.Query{}); f.Login != nil || f.Home != nil {
		t.Fatalf("%+v", f)
	}
	if f = find(storage.Query{Login: "alice", Home: "alice", Collection: "calendar", Object: "\xff"}); f.Object != nil {
		t.Fatalf("%+v", f)
	}
}

// The short way of an owner says the same as the full one, before and after
// everything that may change between two requests.
func testFindOwner(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	o := object(k, "x.ics", "u1", "e1")
	apply(t, db, put(o))
	q := storage.Query{Login: "alice", Home: "alice", Collection: "calendar", Object: "x.ics"}
	find := func(cols storage.Columns, most int) storage.Found {
		t.Helper()
		ctx, counter := storage.WithCounter(bg)
		q.Columns = cols
		f, err := db.Find(ctx, q)
		ok(t, err)
		if counter.Statements() > most {
			t.Fatalf("%d statements", counter.Statements())
		}
		return f
	}
	ways := []storage.Columns{storage.ColumnBrief | storage.ColumnData, storage.ColumnBrief, storage.ColumnPresence}
	same := func(most int) {
		t.Helper()
		full := find(storage.ColumnsMeta, 1)
		for _, w := range ways {
			f := find(w, most)
			if fmt.Sprint(*f.Login) != fmt.Sprint(*full.Login) || f.Login != f.Home {
				t.Fatalf("%+v, not %+v", *f.Login, *full.Login)
			}
			if (f.Collection == nil) != (full.Collection == nil) || f.Collection != nil && (f.Collection.CollectionKey != full.Collection.CollectionKey ||
				f.Collection.Kind != full.Collection.Kind || f.Collection.Components != full.Collection.Components || f.Collection.Name != full.Collection.Name) {
				t.Fatalf("%+v, not %+v", f.Collection, full.Collection)
			}
			if (f.Object == nil) != (full.Object == nil) || f.Object != nil && (f.Object.ObjectKey != full.Object.ObjectKey || f.Object.ETag != full.Object.ETag || f.Object.Flags != full.Object.Flags) {
				t.Fatalf("%+v, not %+v", f.Object, full.Object)
			}
			if w != storage.ColumnPresence && f.Object != nil && (f.Object.ScheduleTag != full.Object.ScheduleTag || f.Object.Size != full.Object.Size || f.Object.Component != full.Object.Component || f.Object.Modified != full.Object.Modified) {
				t.Fatalf("%+v, not %+v", f.Object, full.Object)
			}
			if w&storage.ColumnData != 0 && f.Object != nil && f.Object.Data != o.Data {
				t.Fatalf("data %q", f.Object.Data)
			}
		}
	}
	same(1)
	verifier, name, off := "w", "Alice", true
	for _, c := range []storage.AccountChange{{Verifier: &verifier}, {DisplayName: &name}, {AddEmails: []string{"a2@example.test"}}, {Disabled: &off}, {Settings: &storage.Settings{AutoAccept: "none"}}} {
		if _, err := db.UpdateAccount(bg, a.ID, c); err != nil {
			t.Fatal(err)
		}
		if f := find(ways[0], 2); fmt.Sprint(*f.Login) == fmt.Sprint(a) {
			t.Fatalf("%+v does not show in %+v", c, *f.Login)
		}
		same(1)
	}
	o.Data, o.ETag = o.Data+" ", "e2"
	apply(t, db, put(o))
	same(1)
	q.Object = "none.ics"
	same(2)
	q.Object, q.Collection = "x.ics", "none"
	same(2)
	q.Collection = "calendar"
	ok(t, db.RemoveAccount(bg, a.ID))
	for _, w := range ways {
		if f := find(w, 2); f.Login != nil || f.Home != nil || f.Collection != nil || f.Object != nil {
			t.Fatalf("after removal: %+v", f)
		}
	}
}

func testFindShared(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	g, err := db.CreateAccount(bg, storage.Account{Handle: "team", Kind: storage.KindGroup})
	ok(t, err)
	ok(t, db.AddMember(bg, g.ID, b.ID))
	list := []acl.ACE{{Principal: acl.Principal{Kind: acl.Group, ID: int64(g.ID)}, Grant: acl.Read}}
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, a.ID, "calendar")
		if err != nil {
			return err
		}
		c.ACL, c.DisplayName, c.Timezone = list, "Shared", "TZ"
		return tx.UpdateCollection(ctx, c)
	}))
	f, err := db.Find(bg, storage.Query{Login: "bob", Home: "alice", Collection: "calendar", Columns: storage.ColumnTimezone})
	ok(t, err)
	if !slices.Equal(f.Groups, []storage.AccountID{g.ID}) || len(f.Collection.ACL) != 1 || f.Collection.ACL[0] != list[0] || f.Collection.Timezone != "TZ" {
		t.Fatalf("%+v %+v", f, f.Collection)
	}
	f, err = db.Find(bg, storage.Query{Login: "alice", Home: "alice", Collection: "calendar"})
	ok(t, err)
	if f.Groups != nil || f.Collection.ACL != nil || f.Collection.Timezone != "" {
		t.Fatalf("the owner's: %+v %+v", f, f.Collection)
	}
	shared, err := db.CollectionsSharedWith(bg, append(f.Groups, b.ID, g.ID))
	ok(t, err)
	if len(shared) != 1 || shared[0].DisplayName != "Shared" || len(shared[0].ACL) != 1 {
		t.Fatalf("shared: %+v", shared)
	}
	shared, err = db.CollectionsSharedWith(bg, []storage.AccountID{b.ID})
	ok(t, err)
	equal(t, "shared with bob himself", len(shared), 0)
}

// parallel runs fn n times at once and waits.
func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
