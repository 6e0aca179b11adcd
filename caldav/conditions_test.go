package caldav_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// RFC 4918 §10.4, RFC 6578 §5, abuse A17: a request does nothing when its If header
// does not hold, whatever it speaks of.
func TestIfHeader(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const home, other = "/dav/calendars/user01/", "/dav/calendars/user02/calendar/"
		put := func(path, text string) string {
			t.Helper()
			return w.do(strings.Split(path, "/")[3], "PUT", path, "", text).Header.Get("ETag")
		}
		tag, second := put(cal+"a.ics", event("a", "x", "20260101T000000Z")), put(cal+"b.ics", event("b", "x", "20260101T000000Z"))
		foreign := put(other+"c.ics", event("c", "x", "20260101T000000Z"))
		tokens := func() (calendar, all string) {
			a := w.do("user01", "PROPFIND", home, "Depth: 0", propfind("<D:sync-token/>")).want(207, "<D:sync-token>")
			_, all, _ = strings.Cut(a.text, "<D:sync-token>")
			all, _, _ = strings.Cut(all, "<")
			return w.do("user01", "REPORT", cal, "", syncBody("", "")).token(), all
		}
		sync, homeSync := tokens()
		url := func(p string) string { return "<" + w.srv.URL + p + "> " }

		for _, c := range []struct {
			value  string
			status int
		}{
			{"([" + tag + "])", 204},
			{`(["other"])`, 412},
			{`(["other"]) ([` + tag + `])`, 204},
			{"([W/" + tag + "])", 412},
			{"(<DAV:no-lock>)", 412},
			{"(Not <DAV:no-lock>)", 204},
			{"(not <urn:uuid:1> [" + tag + "])", 204},
			{"(Not [" + tag + "])", 412},
			{`(<urn:uuid:1> [` + tag + `]) (Not <DAV:no-lock> ["other"])`, 412},
			{url(cal+"a.ics") + "([" + tag + "])", 204},
			{"<" + cal + "a%2Eics>([" + tag + "])", 204},
			{url(cal+"b.ics") + "([" + second + "])", 204},
			{url(cal+"b.ics") + "([" + tag + "])", 412},
			{url(cal) + "(<SYNC>)", 204},
			{url(cal) + "(<SYNC0>)", 412},
			{url(home) + "(<HOME>)", 204},
			{"(<SYNC>)", 412}, // of the calendar, not of the object
			// What is not here, or not for this user, has no state.
			{"<http://elsewhere.test" + cal + "a.ics> ([" + tag + "])", 412},
			{url(other+"c.ics") + "([" + foreign + "])", 412},
			{url(other+"c.ics") + "(Not [" + foreign + "])", 204},
			{url(other+"nothing.ics") + "(Not [" + foreign + "])", 204},
			{url(cal+"../a.ics") + "([" + tag + "])", 412},
			// No such header.
			{"garbage", 400},
			{"()", 400},
			{"([" + tag + "]", 400},
			{"(" + tag + ")", 400},
			{"(Not)", 400},
			{"<" + cal + ">", 400},
			{"(<>)", 400},
			{"([" + tag + "]) " + url(cal) + "(<SYNC>)", 400},
			{strings.Repeat("(", 1000), 400},
		} {
			got := w.do("user01", "PUT", cal+"a.ics", "If: "+strings.NewReplacer("SYNC", sync, "HOME", homeSync).Replace(c.value), event("a", "x", "20260101T000000Z"))
			if got.StatusCode != c.status {
				t.Errorf("If: %s: %d, want %d: %s", c.value, got.StatusCode, c.status, got.text)
			}
			sync, homeSync = tokens() // the octets and with them the tag are the same, the tokens may be others
		}

		// Every method, and nothing is done.
		fail := `If: (["other"])`
		w.do("user01", "MKCALENDAR", home+"spare/", "", "").want(201)
		name := `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>new</D:displayname></D:prop></D:set></D:propertyupdate>`
		dest := "Destination: " + w.srv.URL
		w.do("user01", "DELETE", cal+"a.ics", fail, "").want(412)
		w.do("user01", "GET", cal+"a.ics", fail, "").want(412)
		w.do("user01", "PROPFIND", cal, fail+"\nDepth: 0", "").want(412)
		w.do("user01", "MOVE", cal+"a.ics", fail+"\n"+dest+home+"spare/a.ics", "").want(412)
		w.do("user01", "COPY", cal+"a.ics", fail+"\n"+dest+home+"spare/a.ics", "").want(412)
		w.do("user01", "PROPPATCH", cal, fail, name).want(412)
		w.do("user01", "DELETE", home+"spare/", fail, "").want(412)
		w.do("user01", "MKCALENDAR", home+"more/", fail, "").want(412)
		w.do("user01", "POST", cal+"?action=add-member", fail, event("p", "x", "20260101T000000Z")).want(412)
		w.do("user01", "ACL", cal, fail, `<D:acl xmlns:D="DAV:"/>`).want(412)
		w.do("user01", "PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(207, "spare").lacks("new", "more")
		w.do("user02", "PUT", cal+"a.ics", "If: (Not <DAV:no-lock>)", event("a", "x", "20260101T000000Z")).want(403)

		// RFC 6578 §5: the calendar as it was, and no more after one change.
		now := w.do("user01", "REPORT", cal, "", syncBody("", "")).token()
		cond := "If: " + url(cal) + "(<" + now + ">)"
		w.do("user01", "PUT", cal+"n.ics", cond, event("n", "x", "20260101T000000Z")).want(201)
		w.do("user01", "PUT", cal+"o.ics", cond, event("o", "x", "20260101T000000Z")).want(412)

		// One header does not read the whole server.
		var many strings.Builder
		for i := range 50 {
			fmt.Fprintf(&many, "<%s%d.ics> ([\"x\"]) ", cal, i)
		}
		w.do("user01", "PUT", cal+"a.ics", "If: "+many.String(), event("a", "x", "20260101T000000Z")).want(400)
	})
}

