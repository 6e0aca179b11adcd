package clients

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
)

// TestSlash is clients.md 0: without the final slash GET and HEAD are led to the
// collection, every other method is answered with the name that has one.
func TestSlash(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	bare := strings.TrimSuffix(cal, "/")
	for _, method := range []string{"GET", "HEAD"} {
		if l := p.do(method, bare, "", "").want(301).Header.Get("Location"); !strings.HasSuffix(l, cal) {
			t.Errorf("%s: Location %q", method, l)
		}
	}
	p.do("PUT", cal+"a.ics", "", event("a")).want(201)
	query := report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>`)
	for _, c := range []struct {
		method, head, body string
		status             int
	}{
		{"OPTIONS", "", "", 200},
		{"PROPFIND", "Depth: 0", propfind("<D:displayname/>"), 207},
		{"PROPPATCH", "", proppatch("<D:displayname>Mine</D:displayname>"), 207},
		{"REPORT", "Depth: 1", query, 207},
		{"REPORT", "", sync("", "1", "<D:getetag/>"), 207},
		{"POST", "", event("posted"), 400}, // a collection takes new members at its add-member address
	} {
		a := p.do(c.method, bare, c.head, c.body).want(c.status)
		if got := a.Header.Get("Content-Location"); got != cal {
			t.Errorf("%s: Content-Location %q", c.method, got)
		}
		if c.status == 207 && !strings.Contains(a.text, "<D:href>"+cal) {
			t.Errorf("%s: no href with the slash: %s", c.method, a.text)
		}
	}
	p.do("MKCALENDAR", home+"bare", "", "").want(201)
	p.do("PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).of(home + "bare/")
	p.do("DELETE", home+"bare", "", "").want(204)
	p.do("PROPFIND", home+"bare/", "Depth: 0", propfind("<D:displayname/>")).want(404)
}

// TestNames is clients.md 0: an object keeps the name that a program gave it, in one
// spelling, however a program writes it.
func TestNames(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	for i, name := range []string{"plain.ics", "two words.ics", "50%.ics", "a@b.ics", "Übung.ics", "plus+plus.ics", "semi;colon,comma.ics", "hash#.ics", "what?.ics", "[x]&'y'.ics"} {
		uid := string(rune('a' + i))
		p.do("PUT", cal+url.PathEscape(name), "If-None-Match: *", event(uid)).want(201)
		hrefs := p.do("REPORT", cal, "Depth: 1", report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">`+uid+`</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter>`)).hrefs()
		if len(hrefs) != 1 {
			t.Fatalf("%s: %v", name, hrefs)
		}
		href := hrefs[0]
		if got, err := url.PathUnescape(href); err != nil || got != cal+name {
			t.Errorf("%s is listed as %s", name, href)
		}
		// The same in every list, and what is asked for in another spelling is found.
		var odd strings.Builder
		for _, b := range []byte(name) {
			odd.WriteString("%" + strings.ToLower(string("0123456789ABCDEF"[b>>4])+string("0123456789ABCDEF"[b&15])))
		}
		p.do("GET", cal+odd.String(), "", "").want(200, "UID:"+uid)
		p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")).of(href)
		p.do("PROPFIND", cal+odd.String(), "Depth: 0", propfind("<D:getetag/>")).of(href)
		p.do("REPORT", cal, "Depth: 1", sync("", "1", "<D:getetag/>")).of(href)
		p.do("REPORT", cal, "", multiget("<D:getetag/>", cal+odd.String())).of(href)
		p.do("DELETE", href, "", "").want(204)
	}
}

// TestTransfer is clients.md 0: one connection for many requests, refusals among
// them, and answers compressed for who asks for it.
func TestTransfer(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	for i := range 20 {
		p.do("PUT", cal+string(rune('a'+i))+".ics", "", event(string(rune('a'+i)))).want(201)
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxConnsPerHost: 1}}
	send := func(method, path, user, body string) (*http.Response, string, bool) {
		t.Helper()
		r, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip, deflate")
		r.Header.Set("Content-Type", "text/xml")
		if user != "" {
			r.SetBasicAuth(user, user)
		}
		reused := false
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { reused = g.Reused }}))
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		in := io.Reader(resp.Body)
		if resp.Header.Get("Content-Encoding") == "gzip" {
			if in, err = gzip.NewReader(resp.Body); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b), reused
	}
	all := report("C:calendar-query", `<D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>`)
	send("PROPFIND", cal, "alice", propfind("<D:getetag/>"))
	for _, s := range []struct {
		method, path, user, body string
		status                   int
	}{
		{"REPORT", cal, "alice", all, 207}, {"PUT", cal + "x.ics", "alice", "nonsense", 403}, {"PROPFIND", cal, "", propfind("<D:getetag/>"), 401},
		{"GET", cal + "none.ics", "alice", "", 404}, {"PROPFIND", "/dav/nowhere/", "alice", all, 404}, {"REPORT", cal, "alice", all, 207},
	} {
		r, text, reused := send(s.method, s.path, s.user, s.body)
		if r.StatusCode != s.status || !reused {
			t.Errorf("%s %s: %d, connection kept: %v", s.method, s.path, r.StatusCode, reused)
		}
		if s.status == 207 && (r.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(r.Header.Get("Vary"), "Accept-Encoding") || strings.Count(text, "BEGIN:VEVENT") != 20) {
			t.Errorf("%s: %v, %d events", s.method, r.Header, strings.Count(text, "BEGIN:VEVENT"))
		}
	}
}

