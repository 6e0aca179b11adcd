// Package abuse sends the real server what no honest program sends, at the
// level of HTTP and of bare connections. The numbers are those of the list of
// abuse cases.
package abuse

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const patience = 30 * time.Second

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

func event(uid string) string { return (blackbox.Event{UID: uid, Start: noon}).String() }

func start(t *testing.T, env ...string) (*blackbox.Node, *blackbox.User) {
	t.Helper()
	n := blackbox.NewWorld(t).Node("alpha.test", "", env...)
	n.Start()
	n.People("alice")
	u := n.User("alice")
	if err := u.MustPut(u.Path("before.ics"), event("before")); err != nil {
		t.Fatal(err)
	}
	return n, u
}

// well tests that the server still serves, and did not grow without bound.
func well(t *testing.T, n *blackbox.Node, u *blackbox.User) {
	t.Helper()
	if a, err := u.Do("GET", u.Path("before.ics"), ""); err != nil || a.Status != 200 {
		t.Errorf("the server does not serve any more: %v %v", a, err)
	}
	rss, err := n.Memory()
	if err != nil {
		t.Fatal(err)
	}
	if rss > 400e6 && !blackbox.Race() {
		t.Errorf("the server needs %d MB now", rss/1e6)
	}
	if strings.Contains(n.Log(), "panicked") {
		t.Error("a request panicked")
	}
}

// dial opens a bare connection to the plain listener.
func dial(t *testing.T, n *blackbox.Node) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// basic is alice:alice.
const basic = "Authorization: Basic YWxpY2U6YWxpY2U=\r\n"

// TestManyHrefs is A14: a multiget with very many hrefs.
func TestManyHrefs(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	for _, count := range []int{1_000_000, 60_000, 5_000} {
		var b strings.Builder
		b.WriteString(`<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop>`)
		for i := range count {
			fmt.Fprintf(&b, "<D:href>/dav/calendars/alice/calendar/%d.ics</D:href>", i)
		}
		b.WriteString("</C:calendar-multiget>")
		a, err := u.Do("REPORT", u.Home()+"calendar/", b.String(), "Depth", "1", "Content-Type", "application/xml")
		// A server that refuses while the body still comes may cut the
		// connection before its answer is read.
		if err == nil && (a.Status >= 500 || a.OK() != (count <= 5_000)) {
			t.Errorf("%d hrefs: %s", count, a)
		}
		t.Logf("%d hrefs, %d MB: %d %v", count, b.Len()>>20, a.Status, err)
		well(t, n, u)
	}
}

// TestDeep is A14 and A12: nesting and entities.
func TestDeep(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	deep := func(open, inner, end string) string {
		return strings.Repeat(open, 1000) + inner + strings.Repeat(end, 1000)
	}
	for what, body := range map[string]string{
		"expand-property": `<D:expand-property xmlns:D="DAV:">` + deep(`<D:property name="current-user-principal">`, "", `</D:property>`) + `</D:expand-property>`,
		"filter": `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter>` +
			deep(`<C:comp-filter name="VCALENDAR">`, "", `</C:comp-filter>`) + `</C:filter></C:calendar-query>`,
		"entities": `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>` +
			`<D:sync-collection xmlns:D="DAV:"><D:sync-token>&c;</D:sync-token><D:sync-level>1</D:sync-level><D:prop/></D:sync-collection>`,
		"external entity": `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><D:sync-collection xmlns:D="DAV:"><D:sync-token>&a;</D:sync-token><D:sync-level>1</D:sync-level><D:prop/></D:sync-collection>`,
	} {
		a, err := u.Do("REPORT", u.Home()+"calendar/", body, "Depth", "1", "Content-Type", "application/xml")
		if err != nil || a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s: %v %v; want a 4xx", what, a, err)
		}
		if strings.Contains(string(a.Body), "root:") {
			t.Errorf("%s: a file of the server", what)
		}
	}
	if a, err := u.Put(u.Path("deep.ics"), "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n"+strings.Repeat("BEGIN:VEVENT\r\n", 100_000)+strings.Repeat("END:VEVENT\r\n", 100_000)+"END:VCALENDAR\r\n"); err != nil || a.Status < 400 || a.Status >= 500 {
		t.Errorf("components nested 100,000 deep: %v %v; want a 4xx", a, err)
	}
	well(t, n, u)
}

// closed waits for the end of a connection and returns what came before.
func closed(c net.Conn) (string, error) {
	b, err := io.ReadAll(c)
	if errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") {
		err = nil
	}
	return string(b), err
}

