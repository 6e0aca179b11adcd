package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/kalends/kalends/test/blackbox"
)

// TestByMailAddress is clients.md 0 and 6 step 1, RFC 6764 §6: all that somebody enters is
// an address and a password. The records are those that `kalends domain dns` prints.
func TestByMailAddress(t *testing.T) {
	t.Parallel()
	w := blackbox.NewWorld(t)
	n := w.Node("alpha.test", "")
	n.Start()
	n.People("alice")
	n.Publish()
	ask := func(name string, kind uint16) dns.RR {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, kind)
		r, err := dns.Exchange(m, w.DNS.Addr())
		if err != nil || len(r.Answer) != 1 {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
		return r.Answer[0]
	}
	srv, ok := ask("_caldavs._tcp.alpha.test.", dns.TypeSRV).(*dns.SRV)
	if !ok || int(srv.Port) != n.HTTPS || srv.Target != "cal.alpha.test." {
		t.Fatalf("SRV %v", srv)
	}
	path := "/.well-known/caldav"
	if txt, ok := ask("_caldavs._tcp.alpha.test.", dns.TypeTXT).(*dns.TXT); !ok || len(txt.Txt) != 1 || !strings.HasPrefix(txt.Txt[0], "path=/") {
		t.Fatalf("TXT %v", txt)
	} else {
		path = strings.TrimPrefix(txt.Txt[0], "path=")
	}
	roots := x509.NewCertPool()
	for line := range strings.SplitSeq(strings.Join(n.Environment(), "\n"), "\n") {
		if file, ok := strings.CutPrefix(line, "KALENDS_TLS_EXTRA_CA="); ok {
			pem, err := os.ReadFile(file)
			if err != nil || !roots.AppendCertsFromPEM(pem) {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	host := strings.TrimSuffix(srv.Target, ".")
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", srv.Port))
	}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	send := func(method, path, password, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, "https://"+host+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Depth", "0")
		if password != "" {
			r.SetBasicAuth("alice@alpha.test", password)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.ProtoMajor != 2 {
			t.Errorf("%s %s: %s", method, path, resp.Proto)
		}
		return resp
	}
	// The well-known address, for programs that ask it first or alone.
	led := send("PROPFIND", "/.well-known/caldav", "", propfind(appleWellKnown))
	if l := led.Header.Get("Location"); led.StatusCode != 301 || !strings.HasPrefix(l, "https://"+host) || !strings.HasSuffix(l, path) {
		t.Errorf("well-known: %s, %q", led.Status, l)
	}
	if r := send("PROPFIND", path, "", propfind(appleWellKnown)); r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("without a password: %s %v", r.Status, r.Header)
	}
	// From here the program asks for its principal, and so on.
	p := &program{T: t, node: n, base: fmt.Sprintf("http://127.0.0.1:%d", n.HTTP), user: "", head: map[string]string{"User-Agent": "any", "Authorization": "Basic YWxpY2VAYWxwaGEudGVzdDphbGljZQ=="}}
	if got := send("PROPFIND", path, "alice", propfind(appleWellKnown)).StatusCode; got != 207 {
		t.Fatalf("with the password: %d", got)
	}
	who := p.do("PROPFIND", path, "Depth: 0", propfind(appleWellKnown)).of(path).text("current-user-principal")
	homeSet := p.do("PROPFIND", who, "Depth: 0", propfind("<C:calendar-home-set/>")).of(who).text("calendar-home-set")
	list := p.do("PROPFIND", homeSet, "Depth: 1", propfind("<D:resourcetype/>"))
	for path, kind := range map[string]string{cal: "calendar", home + "tasks/": "calendar", inbox: "schedule-inbox", outbox: "schedule-outbox", home + "notification/": "notification"} {
		if e := list.of(path).prop("resourcetype"); e == nil || !strings.Contains(e.Inner, kind) {
			t.Errorf("%s is no %s: %s", path, kind, list.text)
		}
	}
}

// TestAppleDelegation is clients.md 1 and 4: people name delegates in Apple's Calendar by
// the members of two principals, and their programs find what they may open.
func TestAppleDelegation(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	if _, err := p.node.Command("", "user", "set", "bob", "--name", "Robert de Niro"); err != nil {
		t.Fatal(err)
	}
	const people = `<D:displayname/><CS:first-name/><CS:last-name/><CS:email-address-set/><CS:record-type/><C:calendar-user-address-set/><D:principal-URL/>`
	r := p.do("PROPFIND", "/dav/principals/users/bob/", "Depth: 0", propfind(people)).of("/dav/principals/users/bob/")
	if r.text("first-name") != "Robert de" || r.text("last-name") != "Niro" || r.text("record-type") != "users" {
		t.Errorf("bob's principal: %+v", r)
	}
	find := func(prop, match string) answer {
		return p.do("REPORT", "/dav/principals/", "Depth: 0", report(`D:principal-property-search test="anyof"`, `<D:property-search><D:prop><CS:`+prop+`/></D:prop><D:match match-type="starts-with">`+match+`</D:match></D:property-search><D:prop>`+people+`</D:prop>`))
	}
	find("last-name", "nir").wantHrefs("/dav/principals/users/bob/")
	find("first-name", "rob").wantHrefs("/dav/principals/users/bob/")
	find("first-name", "niro").wantHrefs()

	bob := p.as("bob")
	const bobsPrincipal = "/dav/principals/users/bob/"
	for mode, status := range map[string]int{"read": 403, "write": 201} {
		set := func(member string) {
			if member != "" {
				member = "<D:href>" + member + "</D:href>"
			}
			p.do("PROPPATCH", principal+"calendar-proxy-"+mode+"/", "", report("D:propertyupdate", "<D:set><D:prop><D:group-member-set>"+member+"</D:group-member-set></D:prop></D:set>")).want(207, "200 OK")
		}
		bob.do("PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(403)
		set(bobsPrincipal)
		// The owner's list, as the program reads it, and the delegate's.
		expand := report("D:expand-property", `<D:property name="calendar-proxy-`+mode+`-for" namespace="http://calendarserver.org/ns/"><D:property name="displayname"/><D:property name="calendar-user-address-set" namespace="urn:ietf:params:xml:ns:caldav"/><D:property name="email-address-set" namespace="http://calendarserver.org/ns/"/></D:property>`)
		bob.do("REPORT", bobsPrincipal, "Depth: 0", expand).want(207, "<D:href>"+principal+"</D:href>", "mailto:alice@alpha.test")
		members := report("D:expand-property", `<D:property name="group-member-set"><D:property name="displayname"/></D:property>`)
		p.do("REPORT", principal+"calendar-proxy-"+mode+"/", "Depth: 0", members).want(207, bobsPrincipal, "Robert de Niro")
		bob.do("PROPFIND", bobsPrincipal, "Depth: 0", propfind("<D:group-membership/>")).want(207, principal+"calendar-proxy-"+mode+"/")
		if got := bob.do("PROPFIND", home, "Depth: 1", propfind("<D:displayname/><D:current-user-privilege-set/>")).of(cal); got.prop("current-user-privilege-set") == nil {
			t.Errorf("%s: bob sees %+v", mode, got)
		}
		bob.do("PUT", cal+"by-bob-"+mode+".ics", "", event("by-bob-"+mode)).want(status)
		set("")
		bob.do("PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(403)
	}
}

// TestEventsLife is clients.md 6 step 4: an event with a changed instance goes to another
// calendar and back, is deleted, and its UID comes again.
func TestEventsLife(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	series := func(summary string) string {
		return strings.Replace(event("series", "RRULE:FREQ=DAILY;COUNT=5"), "END:VCALENDAR", "BEGIN:VEVENT\r\nUID:series\r\nDTSTAMP:20261201T000000Z\r\nRECURRENCE-ID:20270105T100000Z\r\nDTSTART:20270105T120000Z\r\nDURATION:PT1H\r\nSUMMARY:"+summary+"\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)
	}
	tag := p.do("PUT", cal+"series.ics", "If-None-Match: *", series("Later")).want(201).Header.Get("ETag")
	p.do("PUT", cal+"series.ics", "If-Match: "+tag, series("Much later")).want(204)
	p.do("MKCALENDAR", home+"other/", "", "").want(201)
	p.do("MOVE", cal+"series.ics", "Destination: "+p.base+home+"other/series.ics", "").want(201)
	p.do("GET", cal+"series.ics", "", "").want(404)
	if got := p.do("GET", home+"other/series.ics", "", "").want(200); got.text != series("Much later") {
		t.Errorf("after the move: %q", got.text)
	}
	p.do("MOVE", home+"other/series.ics", "Destination: "+p.base+cal+"series.ics", "").want(201)
	if got := p.do("GET", cal+"series.ics", "", "").want(200); got.text != series("Much later") {
		t.Errorf("back again: %q", got.text)
	}
	p.do("DELETE", cal+"series.ics", "", "").want(204)
	p.do("PUT", cal+"anew.ics", "If-None-Match: *", series("Anew")).want(201)
	p.do("GET", cal+"anew.ics", "", "").want(200, "SUMMARY:Anew")
}
