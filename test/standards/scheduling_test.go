package standards

import (
	"regexp"
	"strings"
	"testing"
)

// meeting is an event of an organizer with attendees; a name with "!" after it
// is an address that nobody has.
func meeting(uid string, day int, organizer string, attendees ...string) string {
	lines := []string{"ORGANIZER:mailto:" + organizer + "@example.com", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:" + organizer + "@example.com"}
	for _, a := range attendees {
		name, params, _ := strings.Cut(a, ";")
		if params != "" {
			params = ";" + params
		}
		lines = append(lines, "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE"+params+":mailto:"+name+"@example.com")
	}
	return event(uid, day, lines...)
}

// copyOf finds a user's copy in the default calendar: its path and text.
func (w *world) copyOf(user, uid string) (path, text string) {
	w.Helper()
	col := "/dav/calendars/" + user + "/calendar/"
	a := w.do(user, "REPORT", col, "Depth: 1", report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">`+uid+`</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter>`)).want(207)
	for _, h := range a.hrefs() {
		return h, w.do(user, "GET", h, "", "").want(200).text
	}
	return "", ""
}

var folded = regexp.MustCompile(`\r\n[ \t]`)

// attendee is the ATTENDEE line of a name.
func attendee(text, name string) string {
	for line := range strings.Lines(folded.ReplaceAllString(text, "")) {
		if strings.HasPrefix(line, "ATTENDEE") && strings.Contains(line, "mailto:"+name+"@") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (w *world) contains(what, text string, parts ...string) {
	w.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			w.Errorf("%s lacks %q: %s", what, p, text)
		}
	}
}

// RFC 6638 §3.2, §4, §7: an invitation, its answer, a change and the end, seen
// from both sides.
func TestImplicitScheduling(t *testing.T) {
	engines(t, func(w *world) {
		put := w.do("alice", "PUT", cal+"m.ics", "", meeting("m", 5, "alice", "bob", "nobody")).want(201)
		if put.Header.Get("Schedule-Tag") == "" || put.Header.Get("ETag") != "" {
			w.Errorf("a PUT that was stored with changes: %v", put.Header)
		}
		mine := w.do("alice", "GET", cal+"m.ics", "", "").want(200).header("Schedule-Tag", put.Header.Get("Schedule-Tag"))
		w.contains("bob's status", attendee(mine.text, "bob"), "SCHEDULE-STATUS=1.2")
		w.contains("nobody's status", attendee(mine.text, "nobody"), "SCHEDULE-STATUS=3.7")

		// §4: an inbox item and a copy that is transparent until he accepts.
		items := w.do("bob", "PROPFIND", inbox, "Depth: 1", propfind("<C:calendar-data/>")).want(207, "METHOD:REQUEST", "UID:m")
		path, text := w.copyOf("bob", "m")
		w.contains("bob's copy", text, "TRANSP:TRANSPARENT", "PARTSTAT=NEEDS-ACTION")
		if strings.Contains(text, "METHOD") || strings.Contains(text, "SCHEDULE-STATUS") {
			w.Errorf("what is the server's own is in bob's copy: %s", text)
		}
		// Deleting the inbox item answers nothing.
		for _, h := range items.hrefs() {
			if strings.HasSuffix(h, ".ics") {
				w.do("bob", "DELETE", h, "", "").want(204)
			}
		}
		w.contains("alice's event", attendee(w.do("alice", "GET", cal+"m.ics", "", "").text, "bob"), "PARTSTAT=NEEDS-ACTION")

		// §3.2.2.1: an attendee may not move the event.
		w.do("bob", "PUT", path, "", strings.Replace(text, "20260105T100000Z", "20260106T100000Z", 1)).want(403, "allowed-attendee-scheduling-object-change")
		tag := w.do("bob", "HEAD", path, "", "").want(200).Header.Get("Schedule-Tag")
		w.do("bob", "PUT", path, `If-Schedule-Tag-Match: "other"`, strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED", 1)).want(412)
		w.do("bob", "PUT", path, "If-Schedule-Tag-Match: "+tag, strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED", 1)).want(204)
		mine = w.do("alice", "GET", cal+"m.ics", "", "").want(200).header("Schedule-Tag", put.Header.Get("Schedule-Tag")) // §3.2.10: an answer leaves it
		w.contains("alice's event", attendee(mine.text, "bob"), "PARTSTAT=ACCEPTED", "SCHEDULE-STATUS=2.0")
		_, text = w.copyOf("bob", "m")
		if strings.Contains(text, "TRANSP:TRANSPARENT") {
			w.Errorf("an accepted event does not take time: %s", text)
		}
		w.do("alice", "PROPFIND", "/dav/calendars/alice/inbox/", "Depth: 1", propfind("<C:calendar-data/>")).want(207, "METHOD:REPLY")

		// §3.2.8: another time asks again; §2.1.4 of RFC 5546: SEQUENCE rises.
		w.do("alice", "PUT", cal+"m.ics", "", strings.Replace(mine.text, "20260105T100000Z", "20260109T100000Z", 1)).want(204)
		_, text = w.copyOf("bob", "m")
		w.contains("bob's copy", text, "20260109T100000Z", "SEQUENCE:1")
		w.contains("bob in bob's copy", attendee(text, "bob"), "PARTSTAT=NEEDS-ACTION")

		// §3.2.1.3: the end.
		w.do("alice", "DELETE", cal+"m.ics", "", "").want(204)
		_, text = w.copyOf("bob", "m")
		w.contains("bob's copy", text, "STATUS:CANCELLED")
	})
}

// RFC 6638 §3.2.4: what is refused.
func TestSchedulingPreconditions(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "MKCALENDAR", "/dav/calendars/alice/office/", "", "").want(201)
		w.do("alice", "PUT", cal+"m.ics", "", meeting("m", 5, "alice", "bob")).want(201)
		w.do("alice", "PUT", "/dav/calendars/alice/office/m.ics", "", meeting("m", 5, "alice", "bob")).want(403, "unique-scheduling-object-resource", cal+"m.ics")
		two := ics(vevent("x", 5, "RRULE:FREQ=WEEKLY", "ORGANIZER:mailto:alice@example.com", "ATTENDEE:mailto:bob@example.com"),
			vevent("x", 13, "RECURRENCE-ID:20260112T100000Z", "ORGANIZER:mailto:carol@example.com", "ATTENDEE:mailto:bob@example.com"))
		w.do("alice", "PUT", cal+"x.ics", "", two).want(403, "same-organizer-in-all-components")
		w.do("alice", "PUT", cal+"m.ics", "", strings.Replace(meeting("m", 5, "alice", "bob"), "ORGANIZER:mailto:alice@", "ORGANIZER:mailto:carol@", 1)).want(403, "allowed-organizer-scheduling-object-change")
		// §3.2.3: MOVE keeps everything and tells nobody.
		before := w.do("bob", "PROPFIND", inbox, "Depth: 1", propfind("<D:getetag/>")).hrefs()
		tag := w.do("alice", "HEAD", cal+"m.ics", "", "").Header.Get("Schedule-Tag")
		w.do("alice", "MOVE", cal+"m.ics", "Destination: "+w.url+"/dav/calendars/alice/office/m.ics", "").want(201).header("Schedule-Tag", tag)
		w.do("bob", "PROPFIND", inbox, "Depth: 1", propfind("<D:getetag/>")).wantHrefs(before...)
	})
}

// RFC 6638 §7.1, §7.2, §8.1.
func TestSchedulingParameters(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PUT", cal+"m.ics", "", meeting("m", 5, "alice", "bob;SCHEDULE-AGENT=NONE", "carol;SCHEDULE-AGENT=CLIENT")).want(201)
		for _, u := range []string{"bob", "carol"} {
			if p, _ := w.copyOf(u, "m"); p != "" {
				w.Errorf("%s was invited although the server is not the agent", u)
			}
		}
		w.do("alice", "PUT", cal+"n.ics", "", meeting("n", 6, "alice", "bob")).want(201)
		path, _ := w.copyOf("bob", "n")
		w.do("bob", "DELETE", path, "Schedule-Reply: F", "").want(204)
		w.contains("alice's event", attendee(w.do("alice", "GET", cal+"n.ics", "", "").text, "bob"), "PARTSTAT=NEEDS-ACTION")
		w.do("alice", "PUT", cal+"o.ics", "", meeting("o", 7, "alice", "carol")).want(201)
		path, text := w.copyOf("carol", "o")
		w.do("carol", "PUT", path, "Schedule-Reply: T", strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=DECLINED", 1)).want(204)
		w.contains("alice's event", attendee(w.do("alice", "GET", cal+"o.ics", "", "").text, "carol"), "PARTSTAT=DECLINED")
	})
}

