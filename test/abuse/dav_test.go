package abuse

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/kalends/kalends/test/blackbox"
)

const xmlType = "application/xml; charset=utf-8"

func syncBody(token, level string) string {
	return `<D:sync-collection xmlns:D="DAV:"><D:sync-token>` + token + `</D:sync-token><D:sync-level>` + level + `</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`
}

// expect sends a request and checks status and a part of the body.
func expect(t *testing.T, u *blackbox.User, status int, part, method, path, body string, head ...string) blackbox.Answer {
	t.Helper()
	a, err := u.Do(method, path, body, head...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.Status != status || !strings.Contains(string(a.Body), part) {
		t.Errorf("%s %s: %s; want %d with %q", method, path, a, status, part)
	}
	return a
}

// TestEntities is A12: no document type, no entity, of any method that takes XML.
func TestEntities(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	const doctype = `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>`
	for method, body := range map[string]string{
		"PROPFIND": `<D:propfind xmlns:D="DAV:"><D:prop><D:displayname>&x;</D:displayname></D:prop></D:propfind>`, "REPORT": syncBody("&x;", "1"),
		"PROPPATCH": `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>&x;</D:displayname></D:prop></D:set></D:propertyupdate>`,
		"ACL":       `<D:acl xmlns:D="DAV:"><D:ace>&x;</D:ace></D:acl>`, "POST": `<P:push-register xmlns:P="https://bitfire.at/webdav-push">&x;</P:push-register>`,
	} {
		expect(t, u, 400, "no-external-entities", method, u.Home()+"calendar/", doctype+body, "Content-Type", xmlType, "Depth", "0")
		expect(t, u, 400, "", method, u.Home()+"calendar/", body, "Content-Type", xmlType, "Depth", "0") // an entity nobody declared
	}
	for _, method := range []string{"MKCALENDAR", "MKCOL"} {
		expect(t, u, 400, "no-external-entities", method, u.Home()+"new/", doctype+`<x xmlns="DAV:">&x;</x>`, "Content-Type", xmlType)
	}
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for what, body := range map[string]string{
		"attributes": `<D:propfind xmlns:D="DAV:"` + many(` a%d="x"`, 10_000) + `><D:allprop/></D:propfind>`,
		"properties": `<D:propfind xmlns:D="DAV:"><D:prop>` + many(`<D:p%d/>`, 50_000) + `</D:prop></D:propfind>`,
		"namespaces": `<D:propfind xmlns:D="DAV:">` + many(`<a%[1]d:x xmlns:a%[1]d="urn:%[1]d">`, 500) + many(`</a%d:x>`, 0) + `</D:propfind>`,
		"octets":     `<D:propfind xmlns:D="DAV:">` + strings.Repeat(" ", 8<<20) + `<D:allprop/></D:propfind>`,
	} {
		a, err := u.Do("PROPFIND", u.Home(), body, "Depth", "0", "Content-Type", xmlType)
		if err == nil && a.Status != 400 && a.Status != 413 {
			t.Errorf("%s: %s", what, a)
		}
	}
	well(t, n, u)
}

// TestInfinity is A13: what would list everything is refused with its
// precondition, or told in pages.
func TestInfinity(t *testing.T) {
	t.Parallel()
	_, u := start(t)
	const all = `<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>`
	for _, path := range []string{"/", "/dav/", "/dav/calendars/", "/dav/principals/", u.Home(), u.Home() + "calendar/", u.Home() + "inbox/"} {
		expect(t, u, 403, "<D:propfind-finite-depth/>", "PROPFIND", path, all, "Depth", "infinity", "Content-Type", xmlType)
	}
	expect(t, u, 403, "propfind-finite-depth", "PROPFIND", u.Home(), all, "Content-Type", xmlType) // none means infinity (RFC 4918 §9.1)
	for i := range 30 {
		if err := u.MustPut(u.Path(fmt.Sprint(i, ".ics")), event(fmt.Sprint("e", i))); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, u, 207, "before.ics", "REPORT", u.Home(), syncBody("", "infinite"), "Content-Type", xmlType)
	seen, token := map[string]bool{}, ""
	href := regexp.MustCompile(`<D:href>([^<]*\.ics)</D:href>`)
	for page := 0; ; page++ {
		if page > 40 {
			t.Fatal("the pages do not end")
		}
		body := strings.Replace(syncBody(token, "infinite"), "<D:prop>", "<D:limit><D:nresults>5</D:nresults></D:limit><D:prop>", 1)
		a := expect(t, u, 207, "<D:sync-token>", "REPORT", u.Home(), body, "Content-Type", xmlType)
		for _, m := range href.FindAllStringSubmatch(string(a.Body), -1) {
			seen[m[1]] = true
		}
		_, rest, _ := strings.Cut(string(a.Body), "<D:sync-token>")
		token, _, _ = strings.Cut(rest, "</D:sync-token>")
		if !strings.Contains(string(a.Body), "507") {
			break
		}
	}
	if len(seen) != 31 {
		t.Errorf("%d objects in the pages, want 31", len(seen))
	}
}

// TestExpandedText is A06: instances without end of a long text are refused object
// by object, in every notation, and what fits is given.
func TestExpandedText(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	for i := range 3 {
		long := strings.Replace(event(fmt.Sprint("long", i)), "END:VEVENT", "RRULE:FREQ=MINUTELY\r\nDESCRIPTION:"+strings.Repeat("x", 1_000_000)+"\r\nEND:VEVENT", 1)
		if err := u.MustPut(u.Path(fmt.Sprintf("long%d.ics", i)), long); err != nil {
			t.Fatal(err)
		}
	}
	const stamp = "20060102T150405Z"
	span := fmt.Sprintf(`start="%s" end="%s"`, noon.Format(stamp), noon.AddDate(0, 6, 0).Format(stamp))
	for _, as := range []string{"", ` content-type="application/calendar+json" version="2.0"`, ` content-type="application/calendar+xml" version="2.0"`} {
		body := `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data` + as + `><C:expand ` + span + `/></C:calendar-data></D:prop>` +
			`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range ` + span + `/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
		a := expect(t, u, 207, "number-of-matches-within-limits", "REPORT", u.Home()+"calendar/", body, "Content-Type", xmlType, "Depth", "1")
		if got := string(a.Body); len(got) > 20<<20 || strings.Count(got, "507 Insufficient Storage") != 3 || !strings.Contains(got, "before") || !strings.Contains(got, "</D:multistatus>") {
			t.Errorf("%s: %d octets, %d refused: %.3000s", as, len(got), strings.Count(got, "507 Insufficient Storage"), got)
		}
	}
	well(t, n, u)
}

// TestSizes is A15 and A07: the limits have their preconditions.
func TestSizes(t *testing.T) {
	t.Parallel()
	n, u := start(t, "KALENDS_MAX_RESOURCE_SIZE=100000")
	big := strings.Replace(event("big"), "END:VEVENT", "DESCRIPTION:"+strings.Repeat("x", 200_000)+"\r\nEND:VEVENT", 1)
	expect(t, u, 403, "max-resource-size", "PUT", u.Path("big.ics"), big, "Content-Type", "text/calendar")
	req, err := http.NewRequest("PUT", u.Base+u.Path("big.ics"), io.MultiReader(strings.NewReader(big))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("alice", "alice")
	resp, err := u.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 403 || !strings.Contains(string(body), "max-resource-size") {
		t.Errorf("chunked: %d %s", resp.StatusCode, body)
	}
	expect(t, u, 404, "", "GET", u.Path("big.ics"), "")
	well(t, n, u)
}

// TestBothLengths is A16: a request with both lengths is the last one of its
// connection (RFC 9112 §6.1).
func TestBothLengths(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	c := dial(t, n)
	text := "PROPFIND /dav/calendars/alice/ HTTP/1.1\r\nHost: cal.alpha.test\r\n" + basic + "Depth: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := closed(c) // ends by itself
	if err != nil {
		t.Fatalf("the connection stays open: %v", err)
	}
	if !strings.HasPrefix(answer, "HTTP/1.1 ") {
		t.Errorf("answer %.100q", answer)
	}
	well(t, n, u)
}

// TestRapidReset is A16: streams that are reset as soon as they are opened, by
// the ten thousand, without TLS as behind a proxy.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	c := dial(t, n)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "PROPFIND"}, {":scheme", "http"}, {":authority", "cal.alpha.test"}, {":path", "/dav/calendars/alice/"}, {"authorization", "Basic YWxpY2U6YWxpY2U="}, {"depth", "0"}} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	sent := 0
	for id := uint32(1); sent < 10_000; id += 2 {
		first := block.String()
		if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(first), EndHeaders: true, EndStream: true}) != nil || f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break // the server has had enough
		}
		sent++
	}
	t.Logf("%d streams opened and reset", sent)
	well(t, n, u)
}

// TestPathTricks is A17 and A10: one path before the check of rights, and other
// hosts are other hosts.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	n.People("bob")
	bob := n.User("bob")
	if err := bob.MustPut(bob.Path("secret.ics"), event("secret")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/dav/calendars/alice/../bob/calendar/secret.ics", "/dav/calendars/alice/%2e%2e/bob/calendar/secret.ics", "/dav/calendars/alice/..%2fbob/calendar/secret.ics",
		"/dav/calendars/alice%2f..%2fbob/calendar/secret.ics", "/dav/calendars/alice/%252e%252e/bob/calendar/secret.ics", "/dav//calendars/bob/calendar/secret.ics", "//dav/calendars/bob/calendar/secret.ics",
		"/DAV/calendars/bob/calendar/secret.ics", "/dav/calendars/BOB/calendar/secret.ics", "/dav/calendars/bob/./calendar/secret.ics", "/dav/calendars/alice/calendar/..%5c..%5cbob%5ccalendar%5csecret.ics",
		"/dav/calendars/bob/calendar/secret.ics%00", "/dav/calendars/bob%00/calendar/secret.ics", "/dav/calendars/bob/calendar/secret.ics;x", "/dav/calendars/alice/calendar/secret.ics/", "/dav/calendars/bob/calendar/%73ecret.ics",
	} {
		for _, method := range []string{"GET", "PROPFIND", "DELETE", "MOVE"} {
			c := dial(t, n)
			if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: cal.alpha.test\r\n%sDepth: 0\r\nDestination: /dav/calendars/alice/calendar/stolen.ics\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, basic); err != nil {
				t.Fatal(err)
			}
			answer, err := closed(c)
			if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 30") || strings.Contains(answer, "UID:secret") {
				t.Errorf("%s %s: %.80q %v", method, path, answer, err)
			}
		}
	}
	expect(t, bob, 200, "UID:secret", "GET", bob.Path("secret.ics"), "")
	for _, destination := range []string{"http://evil.test/dav/calendars/alice/calendar/x.ics", "//evil.test/dav/calendars/alice/calendar/x.ics", "https://cal.alpha.test@evil.test/dav/calendars/alice/calendar/x.ics",
		"/dav/calendars/alice/../bob/calendar/x.ics", "/dav/calendars/bob/calendar/x.ics", "ftp://cal.alpha.test/x", "", "%", "http://[::1"} {
		a, err := u.Do("MOVE", u.Path("before.ics"), "", "Destination", destination)
		if err != nil || a.Status < 400 || a.Status >= 500 && a.Status != 502 {
			t.Errorf("MOVE to %q: %v %v", destination, a, err)
		}
	}
	expect(t, u, 200, "", "GET", u.Path("before.ics"), "")
	// Names that hold parts of paths, quotes and markup are names (A10).
	for _, name := range []string{"a%2fb.ics", "%3Cscript%3E.ics", "'%22--.ics", "..ics", "%e2%80%ae.ics"} {
		if a, err := u.Put(u.Path(name), event("n-"+name)); err != nil || a.Status != 201 {
			if err != nil || a.Status < 400 || a.Status >= 500 {
				t.Errorf("PUT %s: %v %v", name, a, err)
			}
			continue
		}
		expect(t, u, 200, "UID:n-", "GET", u.Path(name), "")
	}
	for _, name := range []string{"a%0d%0aX-Injected:1.ics", "%00.ics", "%ff.ics"} {
		if a, err := u.Put(u.Path(name), event("c-"+name)); err != nil || a.Status < 400 || a.Status >= 500 {
			t.Errorf("PUT %s: %v %v", name, a, err)
		}
	}
	well(t, n, u)
}

// TestCrossOrigin is A19: the cookie of the pages opens no calendar, other
// sites' pages may neither read nor write with a password that the browser
// remembers.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	base, external := fmt.Sprintf("http://127.0.0.1:%d", n.HTTP), fmt.Sprintf("https://cal.alpha.test:%d", n.HTTPS)
	page := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, _ := http.NewRequest("POST", base+"/sign-in", strings.NewReader(url.Values{"login": {"alice"}, "password": {"alice"}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", external)
	resp, err := page.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) == 0 {
		t.Fatalf("signing in at the pages: %s, cookies %v", resp.Status, resp.Cookies())
	}
	cookie := resp.Cookies()[0]
	for _, method := range []string{"GET", "PROPFIND", "PUT", "DELETE", "REPORT"} {
		req, _ := http.NewRequest(method, base+u.Path("before.ics"), nil)
		req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
		resp, err := page.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with the cookie of the pages: %s", method, resp.Status)
		}
	}
	// What a page of another site can make a browser send with a remembered password.
	add := u.Home() + "calendar/?action=add-member"
	for _, head := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.test"}, {"Origin", "null"}} {
		expect(t, u, 403, "other sites", "POST", add, event("forged"), head...)
		a, err := u.Do("OPTIONS", u.Home(), "", append(head, "Access-Control-Request-Method", "PUT")...)
		if err != nil || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("CORS: %v %v", a.Header, err)
		}
		if a, err = u.Do("GET", u.Path("before.ics"), "", head...); err != nil || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("CORS: %v %v", a.Header, err)
		}
	}
	expect(t, u, 201, "", "POST", add, event("own"), "Content-Type", "text/calendar", "Origin", external)
	well(t, n, u)
}

// TestInjection is A20 and A18: names and hosts of others become neither header
// lines nor lines of calendar data, nor addresses of links.
func TestInjection(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	evil := "x&#13;&#10;X-Injected: 1&#13;&#10;BEGIN:VEVENT\"; filename=evil.exe"
	expect(t, u, 207, "200 OK", "PROPPATCH", u.Home()+"calendar/", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>`+evil+`</D:displayname></D:prop></D:set></D:propertyupdate>`, "Content-Type", xmlType)
	a := expect(t, u, 200, "X-WR-CALNAME", "GET", u.Home()+"calendar/", "")
	if strings.Count(string(a.Body), "BEGIN:VEVENT\r\n") != 1 || a.Header.Get("X-Injected") != "" || strings.Contains(string(a.Body), "\r\nX-Injected") {
		t.Errorf("the name of the calendar broke out: %v\n%s", a.Header, a.Body)
	}
	if strings.Contains(a.Header.Get("Content-Disposition"), "evil") {
		t.Errorf("Content-Disposition %q", a.Header.Get("Content-Disposition"))
	}
	// A18: the Host of the request is in no address that we give out.
	c := dial(t, n)
	body := `<P:push-register xmlns:P="https://bitfire.at/webdav-push"><P:subscription><P:web-push-subscription><P:push-resource>https://push.example.net/x</P:push-resource><P:subscription-public-key type="p256dh">BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4</P:subscription-public-key><P:auth-secret>BTBZMqHH6r4Tts7J_aSIgg</P:auth-secret></P:web-push-subscription></P:subscription></P:push-register>`
	if _, err := fmt.Fprintf(c, "POST /dav/calendars/alice/calendar/ HTTP/1.1\r\nHost: evil.test\r\n%sContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", basic, len(body), body); err != nil {
		t.Fatal(err)
	}
	answer, err := closed(c)
	if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 204") || strings.Contains(answer, "evil.test") || !strings.Contains(answer, fmt.Sprintf("Location: https://cal.alpha.test:%d/dav/push/", n.HTTPS)) {
		t.Errorf("%v: %s", err, answer)
	}
	well(t, n, u)
}

