package storagetest

import (
	"testing"

	"github.com/kalends/kalends/storage"
)

// testAddressLogin: who signs in with one of his addresses takes the short way of
// his handle, as long as the address is his.
func testAddressLogin(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	b := user(t, db, "bob")
	second := Second(t, db)
	k := calendarOf(t, db, a, "calendar")
	apply(t, db, put(object(k, "x.ics", "x", "e")))
	questions := []storage.Query{
		{Home: "alice", Columns: storage.ColumnContents | storage.ColumnTimezone},
		{Home: "alice", Collection: "calendar", Columns: storage.ColumnTimezone},
		{Home: "alice", Collection: "calendar", Object: "x.ics", Columns: storage.ColumnBrief | storage.ColumnData},
		{Home: "alice", Collection: "calendar", Object: "x.ics", Columns: storage.ColumnPresence},
	}
	look := func(what, login string, whose storage.AccountID, most int) {
		t.Helper()
		for i, q := range questions {
			ctx, counter := storage.WithCounter(bg)
			q.Login = login
			f := must(db.Find(ctx, q))(t)
			switch {
			case whose == 0 && f.Login != nil:
				t.Fatalf("%s, question %d: %s signs in as %s", what, i, login, f.Login.Handle)
			case whose != 0 && (f.Login == nil || f.Login.ID != whose || f.Login.Version == 0):
				t.Fatalf("%s, question %d: %s signs in as %+v", what, i, login, f.Login)
			case f.Home == nil || f.Home.ID != a.ID || (f.Login == f.Home) != (whose == a.ID):
				t.Fatalf("%s, question %d: home %+v of %s", what, i, f.Home, login)
			case q.Object != "" && (f.Object == nil || f.Object.ETag != "e"):
				t.Fatalf("%s, question %d: object %+v", what, i, f.Object)
			}
			if n := counter.Statements(); most > 0 && n > most {
				t.Fatalf("%s, question %d: %d statements, want at most %d", what, i, n, most)
			}
		}
	}
	look("nothing is known", "alice@example.test", a.ID, 0)
	look("known", "Alice@EXAMPLE.test", a.ID, 3) // the contents of the home are read for the first time
	look("known, again", "Alice@EXAMPLE.test", a.ID, 1)
	look("by the handle", "alice", a.ID, 1)
	look("by another's address", "bob@example.test", b.ID, 0)
	look("nobody's", "carol@example.test", 0, 0)
	must(second.UpdateAccount(bg, a.ID, storage.AccountChange{AddEmails: []string{"al@example.test"}}))(t)
	look("a new address", "al@example.test", a.ID, 0)
	look("a new address, known", "al@example.test", a.ID, 1)
	must(second.UpdateAccount(bg, a.ID, storage.AccountChange{RemoveEmails: []string{"al@example.test"}}))(t)
	look("an address that was taken away", "al@example.test", 0, 0)
	look("the address that is left", "alice@example.test", a.ID, 0)
	look("an address that was taken away, once more", "al@example.test", 0, 0)

	found, seen, ok := db.Remember("alice", "calendar")
	if !ok || !found.Login.SignsInAs("ALICE@example.test") || !found.Login.SignsInAs("Alice") || found.Login.SignsInAs("al@example.test") || found.Login.SignsInAs("bob") || found.Login.SignsInAs("") {
		t.Errorf("remembered %+v, %+v, %v", found.Login, seen, ok)
	}
}
