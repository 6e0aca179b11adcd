package caldav_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// statements serves one request and tells how many SQL statements it took, and
// how many octets came back.
func (w *world) statements(method, path, head, body string, want int) (n, size int) {
	w.t.Helper()
	ctx, count := storage.WithCounter(context.Background())
	r := httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(ctx)
	r.SetBasicAuth("user01", "user01")
	r.Header.Set("Content-Type", "text/calendar")
	for line := range strings.SplitSeq(head, "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			r.Header.Set(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	if rec.Code != want {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, rec.Code, want, rec.Body)
	}
	return count.Statements(), rec.Body.Len()
}

// Want 36: the number of SQL statements of a request depends neither on how many members a
// calendar has nor on how many calendars a home has.
func TestStatements(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ctx := context.Background()
		account, err := w.db.AccountByHandle(ctx, "user01")
		if err != nil {
			t.Fatal(err)
		}
		fill := func(name string, n int) {
			w.do("user01", "MKCALENDAR", "/dav/calendars/user01/"+name+"/", "", "").want(201)
			c, err := w.db.CollectionByName(ctx, account.ID, name)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
			for i := range n {
				uid := fmt.Sprintf("%s-%d", name, i)
				text := event(uid, "x", start.Add(time.Duration(i)*time.Hour).Format("20060102T150405Z"))
				if i%10 == 0 {
					text = event(uid, "x", start.Format("20060102T150405Z"), "RRULE:FREQ=WEEKLY")
				}
				key := storage.ObjectKey{CollectionKey: c.CollectionKey, Name: fmt.Sprint(i, ".ics")}
				if _, err := w.sched.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: account, By: account}, Key: key, Data: []byte(text)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		tokens := map[string]string{}
		for name, n := range map[string]int{"few": 10, "many": 1000} {
			fill(name, n)
			tokens[name] = w.do("user01", "REPORT", "/dav/calendars/user01/"+name+"/", "", syncBody("", "")).want(207).token()
			for i := range n {
				if i%10 < 5 {
					w.do("user01", "PUT", fmt.Sprintf("/dav/calendars/user01/%s/%d.ics", name, i), "", event(fmt.Sprintf("%s-%d", name, i), "new", "20260110T000000Z")).want(204)
				}
			}
		}
		hrefs := func(name string, n int) string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "<D:href>/dav/calendars/user01/%s/%d.ics</D:href>", name, i)
			}
			return b.String()
		}
		const all = "<D:getetag/><D:resourcetype/><D:displayname/><D:owner/><D:current-user-privilege-set/><D:getcontenttype/><D:getlastmodified/><C:schedule-tag/>"
		week := `><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z" end="20260301T000000Z"/></C:comp-filter>`
		for _, c := range []struct {
			name, method, head string
			body               func(calendar string, n int) string
			most               int
		}{
			{"listing", "PROPFIND", "Depth: 1", func(string, int) string { return propfind(all) }, 3},
			{"listing with data", "PROPFIND", "Depth: 1", func(string, int) string { return propfind("<C:calendar-data/>") }, 3},
			{"multiget", "REPORT", "", func(c string, n int) string {
				return `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>` + hrefs(c, n) + `</C:calendar-multiget>`
			}, 2},
			{"query", "REPORT", "Depth: 1", func(string, int) string { return calendarQuery("<C:calendar-data/>", week, "") }, 2},
			{"query by UID", "REPORT", "Depth: 1", func(string, int) string {
				return calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">-</C:text-match></C:prop-filter></C:comp-filter>`, "")
			}, 2},
			{"query by UID, any case", "REPORT", "Depth: 1", func(string, int) string {
				return calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match match-type="ends-with">1</C:text-match></C:prop-filter></C:comp-filter>`, "")
			}, 3},
			{"query of everything in a time", "REPORT", "Depth: 1", func(string, int) string {
				return calendarQuery("<C:calendar-data/>", `><C:time-range start="20260101T000000Z" end="20260301T000000Z"/>`, "")
			}, 2},
			{"query with expand", "REPORT", "Depth: 1", func(string, int) string {
				return calendarQuery(`<C:calendar-data><C:expand start="20260101T000000Z" end="20260301T000000Z"/></C:calendar-data>`, week, "")
			}, 2},
			{"free-busy", "REPORT", "Depth: 1", func(string, int) string {
				return `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260301T000000Z"/></C:free-busy-query>`
			}, 3},
			{"first sync", "REPORT", "", func(string, int) string { return syncBody("", "") }, 3},
			{"sync", "REPORT", "", func(c string, _ int) string { return syncBody(tokens[c], "") }, 3},
		} {
			want := 207
			if c.name == "free-busy" {
				want = 200
			}
			few, small := w.statements(c.method, "/dav/calendars/user01/few/", c.head, c.body("few", 10), want)
			many, large := w.statements(c.method, "/dav/calendars/user01/many/", c.head, c.body("many", 1000), want)
			if c.name == "multiget" {
				many -= 1000/500 - 1 // storage.DB.Get asks for 500 names at a time
			}
			// A few objects may be kept whole, many are read (see storage.DB.Named).
			if few > many || many > few+1 || many > c.most {
				t.Errorf("%s: %d statements for 10 members, %d for 1000, at most %d wanted", c.name, few, many, c.most)
			}
			if large <= small {
				t.Errorf("%s: %d octets for 1000 members, %d for 10", c.name, large, small)
			}
		}

		// The home: from 7 collections to 40.
		poll := func() (ns [8]int) {
			const props = all + "<D:sync-token/><CS:getctag/><C:supported-calendar-component-set/><C:calendar-timezone/><I:calendar-color/>"
			w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 1", propfind(props)).want(207)
			w.do("user01", "PROPPATCH", "/dav/calendars/user01/few/", "", propset("<D:displayname>w</D:displayname>")).want(207)
			ns[0], _ = w.statements("PROPFIND", "/dav/calendars/user01/", "Depth: 1", propfind(props), 207)
			ns[1], _ = w.statements("PROPFIND", "/dav/calendars/user01/", "Depth: 0", propfind("<D:sync-token/>"), 207)
			ns[2], _ = w.statements("REPORT", "/dav/calendars/user01/", "", homeSync("", "1", ""), 207)
			token := w.do("user01", "REPORT", "/dav/calendars/user01/", "", homeSync("", "1", "")).token()
			w.do("user01", "PROPPATCH", "/dav/calendars/user01/few/", "", propset("<D:displayname>x</D:displayname>")).want(207)
			ns[3], _ = w.statements("REPORT", "/dav/calendars/user01/", "", homeSync(token, "1", ""), 207)
			ns[4], _ = w.statements("REPORT", "/dav/calendars/user01/", "Depth: 1", calendarQuery("<C:calendar-data/>", week, ""), 207)
			for i, match := range []string{`collation="i;octet">-`, `match-type="ends-with">1`} {
				ns[5+i], _ = w.statements("REPORT", "/dav/calendars/user01/", "Depth: 1", calendarQuery("", `><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match `+match+`</C:text-match></C:prop-filter></C:comp-filter>`, ""), 207)
			}
			ns[7], _ = w.statements("REPORT", "/dav/calendars/user01/", "Depth: 1", `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260301T000000Z"/></C:free-busy-query>`, 200)
			return ns
		}
		before := poll()
		for i := range 33 {
			w.do("user01", "MKCALENDAR", fmt.Sprintf("/dav/calendars/user01/extra%d/", i), "", "").want(201)
		}
		if after := poll(); before != after {
			t.Errorf("statements of a home's polls with 8 collections %v, with 41 %v", before, after)
		}
		if before[0] > 4 || before[1] > 1 {
			t.Errorf("%d statements for a poll after a change, %d for one after none", before[0], before[1])
		}
		for _, c := range []struct {
			method, path string
			want, most   int
		}{{"GET", "/dav/calendars/user01/few/1.ics", 200, 1}, {"HEAD", "/dav/calendars/user01/few/1.ics", 200, 1}, {"PROPFIND", "/dav/principals/users/user01/", 207, 2}, {"OPTIONS", "/dav/calendars/user01/", 200, 1}} {
			if n, _ := w.statements(c.method, c.path, "Depth: 0", "", c.want); n > c.most {
				t.Errorf("%s %s takes %d statements", c.method, c.path, n)
			}
		}
	})
}

