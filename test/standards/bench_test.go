package standards

import (
	"context"
	"fmt"
	"testing"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// BenchmarkCalDAV measures what programs do all day, from HTTP to the disk and
// back, on both engines with commits that survive a power cut. The calendar
// holds 1,000 objects, every tenth of them a weekly series.
func BenchmarkCalDAV(b *testing.B) {
	for _, e := range storagetest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			var w *world
			if e == storagetest.SQLite {
				w = newWorld(b, storagetest.Open(b, e))
			} else {
				c := storagetest.NewCluster(b, storagetest.ClusterOptions{Durable: true})
				if err := c.Create(context.Background(), "bench", ""); err != nil {
					b.Fatal(err)
				}
				db := storagetest.OpenURL(b, c.URL("bench"), storage.Options{})
				if err := db.Migrate(context.Background()); err != nil {
					b.Fatal(err)
				}
				w = newWorld(b, db)
			}
			for i := range 1000 {
				more := []string{}
				if i%10 == 0 {
					more = append(more, "RRULE:FREQ=WEEKLY")
				}
				w.do("alice", "PUT", fmt.Sprintf("%s%d.ics", cal, i), "", event(fmt.Sprint("u", i), 1+i%28, more...)).want(201)
			}
			token := w.do("alice", "REPORT", cal, "", syncBody("")).want(207).token()
			n := 0
			for _, c := range []struct {
				name string
				do   func() answer
				want int
			}{
				{"GET", func() answer { return w.do("alice", "GET", cal+"500.ics", "", "") }, 200},
				{"PUT/plain", func() answer { return w.do("alice", "PUT", cal+"new.ics", "", event("new", 1+n%28)) }, 0},
				{"PUT/10-attendees-unchanged", func() answer {
					return w.do("alice", "PUT", cal+"meet.ics", "", meeting("meet", 5, "alice", "bob", "carol", "room1", "a", "b", "c", "d", "e", "f", "g"))
				}, 0},
				{"PUT/3-attendees-moved", func() answer {
					return w.do("alice", "PUT", cal+"move.ics", "", meeting("move", 1+n%28, "alice", "bob", "carol", "room1"))
				}, 0},
				{"query/week", func() answer {
					return w.do("alice", "REPORT", cal, "Depth: 1", report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260601T000000Z" end="20260608T000000Z"/></C:comp-filter></C:comp-filter></C:filter>`))
				}, 207},
				{"query/etags-of-all", func() answer { return w.do("alice", "PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")) }, 207},
				{"sync/few-changes", func() answer { return w.do("alice", "REPORT", cal, "", syncBody(token)) }, 207},
			} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						n++
						if a := c.do(); a.StatusCode != c.want && (c.want != 0 || a.StatusCode/100 != 2) {
							b.Fatalf("status %d: %s", a.StatusCode, a.text)
						}
					}
				})
			}
		})
	}
}

func syncBody(token string) string {
	return report("D:sync-collection", "<D:sync-token>"+token+"</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop>")
}
