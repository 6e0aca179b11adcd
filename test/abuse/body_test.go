package abuse

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// exchange writes a whole request and reads nothing before, as Python's
// http.client does. Then it returns the answer.
func exchange(t *testing.T, c net.Conn, r *bufio.Reader, head string, body io.Reader) (int, string) {
	t.Helper()
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(c, body); err != nil {
		t.Fatalf("the body cannot be sent to its end: %v", err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("half an answer: %v", err)
	}
	return resp.StatusCode, string(text)
}

// TestRefusedBody is RFC 9112 §9.6: who sends a body that is refused gets to
// read why, though he reads only when all of it is sent.
func TestRefusedBody(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	const size = 25 << 20 // more than the buffers of two sockets take, and than max-resource-size
	plain := func() io.Reader { return io.LimitReader(repeated("DESCRIPTION:x\r\n"), size) }
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
	const put = "PUT /dav/calendars/alice/calendar/large.ics HTTP/1.1\r\nHost: cal.alpha.test\r\nContent-Type: text/calendar\r\n"
	const report = "REPORT /dav/calendars/alice/calendar/ HTTP/1.1\r\nHost: cal.alpha.test\r\nContent-Type: application/xml\r\n"
	for what, x := range map[string]struct {
		head   string
		body   io.Reader
		status int
		part   string
	}{
		"too large":          {put + basic + length, plain(), http.StatusForbidden, "max-resource-size"},
		"too large, chunked": {put + basic + "Transfer-Encoding: chunked\r\n\r\n", chunked(size), http.StatusForbidden, "max-resource-size"},
		"no password":        {put + length, plain(), http.StatusUnauthorized, ""},
		"XML":                {report + basic + length, plain(), http.StatusRequestEntityTooLarge, ""},
		"XML, chunked":       {report + basic + "Transfer-Encoding: chunked\r\n\r\n", chunked(size), http.StatusRequestEntityTooLarge, ""},
		"no such page":       {"POST /nowhere HTTP/1.1\r\nHost: cal.alpha.test\r\n" + length, plain(), http.StatusNotFound, ""},
		"iSchedule":          {"POST /ischedule HTTP/1.1\r\nHost: cal.alpha.test\r\n" + length, plain(), http.StatusForbidden, ""},
	} {
		t.Run(what, func(t *testing.T) {
			c := dial(t, n)
			r := bufio.NewReader(c)
			status, text := exchange(t, c, r, x.head, x.body)
			if status != x.status || !strings.Contains(text, x.part) {
				t.Fatalf("%d %.200s; want %d with %q", status, text, x.status, x.part)
			}
			if strings.Contains(what, "chunked") { // its connection ends with it
				return
			}
			status, text = exchange(t, c, r, "GET /dav/calendars/alice/calendar/before.ics HTTP/1.1\r\nHost: cal.alpha.test\r\n"+basic+"\r\n", strings.NewReader(""))
			if status != http.StatusOK || !strings.Contains(text, "UID:before") {
				t.Errorf("the next request on this connection: %d %.200s", status, text)
			}
		})
	}
	well(t, n, u)
}

// TestRefusedBodySlow is A15: a body that is refused and does not come, or never
// ends, holds its connection for a bounded time; nobody is asked to send one.
func TestRefusedBodySlow(t *testing.T) {
	t.Parallel()
	n, u := start(t)
	const put = "PUT /dav/calendars/alice/calendar/large.ics HTTP/1.1\r\nHost: cal.alpha.test\r\nContent-Type: text/calendar\r\nContent-Length: 26214400\r\n"
	for what, x := range map[string]struct{ text, status string }{
		"nothing comes":     {put + basic + "\r\n", "403"},
		"no password":       {put + "\r\nBEGIN:VCALENDAR\r\n", "401"},
		"waits for the 100": {put + basic + "Expect: 100-continue\r\n\r\n", "403"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := dial(t, n)
			if _, err := io.WriteString(c, x.text); err != nil {
				t.Fatal(err)
			}
			answer, err := closed(c)
			if err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
			if !strings.HasPrefix(answer, "HTTP/1.1 "+x.status) {
				t.Errorf("the answer is %.100q; want %s", answer, x.status)
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		t.Parallel()
		c := dial(t, n)
		if _, err := io.WriteString(c, "PUT /dav/calendars/alice/calendar/large.ics HTTP/1.1\r\nHost: cal.alpha.test\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if sent, err := io.Copy(c, chunked(256<<20)); err == nil {
			t.Errorf("the server took all of %d MB", sent>>20)
		}
	})
	well(t, n, u)
}

// repeated is a text again and again.
func repeated(text string) io.Reader { return &loop{text: text} }

type loop struct {
	text string
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], l.text[l.at:])
		n, l.at = n+k, (l.at+k)%len(l.text)
	}
	return n, nil
}

// chunked is a chunked body of so many octets.
func chunked(size int) io.Reader {
	chunk := "8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n"
	return io.MultiReader(io.LimitReader(repeated(chunk), int64(len(chunk)*(size/0x8000))), strings.NewReader("0\r\n\r\n"))
}
