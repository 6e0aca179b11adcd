package storagetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// Delegates come and go; a group's members are delegates, also through other
// groups; who may write is told so even when he may read as well.
func testDelegates(t *testing.T, db *storage.DB) {
	boss, ann, ben := user(t, db, "boss"), user(t, db, "ann"), user(t, db, "ben")
	groups := map[string]storage.AccountID{}
	for _, name := range []string{"inner", "outer"} {
		g, err := db.CreateAccount(bg, storage.Account{Handle: name, Kind: storage.KindGroup})
		ok(t, err)
		groups[name] = g.ID
	}
	ok(t, db.AddMember(bg, groups["inner"], ben.ID))
	ok(t, db.AddMember(bg, groups["outer"], groups["inner"]))
	ok(t, db.AddMember(bg, groups["inner"], groups["outer"])) // a loop
	find := func(login string) acl.Proxy {
		t.Helper()
		f, err := db.Find(bg, storage.Query{Login: login, Home: "boss", Collection: "calendar"})
		ok(t, err)
		return f.Proxy
	}
	equal(t, "before", find("ann"), acl.NoProxy)
	ok(t, db.SetDelegates(bg, boss.ID, acl.ReadProxy, []storage.AccountID{ann.ID, groups["outer"], ann.ID}))
	equal(t, "ann", find("ann"), acl.ReadProxy)
	equal(t, "ann by address", find("ann@example.test"), acl.ReadProxy)
	equal(t, "ben, by two groups", find("ben"), acl.ReadProxy)
	equal(t, "the owner", find("boss"), acl.NoProxy)
	ok(t, db.SetDelegates(bg, boss.ID, acl.WriteProxy, []storage.AccountID{ben.ID}))
	equal(t, "ben, both", find("ben"), acl.WriteProxy)
	list, err := db.Delegates(bg, boss.ID)
	ok(t, err)
	var names string
	for _, d := range list {
		names += fmt.Sprint(d.Account.Handle, d.Mode, " ")
	}
	equal(t, "delegates", names, "ann1 ben2 outer1 ")
	all, err := db.AllDelegatorsOf(bg, ben.ID)
	ok(t, err)
	equal(t, "ben's", len(all), 1)
	equal(t, "ben's mode", all[0].Mode, acl.WriteProxy)
	direct, err := db.DelegatorsOf(bg, groups["outer"])
	ok(t, err)
	equal(t, "the group's", len(direct), 1)

	is(t, db.SetDelegates(bg, boss.ID, acl.ReadProxy, []storage.AccountID{boss.ID}), storage.ErrInvalid)
	is(t, db.SetDelegates(bg, boss.ID, acl.ReadProxy, []storage.AccountID{storage.AccountID(db.NewID())}), storage.ErrInvalid)
	is(t, db.SetDelegates(bg, groups["inner"], acl.ReadProxy, []storage.AccountID{ann.ID}), storage.ErrNotFound)
	equal(t, "after what was refused", find("ann"), acl.ReadProxy)

	ok(t, db.RemoveMember(bg, groups["inner"], ben.ID))
	ok(t, db.SetDelegates(bg, boss.ID, acl.WriteProxy, nil))
	equal(t, "ben, neither", find("ben"), acl.NoProxy)
	ok(t, db.RemoveAccount(bg, ann.ID))
	list, err = db.Delegates(bg, boss.ID)
	ok(t, err)
	equal(t, "after ann left", len(list), 1)
}

// The octets of a collection follow every way of writing.
func testUsage(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	c, other := calendarOf(t, db, a, "calendar"), calendarOf(t, db, a, "tasks")
	used := func(what string, want int64) {
		t.Helper()
		n, err := db.Used(bg, a.ID)
		ok(t, err)
		equal(t, what, n, want)
		list, err := db.Collections(bg, a.ID)
		ok(t, err)
		var sum int64
		for _, c := range list {
			sum += c.Bytes
		}
		equal(t, what+", the sum", sum, want)
	}
	sized := func(k storage.CollectionKey, name, uid string, n int) storage.Object {
		o := object(k, name, uid, "e")
		o.Data = fmt.Sprintf("%0*d", n, 0)
		return o
	}
	used("nothing", 0)
	plain := func(o storage.Object, p storage.PlainPut) error {
		p.Object = o
		_, err := db.PutPlain(bg, p)
		return err
	}
	ok(t, plain(sized(c, "a", "a", 100), storage.PlainPut{IfNone: true}))
	used("new", 100)
	ok(t, plain(sized(c, "a", "a", 40), storage.PlainPut{}))
	used("smaller", 40)
	ok(t, plain(sized(c, "a", "a", 70), storage.PlainPut{IfMatch: "e"}))
	used("larger", 70)
	if err := plain(sized(c, "a", "a", 500), storage.PlainPut{IfNone: true}); err == nil {
		t.Fatal("stored over an object that is there")
	}
	used("after a refusal", 70)
	apply(t, db, put(sized(c, "b", "b", 10)))
	used("one applied", 80)
	apply(t, db, put(sized(c, "a", "a", 5)), put(sized(c, "b", "b", 6)), put(sized(other, "a", "c", 1000)))
	used("many applied", 1011)
	apply(t, db, del(sized(c, "a", "a", 0)), put(sized(other, "b", "a", 5)))
	used("one moved", 1011)
	apply(t, db, del(sized(other, "a", "c", 0)))
	used("one deleted", 11)
	apply(t, db, del(sized(c, "no such", "x", 0)))
	used("nothing deleted", 11)
	ok(t, db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, other) }))
	n, err := db.RecountBytes(bg, a.ID)
	ok(t, err)
	equal(t, "counted anew", n, 6)
	n, err = db.Used(bg, a.ID)
	ok(t, err)
	equal(t, "without the calendar that goes", n, 6)

	// Several at once, by the running counts and by adding up.
	b := user(t, db, "bob")
	apply(t, db, put(sized(calendarOf(t, db, b, "calendar"), "b", "b", 100)))
	ok(t, db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		for what, ask := range map[string]func(context.Context, []storage.AccountID) (map[storage.AccountID]int64, error){"running": tx.UsedBy, "counted": tx.CountedBy} {
			for _, ids := range [][]storage.AccountID{nil, {a.ID}, {a.ID, b.ID, 12345}} {
				got, err := ask(ctx, ids)
				if err != nil {
					return err
				}
				for i, id := range ids[:min(len(ids), 2)] {
					equal(t, what, got[id], []int64{6, 100}[i])
				}
				equal(t, what+", nobody else", len(got), min(len(ids), 2))
			}
		}
		return nil
	}))
}
