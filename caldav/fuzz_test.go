package caldav

import (
	"strings"
	"testing"
)

// FuzzPath: a path that is read is written in one way, which names the same
// thing, and no part of it leads elsewhere (A10, A17).
func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "/", "/dav/", "/dav", "/dav/principals/users/alice/", "/dav/principals/users/alice/calendar-proxy-read/", "/dav/calendars/alice/calendar/a%20b.ics", "/dav/calendars/alice//calendar/",
		"/dav/calendars/alice/calendar/%2e%2e", "/dav/calendars/alice/calendar/a%2Fb.ics", "/dav/calendars/%61lice/inbox/", "/dav/push/x", "//dav/", "/dav/calendars/alice/calendar/%00", "/dav/calendars/alice/calendar/%ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		p, ok := ParsePath(escaped)
		if !ok {
			return
		}
		for _, s := range []string{p.Handle, p.Collection, p.Object} {
			if s == "." || s == ".." || strings.ContainsAny(s, "\x00\r\n") {
				t.Fatalf("%q has the part %q", escaped, s)
			}
		}
		again, ok := ParsePath(p.String())
		if p.NoSlash = false; !ok || again != p {
			t.Fatalf("%q is %+v, written %q, and that is %+v %v", escaped, p, p.String(), again, ok)
		}
	})
}