// TestSlow is A15: bodies and headers that never come hold a connection for a
// bounded time, and nobody else.
func TestSlow(t *testing.T) {
	t.Parallel()
	n, u := start(t, "KALENDS_READ_TIMEOUT=2s")
	for what, text := range map[string]string{
		"body":   "PUT /dav/calendars/alice/calendar/slow.ics HTTP/1.1\r\nHost: cal.alpha.test\r\n" + basic + "Content-Type: text/calendar\r\nContent-Length: 1000\r\n\r\nBEGIN:VCALENDAR\r\n",
		"XML":    "REPORT /dav/calendars/alice/calendar/ HTTP/1.1\r\nHost: cal.alpha.test\r\n" + basic + "Content-Type: application/xml\r\nContent-Length: 1000\r\n\r\n<C:calendar-query",
		"header": "GET / HTTP/1.1\r\nHost: cal.alp",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := dial(t, n)
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			answer, err := closed(c)
			if err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
			if strings.HasPrefix(answer, "HTTP/1.1 2") || strings.HasPrefix(answer, "HTTP/1.1 5") {
				t.Errorf("the answer to half a request: %.100q", answer)
			}
			if a, err := u.Do("GET", u.Path("slow.ics"), ""); err != nil || a.Status != 404 {
				t.Errorf("half an object was stored: %v %v", a, err)
			}
			well(t, n, u)
		})
	}
}

// TestEndless is A15: a chunked body without end, and one that inflates.
func TestEndless(t *testing.T) {
	t.Parallel()
	n, u := start(t, "KALENDS_MAX_RESOURCE_SIZE=1000000")
	for _, request := range []string{"PUT /dav/calendars/alice/calendar/endless.ics", "REPORT /dav/calendars/alice/calendar/", "PROPFIND /dav/calendars/alice/"} {
		c := dial(t, n)
		if _, err := fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: cal.alpha.test\r\n%sTransfer-Encoding: chunked\r\n\r\n", request, basic); err != nil {
			t.Fatal(err)
		}
		answer := make(chan string, 1)
		go func() { s, _ := closed(c); answer <- s }()
		sent := 0
		chunk := []byte("8000\r\n" + strings.Repeat("<a> \r\n  ", 0x1000) + "\r\n")
		for sent < 256<<20 {
			k, err := c.Write(chunk)
			sent += k
			if err != nil {
				break
			}
		}
		if sent >= 256<<20 {
			t.Errorf("%s: the server took %d MB and did not close", request, sent>>20)
			c.Close()
		}
		line, _, _ := strings.Cut(<-answer, "\r\n")
		if strings.HasPrefix(line, "HTTP/1.1 2") || strings.HasPrefix(line, "HTTP/1.1 5") {
			t.Errorf("%s: %s", request, line)
		}
		t.Logf("%s: cut after %d KB, %q", request, sent>>10, line)
		well(t, n, u)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 512 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	for path, method := range map[string]string{u.Path("bomb.ics"): "PUT", u.Home() + "calendar/": "REPORT"} {
		a, err := u.Do(method, path, bomb.String(), "Content-Encoding", "gzip", "Content-Type", "text/calendar")
		if err != nil || a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s of 512 MB in %d KB: %v %v; want a 4xx", method, bomb.Len()>>10, a, err)
		}
	}
	well(t, n, u)
}

// TestSmuggling is A16: a second request hidden in a body whose end is told in
// two ways must never be answered.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	const hidden = "DELETE /dav/calendars/alice/calendar/before.ics HTTP/1.1\r\nHost: cal.alpha.test\r\n" + basic + "\r\n"
	head := "PROPFIND /dav/calendars/alice/ HTTP/1.1\r\nHost: cal.alpha.test\r\n" + basic + "Depth: 0\r\n"
	for what, text := range map[string]string{
		"both lengths":          head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(hidden)) + hidden,
		"both, other order":     head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"two different lengths": head + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden,
		"unknown coding":        head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked twice":         head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked, identity":     head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
		"space before colon":    head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"bad chunk size":        head + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + hidden,
		"bare CR in length":     head + "Content-Length: 0\r 5\r\n\r\n" + hidden,
		"negative length":       head + "Content-Length: -1\r\n\r\n" + hidden,
	} {
		t.Run(what, func(t *testing.T) {
			c := dial(t, n)
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			answers := 0
			for {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset") {
						break
					}
					t.Fatalf("the connection stays open after %d answers: %v", answers, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				answers++
			}
			if answers > 1 {
				t.Errorf("%d answers to one request", answers)
			}
			if a, err := u.Do("GET", u.Path("before.ics"), ""); err != nil || a.Status != 200 {
				t.Fatalf("the hidden request was obeyed: %v %v", a, err)
			}
		})
	}
}

// TestForeignHeaders is A16 and A18: nobody but a trusted proxy tells who the
// client is and how the server is called.
func TestForeignHeaders(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	u.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a, err := u.Do("GET", "/.well-known/caldav", "", "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "gopher", "Forwarded", "host=evil.test")
	if err != nil || a.Status != http.StatusMovedPermanently || a.Header.Get("Location") != fmt.Sprintf("https://cal.alpha.test:%d/dav/", n.HTTPS) {
		t.Errorf("the redirect leads to %q: %v %v", a.Header.Get("Location"), a, err)
	}
	if a.Header.Get("Strict-Transport-Security") != "" {
		t.Error("plain HTTP is taken for TLS on a stranger's word")
	}
	// Guesses from one address count for that address, whatever it says.
	for i := range 25 {
		g := n.User("alice")
		g.Password = "wrong"
		if a, err = g.Do("PROPFIND", u.Home(), "", "Depth", "0", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if a.Status != http.StatusTooManyRequests {
		t.Errorf("25 wrong passwords: %s", a)
	}
	well(t, n, u)
}
