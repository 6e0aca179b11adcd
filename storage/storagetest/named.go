package storagetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// testNamed: what is kept of objects' data is what is stored, after any
// changes, whoever made them, and only what has changed is read again.
func testNamed(t *testing.T, db *storage.DB) {
	a := user(t, db, "alice")
	k := calendarOf(t, db, a, "calendar")
	second := Second(t, db)
	random := rand.New(rand.NewPCG(3, 4))
	say := func(o storage.Object) string {
		return fmt.Sprint(o.ObjectKey, o.UID, o.Component, o.ETag, o.ScheduleTag, o.Size, o.Flags, o.Seq, o.Created, o.Modified, o.Data, o.Extra)
	}
	look := func(what string, in *storage.DB, cols storage.Columns, names []string, most int) {
		t.Helper()
		c := calendarRow(t, in, k)
		var want []string
		for o, err := range in.Get(bg, k, names, cols) {
			ok(t, err)
			want = append(want, say(o))
		}
		ctx, counter := storage.WithCounter(bg)
		i := 0
		for o, err := range in.Named(ctx, &c, names, cols) {
			ok(t, err)
			if i >= len(want) || say(o) != want[i] {
				t.Fatalf("%s: %d is %.300s, not %.300s", what, i, say(o), want[min(i, len(want)-1)])
			}
			i++
		}
		equal(t, what+": objects", i, len(names))
		if n := counter.Statements(); n > most {
			t.Fatalf("%s: %d statements, want at most %d", what, n, most)
		}
	}
	var every []string
	for i := range 12 {
		every = append(every, fmt.Sprintf("%d.ics", i))
	}
	look("nothing is kept", db, storage.ColumnData, every, 1)
	row := calendarRow(t, db, k)
	listed(t, db, &row)
	for round := range 60 {
		var writes []storage.Write
		for _, i := range random.Perm(12)[:1+random.IntN(3)] {
			o := object(k, every[i], fmt.Sprint(i), fmt.Sprint("e", round))
			if w := put(o); random.IntN(4) > 0 {
				w.Object.Data += strings.Repeat("x", random.IntN(200))
				writes = append(writes, w)
			} else if there, err := all(db.Get(bg, k, every[i:i+1], 0)); err == nil && !there[0].Missing() {
				writes = append(writes, del(o))
			}
		}
		apply(t, []*storage.DB{db, second}[random.IntN(2)], writes...)
		names := []string{"none.ics"}
		for range random.IntN(20) {
			names = append(names, every[random.IntN(12)])
		}
		in := []*storage.DB{db, db, second}[random.IntN(3)]
		look(fmt.Sprint("round ", round), in, storage.ColumnData, names, 2)
		if in == db {
			look(fmt.Sprint("round again ", round), db, storage.ColumnData, names, 0)
			look(fmt.Sprint("round without data ", round), db, storage.ColumnsMeta, every, 0)
		}
		if random.IntN(5) == 0 {
			look(fmt.Sprint("all columns ", round), db, storage.ColumnData|storage.ColumnExtra, names, 1)
		}
	}
	look("nobody", db, storage.ColumnData, nil, 1)

	// What is too large is read each time, what does not fit beside it goes.
	apply(t, db, put(object(k, "0.ics", "0", "small")))
	big := object(k, "big.ics", "big", "e")
	big.Data += strings.Repeat("x", 1<<17)
	apply(t, db, put(big))
	look("large and small", db, storage.ColumnData, []string{"big.ics", "0.ics"}, 2)
	look("large again", db, storage.ColumnData, []string{"big.ics"}, 1)
	look("small again", db, storage.ColumnData, []string{"0.ics"}, 0)
	var many []string
	for i := range 400 {
		o := object(k, fmt.Sprintf("many%d.ics", i), fmt.Sprint("many", i), "e")
		o.Data += strings.Repeat("x", 60<<10)
		apply(t, db, put(o))
		many = append(many, o.Name)
	}
	look("many", db, storage.ColumnData, many, 2)
	look("small after many", db, storage.ColumnData, []string{"0.ics"}, 1)
	look("the last of many", db, storage.ColumnData, many[len(many)-50:], 0)
}

// all are the objects of a sequence.
func all(list func(func(storage.Object, error) bool)) ([]storage.Object, error) {
	var out []storage.Object
	for o, err := range list {
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}
