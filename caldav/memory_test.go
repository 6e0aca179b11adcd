package caldav_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// fillBy writes n small events in large batches, past everything that a PUT does.
func (w *world) fillBy(name string, n int) {
	w.t.Helper()
	w.do("user01", "MKCALENDAR", "/dav/calendars/user01/"+name+"/", "", "").want(201)
	ctx := context.Background()
	account, err := w.db.AccountByHandle(ctx, "user01")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.db.CollectionByName(ctx, account.ID, name)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < n; {
		var batch []storage.Write
		for ; i < n && len(batch) < 1000; i++ {
			uid := fmt.Sprintf("%s-%d", name, i)
			batch = append(batch, storage.Write{Object: storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: uid + ".ics"},
				UID: uid, Component: "VEVENT", ETag: uid, Data: event(uid, "x", "20260105T100000Z"), Start: 1767607200000000, End: 1767610800000000, Flags: storage.FlagExact}})
		}
		if err := w.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Apply(ctx, batch)
			return err
		}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// liveWriter looks at how much memory is in use while an answer is written.
type liveWriter struct {
	header http.Header
	status int
	octets int
	next   int
	live   uint64 // most octets on the heap that a collection left
}

func (l *liveWriter) Header() http.Header { return l.header }
func (l *liveWriter) WriteHeader(s int)   { l.status = s }
func (l *liveWriter) Write(b []byte) (int, error) {
	l.octets += len(b)
	if l.octets >= l.next {
		l.next = l.octets + 1<<20
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		l.live = max(l.live, m.HeapAlloc)
	}
	return len(b), nil
}

// live serves one request and tells the octets of the answer and the most memory
// in use meanwhile.
func (w *world) live(method, path, body string) (octets int, live uint64) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("user01", "user01")
	r.Header.Set("Depth", "1")
	out := &liveWriter{header: http.Header{}}
	w.h.ServeHTTP(out, r)
	if out.status != 207 && out.status != 200 {
		w.t.Fatalf("%s %s: %d", method, path, out.status)
	}
	return out.octets, out.live
}

// listings are the requests whose answers have no bound.
var listings = []struct{ name, method, body string }{
	{"PROPFIND of ETags", "PROPFIND", propfind("<D:getetag/><D:getcontenttype/>")},
	{"query with data", "REPORT", calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"/>`, "")},
	{"query of a time", "REPORT", calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z" end="20270101T000000Z"/></C:comp-filter>`, "")},
	{"query in jCal", "REPORT", calendarQuery(`<C:calendar-data content-type="application/calendar+json"/>`, `><C:comp-filter name="VEVENT"/>`, "")},
	{"the whole calendar", "GET", ""},
}

// members is how many objects TestFlatMemory lists; more take longer and prove
// the same.
var members = flag.Int("members", 3_000, "objects in the calendar that TestFlatMemory lists")

// Wants 36 and 37: an answer is written while it is read from the database, so
// that memory does not grow with the calendar.
func TestFlatMemory(t *testing.T) { // not parallel: it looks at the memory of the process
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			w := newWorld(t, storagetest.Open(t, e))
			w.fillBy("few", 500)
			w.fillBy("many", *members)
			for _, c := range listings {
				_, small := w.live(c.method, "/dav/calendars/user01/few/", c.body)
				octets, large := w.live(c.method, "/dav/calendars/user01/many/", c.body)
				t.Logf("%s: answer %.1f MB, memory in use %.1f MB, %.1f MB for 500 objects", c.name, float64(octets)/1e6, float64(large)/1e6, float64(small)/1e6)
				// An answer that was put together first would hold at least itself.
				if octets < *members*100 || large > small+uint64(octets)/2 && large > small+1<<20 {
					t.Errorf("%s: %d octets, with %d octets of memory in use, %d for a small calendar", c.name, octets, large, small)
				}
			}
		})
	}
}
