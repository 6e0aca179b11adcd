package storagetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/kalends/kalends/storage"
)

// testContents: what Find says of an owner's home is what is stored, after every
// kind of change, here and elsewhere, and takes one statement when none of them
// is one of the home. Their number is the same as long as they are.
func testContents(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	home := calendarOf(t, db, a, "")
	second := Second(t, db)
	var last *storage.Contents
	look := func(what string, most int) {
		t.Helper()
		want := must(db.Contents(bg, a.ID))(t)
		ctx, counter := storage.WithCounter(bg)
		f := must(db.Find(ctx, storage.Query{Login: "alice", Home: "alice", Columns: storage.ColumnContents | storage.ColumnTimezone}))(t)
		if f.Contents == nil || !sameContents(f.Contents, want) || f.Home.ID != a.ID || f.Login != f.Home {
			t.Fatalf("%s: %+v, want %+v", what, f.Contents, want)
		}
		if n := counter.Statements(); n > most || !counter.Asked() {
			t.Fatalf("%s: %d statements, want at most %d", what, n, most)
		}
		if same := last != nil && sameContents(f.Contents, last); same != (last != nil && f.Contents.Number == last.Number) || f.Contents.Number == 0 {
			t.Fatalf("%s: number %d for %+v, after %+v", what, f.Contents.Number, f.Contents, last)
		}
		last = f.Contents
	}
	must(db.Find(bg, storage.Query{Login: "alice", Home: "alice"}))(t) // the account is known from here on
	look("first", 3)
	look("again", 1)
	change := func(what string, most int, fn func(ctx context.Context, tx *storage.Tx) error) {
		t.Helper()
		for _, node := range []*storage.DB{db, second} {
			ok(t, node.Tx(bg, fn))
			look(what, most)
			look(what+", again", 1)
		}
	}
	n := 0
	change("an object", 1, func(ctx context.Context, tx *storage.Tx) error {
		n++
		_, err := tx.Apply(ctx, []storage.Write{put(object(k, fmt.Sprint(n), fmt.Sprint(n), "e"))})
		return err
	})
	must(db.PutPlain(bg, storage.PlainPut{Object: object(k, "plain", "plain", "e")}))(t)
	look("a plain PUT", 1)
	for _, k := range []storage.CollectionKey{k, home} {
		change("a dead property", 4, func(ctx context.Context, tx *storage.Tx) error {
			n++
			return tx.SetProperties(ctx, []storage.Property{{PropertyKey: storage.PropertyKey{CollectionKey: k}, Space: "x:", Local: "a", XML: fmt.Sprint("<a>", n, "</a>")}})
		})
		change("a property", 4, func(ctx context.Context, tx *storage.Tx) error {
			n++
			c, err := tx.CollectionByName(ctx, a.ID, map[bool]string{true: "calendar"}[k != home])
			if err != nil {
				return err
			}
			c.Color, c.Transparent = fmt.Sprint("#", n), n%2 == 0
			return tx.UpdateCollection(ctx, c)
		})
	}
	made := storage.CollectionKey{}
	change("a calendar", 4, func(ctx context.Context, tx *storage.Tx) error {
		n++
		c, err := tx.CreateCollection(ctx, storage.Collection{CollectionKey: storage.CollectionKey{Account: a.ID}, Name: fmt.Sprint("new", n), Kind: storage.CollectionCalendar, Components: storage.CompEvent})
		made = c.CollectionKey
		return err
	})
	ok(t, second.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, made) }))
	look("a calendar less", 4)
	look("a calendar less, again", 1)
	name := "Alice A."
	must(second.UpdateAccount(bg, a.ID, storage.AccountChange{DisplayName: &name}))(t)
	f := must(db.Find(bg, storage.Query{Login: "alice", Home: "alice", Columns: storage.ColumnContents}))(t)
	if f.Contents != nil || f.Home.DisplayName != name {
		t.Fatalf("an account that has changed: %+v", f)
	}
	look("another name", 1)
}

func sameContents(a, b *storage.Contents) bool {
	return fmt.Sprint(a.Collections, a.Properties) == fmt.Sprint(b.Collections, b.Properties)
}