// TestPoisonedTokens is A51: a token that is not of this collection is a failed
// precondition, and nothing else.
func TestPoisonedTokens(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	n.People("bob")
	bob := n.User("bob")
	token := func(u *blackbox.User, path string) string {
		t.Helper()
		a := expect(t, u, 207, "<D:sync-token>", "REPORT", path, syncBody("", "1"), "Content-Type", xmlType)
		_, rest, _ := strings.Cut(string(a.Body), "<D:sync-token>")
		s, _, _ := strings.Cut(rest, "</D:sync-token>")
		return s
	}
	mine := token(u, u.Home()+"calendar/")
	parts := strings.Split(strings.TrimPrefix(mine, "urn:kalends:sync:"), "-")
	if len(parts) != 3 {
		t.Fatalf("token %q", mine)
	}
	build := func(nonce, seq, tag string) string { return "urn:kalends:sync:" + nonce + "-" + seq + "-" + tag }
	ofHome := token(u, u.Home())
	home, calendar, _ := strings.Cut(ofHome, "/calendar/")
	for _, bad := range []string{
		home + "/calendar/", home + "/calendar", home + "/calendar/!", home + "/calendar/!!" + calendar, home + "/%zz/" + calendar, home + "/%63alendar/" + calendar, home + "/calendar/" + calendar + "/calendar/" + calendar, ofHome + "/", ofHome + "A", "urn:kalends:home:/calendar/" + calendar,
		token(bob, bob.Home()), token(bob, bob.Home()+"calendar/"), token(u, u.Home()+"tasks/"), ofHome, "x", "http://example.net/sync/1", mine + "0", mine + "-", strings.ToUpper(mine),
		build(parts[0], "999999999", parts[2]), build(parts[0], "9223372036854775807", parts[2]), build(parts[0], "99999999999999999999", parts[2]), build(parts[0], "-1", parts[2]), build(parts[0], parts[1], "000000000000"),
		build(parts[0], "0", parts[2]), build("0000000000000000", parts[1], parts[2]), build(parts[0], "' OR 1=1 --", parts[2]), strings.Repeat("a", 100_000), "urn:kalends:home:e30", "urn:kalends:home:" + strings.Repeat("A", 5000),
	} {
		for _, path := range []string{u.Home() + "calendar/", u.Home() + "inbox/", u.Home()} {
			if path == u.Home() && bad == ofHome {
				continue
			}
			for _, level := range []string{"1", "infinite"} {
				a := expect(t, u, 403, "<D:valid-sync-token/>", "REPORT", path, syncBody(bad, level), "Content-Type", xmlType)
				if strings.Contains(string(a.Body), "<D:href>") {
					t.Errorf("a bad token shows members: %s", a)
				}
			}
		}
	}
	expect(t, u, 207, mine, "REPORT", u.Home()+"calendar/", syncBody(mine, "1"), "Content-Type", xmlType)
	well(t, n, u)
}