// An owner's PUT of what concerns nobody else is one statement once his account
// and calendar are known, whatever it finds there; a changed account is looked
// at again.
func TestPutStatements(t *testing.T) {
	engines(t, func(w *world) {
		event := func(uid, more string) string {
			return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\n" + more + "END:VEVENT\r\nEND:VCALENDAR\r\n"
		}
		put := func(name, head, body string, want, most int) {
			w.t.Helper()
			n, _ := w.statements("PUT", "/dav/calendars/user01/calendar/"+name, head, body, want)
			if w.db.Engine() == "sqlite" && most > 0 {
				most = 5 // begin, count, store, journal, commit
			}
			if n > most && most > 0 {
				w.t.Errorf("PUT %s takes %d statements, want %d", name, n, most)
			}
		}
		put("first.ics", "", event("first", ""), 201, 0)
		put("a.ics", "If-None-Match: *", event("a", ""), 201, 1)
		put("a.ics", "", event("a", "SUMMARY:x\r\n"), 204, 1)
		put("a.ics", "If-Match: *", event("a", "SUMMARY:y\r\n"), 204, 1)
		put("a.ics", "If-None-Match: *", event("a", ""), 412, 0)
		put("b.ics", "", event("a", ""), 403, 0) // the UID is taken
		put("b.ics", "", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", 403, 0)
		put("m.ics", "", event("m", "ORGANIZER:mailto:user01@example.com\r\nATTENDEE:mailto:user02@example.com\r\n"), 201, 0)
		put("m.ics", "", event("m", ""), 204, 0)
		if got := w.do("user02", "GET", "/dav/calendars/user02/calendar/", "", ""); strings.Count(got.text, "STATUS:CANCELLED") != 1 {
			w.t.Errorf("the meeting that is none any more was not cancelled: %s", got.text)
		}
		put("a.ics", "", event("a", "SUMMARY:z\r\n"), 204, 1)
		a, err := w.db.AccountByHandle(context.Background(), "user01")
		if err != nil {
			w.t.Fatal(err)
		}
		off := true
		if _, err := w.db.UpdateAccount(context.Background(), a.ID, storage.AccountChange{Disabled: &off}); err != nil {
			w.t.Fatal(err)
		}
		put("c.ics", "", event("c", ""), 401, 0)
	})
}