// Who saw the same state is one winner, by the If header as by If-Match.
func TestIfHeaderRace(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		tag := w.do("user01", "PUT", cal+"r.ics", "", event("r", "x", "20260101T000000Z")).want(201).Header.Get("ETag")
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				switch a := w.do("user01", "PUT", cal+"r.ics", "If: (["+tag+"])", event("r", fmt.Sprint("by ", i), "20260101T000000Z")); a.StatusCode {
				case 204:
					won.Add(1)
				case 412:
				default:
					t.Errorf("%d: %s", a.StatusCode, a.text)
				}
			})
		}
		if wg.Wait(); won.Load() != 1 {
			t.Errorf("%d of them won", won.Load())
		}
	})
}

// RFC 9110 §13.1: conditions hold for calendars and their properties as well, and
// between homes; If-Unmodified-Since is heard where If-Match is not given.
func TestConditionsOfEverything(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const spare = "/dav/calendars/user01/spare/"
		w.do("user01", "MKCALENDAR", spare, "", "").want(201)
		tag := w.do("user01", "GET", spare, "", "").Header.Get("ETag")
		name := `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>new</D:displayname></D:prop></D:set></D:propertyupdate>`
		w.do("user01", "PROPPATCH", spare, `If-Match: "old"`, name).want(412)
		w.do("user01", "ACL", spare, "If-None-Match: *", `<D:acl xmlns:D="DAV:"/>`).want(412)
		w.do("user01", "DELETE", spare, `If-Match: "old"`, "").want(412)
		w.do("user01", "PROPPATCH", spare, "If-Match: "+tag, name).want(207, "200 OK")
		w.do("user01", "PUT", spare+"s.ics", "", event("s", "x", "20260101T000000Z")).want(201)
		w.do("user01", "DELETE", spare, "If-Match: "+tag, "").want(412)
		w.do("user01", "DELETE", spare, "If-Match: *", "").want(204)

		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: "+past, event("a", "y", "20260101T000000Z")).want(412)
		w.do("user01", "DELETE", cal+"a.ics", "If-Unmodified-Since: "+past, "").want(412)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: "+future, event("a", "y", "20260101T000000Z")).want(204)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: yesterday", event("a", "z", "20260101T000000Z")).want(204)
		w.do("user01", "PUT", cal+"a.ics", "If-Match: *\nIf-Unmodified-Since: "+past, event("a", "z", "20260101T000000Z")).want(204)

		// Want 37: who makes what is there already is told where.
		w.do("user01", "PUT", cal+"a.ics", "If-None-Match: *", event("a", "q", "20260101T000000Z")).want(412, "<C:no-uid-conflict><D:href>"+cal+"a.ics</D:href>")

		// A MOVE into another home is no way around a condition.
		const theirs = "/dav/calendars/user02/calendar/"
		w.do("user02", "ACL", theirs, "", `<D:acl xmlns:D="DAV:"><D:ace><D:principal><D:href>/dav/principals/users/user01/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege><D:privilege><D:write/></D:privilege></D:grant></D:ace></D:acl>`).want(200)
		w.do("user01", "MOVE", cal+"a.ics", "If-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "MOVE", cal+"a.ics", "If-Schedule-Tag-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "COPY", cal+"a.ics", "If-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "GET", theirs+"a.ics", "", "").want(404)
		now := w.do("user01", "HEAD", cal+"a.ics", "", "").want(200).Header.Get("ETag")
		w.do("user01", "MOVE", cal+"a.ics", "If-Match: "+now+"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(201)
		w.do("user01", "GET", cal+"a.ics", "", "").want(404)
		w.do("user02", "GET", theirs+"a.ics", "", "").want(200, "SUMMARY:z")
	})
}

