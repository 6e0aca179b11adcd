package caldav_test

import (
	"strings"
	"testing"
)

// Who may write into a calendar changes its members, and not the home that it is in:
// RFC 3744 Appendix B asks for unbind, and for bind, on the collection above.
func TestSharedCalendarStays(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const work = home + "office/"
		w.do("user01", "MKCALENDAR", work, "", "").want(201)
		w.do("user01", "PUT", work+"one.ics", "", event("one", "x", "20260105T100000Z")).want(201)
		w.acl("user01", work, 200, ace("grant", "user02", "read", "write"))
		missing := "<D:href>" + home + "</D:href><D:privilege><D:unbind/>"
		w.do("user02", "DELETE", work, "", "").want(403, "need-privileges", missing)
		w.do("user02", "DELETE", work, "Schedule-Reply: F", "").want(403, "need-privileges", missing)
		w.do("user02", "MOVE", work, "Destination: "+home+"taken/", "").want(403, "need-privileges", "<D:href>"+home+"</D:href><D:privilege><D:bind/>", missing)
		w.do("user01", "GET", work+"one.ics", "", "").want(200)
		w.do("user02", "DELETE", work+"one.ics", "", "").want(204)

		// RFC 4918 §9.9.4
		w.do("user01", "MOVE", work, "Destination: "+cal, "").want(403, "resource-must-be-null")
		w.do("user01", "MOVE", work, "Destination: "+cal+"\nOverwrite: F", "").want(412)

		// What is given on the home holds there.
		w.acl("user01", home, 200, ace("grant", "user02", "read", "bind", "unbind"))
		w.do("user02", "MOVE", work, "Destination: "+home+"moved/", "").want(201)
		w.do("user02", "DELETE", home+"moved/", "Schedule-Reply: F", "").want(204)
	})
}

// RFC 3744 Appendix B: what COPY and MOVE need where they write, and that
// need-privileges names the resource that lacks it (§7.1.1).
func TestCopyMovePrivileges(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const theirs = "/dav/calendars/user02/calendar/"
		put := func(uid string) {
			w.t.Helper()
			w.do("user01", "PUT", cal+uid+".ics", "", event(uid, "x", "20260105T100000Z"))
		}
		for _, c := range []struct {
			grant, method string
			exists        bool
			status        int
			part          string
		}{
			{"read", "COPY", false, 403, "<D:href>" + theirs + "</D:href><D:privilege><D:bind/>"},
			{"bind", "COPY", false, 201, ""},
			{"bind unbind read", "COPY", true, 403, "<D:href>" + theirs + "a.ics</D:href><D:privilege><D:write-properties/>"},
			{"read write-content write-properties", "COPY", true, 204, ""},
			{"read write-content write-properties", "MOVE", true, 403, "<D:href>" + theirs + "</D:href><D:privilege><D:unbind/>"},
			{"read bind unbind", "MOVE", true, 204, ""},
			{"bind", "MOVE", false, 201, ""},
		} {
			put("a")
			w.do("user02", "DELETE", theirs+"a.ics", "", "")
			if c.exists {
				w.do("user02", "PUT", theirs+"a.ics", "", event("a", "theirs", "20260105T100000Z")).want(201)
			}
			w.acl("user02", theirs, 200, ace("grant", "user01", strings.Fields(c.grant)...))
			w.do("user01", c.method, cal+"a.ics", "Destination: "+theirs+"a.ics", "").want(c.status, c.part)
		}
	})
}

// Abuse A24: what is hidden from a sharee he neither overwrites by COPY and MOVE nor
// learns the address of when he meets its UID.
func TestHiddenIsNotOverwritten(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const own = "/dav/calendars/user02/calendar/"
		for uid, class := range map[string]string{"priv": "PRIVATE", "conf": "CONFIDENTIAL"} {
			w.do("user01", "PUT", cal+uid+".ics", "", event(uid, "Secret", "20260105T100000Z", "CLASS:"+class)).want(201)
			w.do("user02", "PUT", own+uid+".ics", "", event(uid, "Theirs", "20260106T100000Z")).want(201)
		}
		w.acl("user01", cal, 200, ace("grant", "user02", "read", "write"))
		for _, uid := range []string{"priv", "conf"} {
			for _, m := range []string{"COPY", "MOVE"} {
				w.do("user02", m, own+uid+".ics", "Destination: "+cal+uid+".ics", "").want(403, "need-privileges")
			}
			w.do("user01", "GET", cal+uid+".ics", "", "").want(200, "SUMMARY:Secret")
		}
		w.do("user02", "PUT", cal+"new.ics", "", event("priv", "x", "20260106T100000Z")).want(403, "no-uid-conflict").lacks("priv.ics")
		w.do("user02", "PUT", cal+"new.ics", "", event("conf", "x", "20260106T100000Z")).want(403, "no-uid-conflict", cal+"conf.ics")
		w.do("user01", "PUT", cal+"new.ics", "", event("priv", "x", "20260106T100000Z")).want(403, "no-uid-conflict", cal+"priv.ics")
	})
}