// TestConditions is clients.md 0: conditions on PUT and DELETE; when they fail
// nothing has changed.
func TestConditions(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	invite := event("m", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@alpha.test")
	p.do("PUT", cal+"m.ics", "If-None-Match: *", invite).want(201)
	got := p.do("GET", cal+"m.ics", "", "").want(200)
	for _, head := range []string{`If-Match: "old"`, `If-Schedule-Tag-Match: "old"`, "If-None-Match: *", "If-None-Match: " + got.Header.Get("ETag")} {
		p.do("PUT", cal+"m.ics", head, event("m", "LOCATION:x")).want(412)
		p.do("DELETE", cal+"m.ics", head, "").want(412)
	}
	if again := p.do("GET", cal+"m.ics", "", "").want(200); again.text != got.text || again.Header.Get("ETag") != got.Header.Get("ETag") {
		t.Errorf("a refused change changed it: %s", again.text)
	}
	// The tag stands in listings as on the object; with it all goes through.
	tag := got.Header.Get("Schedule-Tag")
	for what, a := range map[string]answer{
		"multiget": p.do("REPORT", cal, "", multiget("<D:getetag/><C:schedule-tag/>", cal+"m.ics")),
		"PROPFIND": p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getetag/><C:schedule-tag/>")),
		"sync":     p.do("REPORT", cal, "", sync("", "1", "<D:getetag/><C:schedule-tag/>")),
	} {
		if r := a.of(cal + "m.ics"); tag == "" || r.text("schedule-tag") != tag || r.text("getetag") != got.Header.Get("ETag") {
			t.Errorf("%s: schedule-tag %q, want %q", what, r.text("schedule-tag"), tag)
		}
	}
	p.do("DELETE", cal+"m.ics", "If-Schedule-Tag-Match: "+tag, "").want(204)
}

// TestPrivilegesByName is clients.md 1: privileges are listed leaf by leaf and in
// their sums, on what is one's own and on what is shared.
func TestPrivilegesByName(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	privileges := func(p *program, path string) string {
		t.Helper()
		e := p.do("PROPFIND", path, "Depth: 0", propfind("<D:current-user-privilege-set/>")).of(path).prop("current-user-privilege-set")
		if e == nil {
			t.Fatalf("%s has none", path)
		}
		return e.Inner
	}
	has := func(set, path, names string, want bool) {
		t.Helper()
		for n := range strings.FieldsSeq(names) {
			if strings.Contains(set, ":"+n+"/>") != want {
				t.Errorf("%s: %s there: %v: %s", path, n, !want, set)
			}
		}
	}
	has(privileges(p, cal), cal, "all read write write-content write-properties bind unbind read-acl write-acl read-current-user-privilege-set read-free-busy", true)
	has(privileges(p, home), home, "all read write bind unbind", true)
	has(privileges(p, inbox), inbox, "schedule-deliver schedule-deliver-invite schedule-deliver-reply schedule-query-freebusy read unbind", true)
	has(privileges(p, outbox), outbox, "schedule-send schedule-send-invite schedule-send-reply schedule-send-freebusy", true)
	// A reader's programs must see that they cannot write.
	p.do("ACL", cal, "", report("D:acl", "<D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>")).want(200)
	set := privileges(p.as("bob"), cal)
	has(set, cal, "read read-free-busy", true)
	has(set, cal, "all write write-content write-properties bind unbind write-acl", false)
	p.as("bob").do("PUT", cal+"x.ics", "If-None-Match: *", event("x")).want(403, "need-privileges")
	p.as("bob").do("PROPPATCH", cal, "", proppatch("<C:calendar-description>x</C:calendar-description>")).want(207, "403 Forbidden")
}
