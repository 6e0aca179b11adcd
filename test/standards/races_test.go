package standards

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// at64 sends 64 requests at the same moment, each on a connection of its own.
func (w *world) at64(user, method string, path, head, body func(i int) string) []answer {
	w.Helper()
	const n = 64
	out := make([]answer, n)
	tr := &http.Transport{MaxIdleConnsPerHost: n}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		req, err := http.NewRequest(method, w.url+path(i), strings.NewReader(body(i)))
		if err != nil {
			w.Fatal(err)
		}
		req.SetBasicAuth(user, user)
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
		if k, v, ok := strings.Cut(head(i), ": "); ok {
			req.Header.Set(k, v)
		}
		wg.Go(func() {
			<-start
			resp, err := c.Do(req)
			if err != nil {
				w.Errorf("%s: %v", req.URL.Path, err)
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			out[i] = answer{resp, w, method + " " + path(i), string(b)}
		})
	}
	close(start)
	wg.Wait()
	if w.Failed() {
		w.FailNow()
	}
	return out
}

// winner checks that exactly one of the answers is a success and all others are
// the refusal, with a body that says why.
func winner(w *world, answers []answer, won, lost int, because string) int {
	w.Helper()
	at := -1
	for i, a := range answers {
		switch {
		case a.StatusCode == won && at < 0:
			at = i
		case a.StatusCode != lost || !strings.Contains(a.text, because):
			w.Errorf("%s: %d %s; want one %d and else %d with %q", a.what, a.StatusCode, a.text, won, lost, because)
		}
	}
	if at < 0 {
		w.Fatal("nobody won")
	}
	return at
}

// Of 64 writers at one time one wins, on both engines, for plain events and for
// those with attendees; the others are told why, and what is stored is the
// winner's (RFC 9110 §13.1, RFC 4791 §5.3.2.1, RFC 6638 §3.2.4.1).
func TestRaces(t *testing.T) {
	engines(t, func(w *world) {
		const path = cal + "race.ics"
		one := func(s string) func(int) string { return func(int) string { return s } }
		for kind, more := range map[string][]string{"plain": nil, "meeting": {"ORGANIZER:mailto:alice@example.com", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@example.com", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.com"}} {
			uid := "race-" + kind
			text := func(i int) string {
				return event(uid, 5, append([]string{fmt.Sprintf("LOCATION:Writer %d.", i)}, more...)...)
			}
			stored := func(path string, i int) answer {
				w.Helper()
				return w.do("alice", "GET", path, "", "").want(200, fmt.Sprintf("LOCATION:Writer %d.", i), "SUMMARY:About "+uid)
			}
			// If-None-Match: * on one name
			won := winner(w, w.at64("alice", "PUT", one(path), one("If-None-Match: *"), text), 201, 412, "")
			etag := stored(path, won).Header.Get("ETag")
			// one If-Match
			won = winner(w, w.at64("alice", "PUT", one(path), one("If-Match: "+etag), func(i int) string { return text(i + 100) }), 204, 412, "")
			etag = stored(path, won+100).Header.Get("ETag")
			if kind == "meeting" {
				w.do("bob", "REPORT", "/dav/calendars/bob/calendar/", "Depth: 1", query(uid)).want(207, fmt.Sprintf("LOCATION:Writer %d.", won+100))
			}
			winner(w, w.at64("alice", "DELETE", one(path), one("If-Match: "+etag), one("")), 204, 404, "")
			w.do("alice", "GET", path, "", "").want(404)
			// one UID under two names
			names := func(i int) string { return fmt.Sprintf("%s%s-%d.ics", cal, uid, i%2) }
			answers := w.at64("alice", "PUT", names, one("If-None-Match: *"), text)
			at := -1
			for i, a := range answers {
				if a.StatusCode == 201 {
					if at >= 0 {
						t.Fatalf("%s and %s both won", a.what, answers[at].what)
					}
					at = i
				}
			}
			if at < 0 {
				t.Fatal("nobody won")
			}
			for i, a := range answers {
				switch {
				case i == at:
				case i%2 == at%2: // the winner's name
					a.want(412)
				case kind == "plain":
					a.want(403, "no-uid-conflict", "<D:href>"+names(at)+"</D:href>")
				default:
					if a.StatusCode != 403 || !strings.Contains(a.text, "<D:href>"+names(at)+"</D:href>") || !strings.Contains(a.text, "no-uid-conflict") && !strings.Contains(a.text, "unique-scheduling-object-resource") {
						t.Errorf("%s: %d %s", a.what, a.StatusCode, a.text)
					}
				}
			}
			stored(names(at), at)
			w.do("alice", "DELETE", names(at), "", "").want(204)
		}
		// Nothing is lost: 64 events at once are 64 changes.
		before := w.do("alice", "REPORT", cal, "", report("D:sync-collection", "<D:sync-token/><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop>")).want(207).token()
		for _, a := range w.at64("alice", "PUT", func(i int) string { return fmt.Sprint(cal, "n", i, ".ics") }, one("If-None-Match: *"), func(i int) string { return event(fmt.Sprint("n", i), 6) }) {
			a.want(201)
		}
		if got := w.do("alice", "REPORT", cal, "", report("D:sync-collection", "<D:sync-token>"+before+"</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop>")).want(207).hrefs(); len(got) != 64 {
			t.Errorf("%d changes, want 64", len(got))
		}
	})
}

func query(uid string) string {
	return report("C:calendar-query", `<D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">`+uid+`</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter>`)
}