// RFC 9110 §13.2.2: the conditions of GET and HEAD, which answer alike, on objects and
// on whole calendars; If-None-Match compares weakly (§13.1.2), If-Match does not.
func TestConditionalReading(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const one = cal + "one.ics"
		w.do("user01", "PUT", one, "", event("one", "x", "20260101T000000Z")).want(201)
		a := w.do("user01", "GET", one, "", "").want(200)
		last := a.Header.Get("Last-Modified")
		past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
		for path, tag := range map[string]string{one: a.Header.Get("ETag"), cal: w.do("user01", "GET", cal, "", "").Header.Get("ETag")} {
			for _, c := range []struct {
				head   string
				status int
			}{
				{"If-None-Match: " + tag, 304}, {"If-None-Match: W/" + tag, 304}, {`If-None-Match: "x", ` + tag, 304}, {"If-None-Match: *", 304}, {`If-None-Match: "x"`, 200},
				{"If-Match: " + tag, 200}, {"If-Match: *", 200}, {"If-Match: W/" + tag, 412}, {`If-Match: "x"`, 412},
				{`If-None-Match: "x"` + "\nIf-Modified-Since: " + future, 200}, {"If-Modified-Since: " + past, 200}, {"If-Modified-Since: soon", 200},
			} {
				for _, m := range []string{"GET", "HEAD"} {
					if got := w.do("user01", m, path, c.head, ""); got.StatusCode != c.status || c.status == 304 && got.Header.Get("ETag") != tag {
						t.Errorf("%s %s with %s: %d, ETag %s", m, path, c.head, got.StatusCode, got.Header.Get("ETag"))
					}
				}
			}
		}
		for head, status := range map[string]int{"If-Modified-Since: " + last: 304, "If-Unmodified-Since: " + past: 412, "If-Unmodified-Since: " + last: 200} {
			for _, m := range []string{"GET", "HEAD"} {
				w.do("user01", m, one, head, "").want(status)
			}
		}
		// What is written has the same comparison.
		w.do("user01", "PUT", one, "If-None-Match: W/"+a.Header.Get("ETag"), event("one", "y", "20260101T000000Z")).want(412)
		w.do("user01", "DELETE", one, "If-None-Match: W/"+a.Header.Get("ETag"), "").want(412)
		for _, none := range []string{"W/" + a.Header.Get("ETag"), "\"\xff\"", "\xff", strings.Trim(a.Header.Get("ETag"), `"`)} {
			w.do("user01", "PUT", one, "If-Match: "+none, event("one", "y", "20260101T000000Z")).want(412)
		}
	})
}

// RFC 9110 §8.4, RFC 4918 §9.3: bodies in an encoding or of a type that is not
// understood are refused by 415, whatever is in them.
func TestUnsupportedBodies(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		one := event("one", "x", "20260101T000000Z")
		for range 2 { // the second time the account is known
			if a := w.do("user01", "PUT", cal+"one.ics", "Content-Encoding: gzip", one).want(415); a.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("Accept-Encoding: %q", a.Header.Get("Accept-Encoding"))
			}
			w.do("user01", "PUT", cal+"two.ics", "Content-Encoding: identity", event("two", "x", "20260101T000000Z"))
		}
		w.do("user01", "GET", cal+"one.ics", "", "").want(404)
		w.do("user01", "PROPFIND", cal, "Depth: 0\nContent-Encoding: deflate", propfind("<D:displayname/>")).want(415)
		w.do("user01", "MKCOL", home+"new/", "Content-Type: xyz/foo", "whatever").want(415)
		w.do("user01", "MKCOL", home+"new/", "Content-Type: application/xml", "whatever").want(400)
		w.do("user01", "MKCOL", home+"new/", "Content-Type: text/plain", `<D:mkcol xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype></D:prop></D:set></D:mkcol>`).want(201)
	})
}

// RFC 7240 §2: the value of a preference may be quoted. RFC 8144 §3.2: the present
// state comes in the notation that is accepted.
func TestPreferForms(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for _, p := range []string{`return="minimal"`, `wait=10, Return = minimal; x="y"`} {
			w.do("user01", "PROPFIND", cal, "Depth: 0\nPrefer: "+p, propfind("<D:displayname/><D:none/>")).want(207).lacks("404", "none")
		}
		w.do("user01", "PROPFIND", cal, "Depth: 0\nPrefer: return=minimalist", propfind("<D:displayname/><D:none/>")).want(207, "404")
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "x", "20260101T000000Z")).want(201)
		a := w.do("user01", "PUT", cal+"one.ics", "If-None-Match: *\nPrefer: return=representation\nAccept: application/calendar+json", event("one", "y", "20260101T000000Z")).want(412, `["vcalendar",`, `"x"`)
		if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/calendar+json") {
			t.Errorf("Content-Type: %s", ct)
		}
	})
}