// RFC 6638 §3.2.6: an attendee of one instance sees that instance; RFC 5546
// §3.2.5: taking him out of it cancels it for him.
func TestInstances(t *testing.T) {
	engines(t, func(w *world) {
		people := []string{"ORGANIZER:mailto:alice@example.com", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@example.com", "ATTENDEE:mailto:bob@example.com"}
		master := vevent("s", 5, append(people, "RRULE:FREQ=WEEKLY;COUNT=4")...)
		guest := vevent("s", 12, append(people, "RECURRENCE-ID:20260112T100000Z", "ATTENDEE:mailto:carol@example.com")...)
		w.do("alice", "PUT", cal+"s.ics", "", ics(master, guest)).want(201)
		_, text := w.copyOf("carol", "s")
		w.contains("carol's copy", text, "RECURRENCE-ID:20260112T100000Z")
		if strings.Contains(text, "RRULE") {
			w.Errorf("carol sees the series: %s", text)
		}
		_, text = w.copyOf("bob", "s")
		w.contains("bob's copy", text, "RRULE", "RECURRENCE-ID:20260112T100000Z")
		w.do("alice", "PUT", cal+"s.ics", "", ics(strings.Replace(master, "RRULE:", "EXDATE:20260119T100000Z\r\nRRULE:", 1))).want(204)
		_, text = w.copyOf("bob", "s")
		w.contains("bob's copy", text, "20260119T100000Z")
		_, text = w.copyOf("carol", "s")
		w.contains("carol's copy", text, "STATUS:CANCELLED")
	})
}

// RFC 6638 §5, §10: free/busy by the outbox.
func TestOutbox(t *testing.T) {
	engines(t, func(w *world) {
		w.do("bob", "PUT", "/dav/calendars/bob/calendar/b.ics", "", event("b", 5)).want(201)
		question := func(organizer, more string) string {
			return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:q\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nDTEND:20260201T000000Z\r\nORGANIZER:mailto:" + organizer +
				"@example.com\r\nATTENDEE:mailto:bob@example.com\r\nATTENDEE:mailto:nobody@example.com\r\n" + more + "END:VFREEBUSY\r\nEND:VCALENDAR\r\n"
		}
		out := "/dav/calendars/alice/outbox/"
		w.do("alice", "POST", out, "", question("alice", "")).want(200, "<C:schedule-response", "mailto:bob@example.com", "2.0;Success", "METHOD:REPLY", "20260105T100000Z/", "3.7;Invalid")
		w.do("alice", "POST", out, "", question("bob", "")).want(403, "valid-organizer")
		w.do("bob", "POST", out, "", question("alice", "")).want(403)
		w.do("alice", "POST", out, "", meeting("m", 5, "alice", "bob")).want(403, "valid-scheduling-message")
		w.do("alice", "PUT", out+"x.ics", "", event("x", 5)).want(403)
	})
}

// Refreshes: the others see an answer, without mail in the inbox.
func TestOthersSeeAnswers(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PUT", cal+"m.ics", "", meeting("m", 5, "alice", "bob", "carol")).want(201)
		before := w.do("carol", "PROPFIND", "/dav/calendars/carol/inbox/", "Depth: 1", propfind("<D:getetag/>")).hrefs()
		path, text := w.copyOf("bob", "m")
		self := attendee(text, "bob")
		w.do("bob", "PUT", path, "", strings.Replace(folded.ReplaceAllString(text, ""), self, strings.Replace(self, "NEEDS-ACTION", "ACCEPTED", 1), 1)).want(204)
		w.work()
		_, text = w.copyOf("carol", "m")
		w.contains("bob in carol's copy", attendee(text, "bob"), "PARTSTAT=ACCEPTED")
		w.do("carol", "PROPFIND", "/dav/calendars/carol/inbox/", "Depth: 1", propfind("<D:getetag/>")).wantHrefs(before...)
	})
}
