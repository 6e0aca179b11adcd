package clients

import (
	"regexp"
	"strings"
	"testing"
)

// people are the lines of a meeting that alice calls for bob.
var people = []string{"ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:bob@alpha.test"}

func meeting(uid string, more ...string) string { return event(uid, append(more, people...)...) }

// unfolded is a text without the folding of long lines.
func unfolded(text string) string { return strings.ReplaceAll(text, "\r\n ", "") }

// TestOwnChanges is clients.md 3: what somebody writes into his own copy goes to
// nobody, changes no tag but his, and outlives what the organizer changes.
func TestOwnChanges(t *testing.T) {
	t.Parallel()
	p := start(t, "Mozilla/5.0 Thunderbird/153.8.0")
	p.do("PUT", cal+"own.ics", "If-None-Match: *", meeting("own")).want(201)
	bob := p.as("bob")
	copied := bob.copyOf("bob", "own")
	text := bob.do("GET", copied, "", "").want(200).text
	own := "CATEGORIES:Private,Travel\r\nCOLOR:turquoise\r\nX-MOZ-LASTACK:20270104T094500Z\r\nX-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC\r\n" +
		"BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT20M\r\nDESCRIPTION:Leave\r\nEND:VALARM\r\n"
	accepted := strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED", 1)
	bob.do("PUT", copied, "", strings.Replace(accepted, "END:VEVENT", own+"END:VEVENT", 1)).want(204)
	p.eventually(cal+"own.ics", "PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:bob", "PARTSTAT=ACCEPTED;SCHEDULE-STATUS=2.0:mailto:bob", "SCHEDULE-STATUS=2.0:mailto:bob")
	before := p.do("GET", cal+"own.ics", "", "").want(200).lacks("CATEGORIES", "COLOR", "X-MOZ", "X-APPLE", "VALARM")
	// An alarm more is nobody else's affair: alice's event stays to the letter.
	text = bob.do("GET", copied, "", "").want(200).text
	bob.do("PUT", copied, "", strings.Replace(text, "TRIGGER:-PT20M", "TRIGGER:-PT40M", 1)).want(204)
	after := p.do("GET", cal+"own.ics", "", "").want(200)
	if after.text != before.text || after.Header.Get("ETag") != before.Header.Get("ETag") || after.Header.Get("Schedule-Tag") != before.Header.Get("Schedule-Tag") {
		t.Errorf("bob's alarm changed alice's event: %s", after.text)
	}
	// alice moves it: bob is asked again, and has what is his.
	moved := strings.Replace(after.text, "DTSTART:20270104T10", "DTSTART:20270104T15", 1)
	p.do("PUT", cal+"own.ics", "If-Schedule-Tag-Match: "+after.Header.Get("Schedule-Tag"), moved).want(204)
	bob.eventually(copied, "DTSTART:20270104T15")
	got := bob.do("GET", copied, "", "").want(200, "CATEGORIES:Private", "Travel", "COLOR:turquoise", "X-MOZ-LASTACK:20270104T094500Z", "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC", "TRIGGER:-PT40M", "DESCRIPTION:Leave", "NEEDS-ACTION")
	// Outlook wants the alarm at the end of what the server writes.
	if !strings.HasSuffix(strings.TrimSpace(got.text), "END:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR") {
		t.Errorf("the alarm is not the last part: %s", got.text)
	}
}

// TestInstanceNames is clients.md 3: where the server makes an instance of its own
// for an answer, its RECURRENCE-ID is of the kind and in the zone of the series, else
// Apple's programs show it twice.
func TestInstanceNames(t *testing.T) {
	t.Parallel()
	p := start(t, "iOS/18.4 (22E240) dataaccessd/1.0")
	bob := p.as("bob")
	zone := vtimezone[strings.Index(vtimezone, "BEGIN:VTIMEZONE"):strings.Index(vtimezone, "END:VCALENDAR")]
	for _, c := range []struct{ uid, start, zone, id string }{
		{"zoned", "DTSTART;TZID=Europe/Berlin:20270104T100000", zone, "RECURRENCE-ID;TZID=Europe/Berlin:20270111T100000"},
		{"utc", "DTSTART:20270104T100000Z", "", "RECURRENCE-ID:20270111T100000Z"},
		{"day", "DTSTART;VALUE=DATE:20270104", "", "RECURRENCE-ID;VALUE=DATE:20270111"},
		{"floating", "DTSTART:20270104T100000", "", "RECURRENCE-ID:20270111T100000"},
	} {
		text := strings.Replace(meeting(c.uid, "RRULE:FREQ=WEEKLY;COUNT=4"), "BEGIN:VEVENT", c.zone+"BEGIN:VEVENT", 1)
		text = strings.Replace(text, "DTSTART:20270104T100000Z", c.start, 1)
		if c.uid == "day" {
			text = strings.Replace(text, "DURATION:PT1H", "DURATION:P1D", 1)
		}
		p.do("PUT", cal+c.uid+".ics", "If-None-Match: *", text).want(201)
		copied := bob.copyOf("bob", c.uid)
		have := bob.do("GET", copied, "", "").want(200).text
		// bob declines the second date, as his phone writes it.
		own := have[strings.Index(have, "BEGIN:VEVENT") : strings.Index(have, "END:VEVENT")+len("END:VEVENT\r\n")]
		own = regexp.MustCompile(`RRULE[^\r]*\r\n`).ReplaceAllString(own, "")
		own = strings.Replace(own, c.start, strings.Replace(c.start, "20270104", "20270111", 1)+"\r\n"+c.id, 1)
		own = strings.Replace(own, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=DECLINED", 1)
		bob.do("PUT", copied, "", strings.Replace(have, "END:VCALENDAR", own+"END:VCALENDAR", 1)).want(204)
		p.eventually(cal+c.uid+".ics", "PARTSTAT=DECLINED")
		got := unfolded(p.do("GET", cal+c.uid+".ics", "", "").want(200).text)
		if !strings.Contains(got, c.id+"\r\n") || !strings.Contains(got, strings.Replace(c.start, "20270104", "20270111", 1)+"\r\n") || strings.Count(got, "RECURRENCE-ID") != 1 {
			t.Errorf("%s: %s", c.uid, got)
		}
	}
}

// TestWhoSchedules is clients.md 3: a program that invites by itself says so for each
// person (the Outlook plug-in does), and then the server does not, in either direction.
func TestWhoSchedules(t *testing.T) {
	t.Parallel()
	p := start(t, "CalDavSynchronizer/4.4")
	inboxOf := func(user string) int {
		return len(p.as(user).do("PROPFIND", "/dav/calendars/"+user+"/inbox/", "Depth: 1", propfind("<D:getetag/>")).hrefs()) - 1
	}
	text := event("mixed", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION;SCHEDULE-AGENT=CLIENT:mailto:bob@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION:MAILTO:carol@alpha.test")
	p.do("PUT", cal+"mixed.ics", "If-None-Match: *", text).want(201)
	p.as("carol").copyOf("carol", "mixed")
	for range 2 {
		if n := inboxOf("bob"); n != 0 {
			t.Errorf("bob has %d messages from the server beside the program's own", n)
		}
		if n := inboxOf("carol"); n != 1 {
			t.Errorf("carol has %d messages", n)
		}
		p.do("PUT", cal+"mixed.ics", "", p.do("GET", cal+"mixed.ics", "", "").want(200).text).want(204) // once more, unchanged
	}
	p.do("GET", cal+"mixed.ics", "", "").want(200, "SCHEDULE-AGENT=CLIENT")
	// bob's program took the invitation from his mail and answers by mail itself.
	bob := p.as("bob")
	taken := strings.Replace(event("mixed", "ORGANIZER;SCHEDULE-AGENT=CLIENT:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@alpha.test"), "SUMMARY:About", "SUMMARY:From a mail about", 1)
	if s := bob.do("PUT", "/dav/calendars/bob/calendar/mixed.ics", "", taken).Status; s != 201 {
		t.Fatalf("bob's own copy: %d", s)
	}
	items := inboxOf("alice")
	bob.do("DELETE", "/dav/calendars/bob/calendar/mixed.ics", "", "").want(204)
	if n := inboxOf("alice"); n != items {
		t.Errorf("alice got %d messages", n-items)
	}
	p.do("GET", cal+"mixed.ics", "", "").want(200).lacks("DECLINED")
}

// TestOldSequence is clients.md 3: a program that writes an event with an old SEQUENCE,
// because it never counts, is not turned away, and the number does not fall.
func TestOldSequence(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	p.do("PUT", cal+"seq.ics", "If-None-Match: *", meeting("seq", "SEQUENCE:3")).want(201)
	copied := p.as("bob").copyOf("bob", "seq")
	p.do("PUT", cal+"seq.ics", "", strings.Replace(meeting("seq", "SEQUENCE:0"), "20270104T10", "20270104T12", 1)).want(204)
	p.do("GET", cal+"seq.ics", "", "").want(200, "SEQUENCE:4")
	p.as("bob").eventually(copied, "DTSTART:20270104T12")
}

// TestSharedLooks is clients.md 1: colour and order that somebody gives to a calendar
// shared with him are his own, and what his program stores beside stays with him. The
// name is the owner's.
func TestSharedLooks(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	bob := p.as("bob")
	looks := func(color, order, note string) string {
		return proppatch(`<I:calendar-color>` + color + `</I:calendar-color><I:calendar-order>` + order + `</I:calendar-order><X:note xmlns:X="http://example.net/">` + note + `</X:note>`)
	}
	see := func(who *program, want [3]string) {
		t.Helper()
		r := who.do("PROPFIND", cal, "Depth: 0", propfind(`<I:calendar-color/><I:calendar-order/><X:note xmlns:X="http://example.net/"/><D:displayname/>`)).of(cal)
		if got := [3]string{r.text("calendar-color"), r.text("calendar-order"), r.text("note")}; got != want || r.text("displayname") != "Work" {
			t.Errorf("%s sees %v and the name %q, want %v", who.user, got, r.text("displayname"), want)
		}
	}
	p.do("PROPPATCH", cal, "", looks("#FF2968FF", "1", "alice's")).want(207).lacks("403", "424")
	p.do("PROPPATCH", cal, "", proppatch("<D:displayname>Work</D:displayname>")).want(207, "200 OK")
	for i, privilege := range []string{"<D:privilege><D:read/></D:privilege>", "<D:privilege><D:read/></D:privilege><D:privilege><D:write/></D:privilege>"} {
		p.do("ACL", cal, "", report("D:acl", "<D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant>"+privilege+"</D:grant></D:ace>")).want(200)
		if i == 0 {
			see(bob, [3]string{"#FF2968FF", "1", "alice's"}) // until he has his own
		}
		bob.do("PROPPATCH", cal, "", looks("#00FF0"+string(rune('0'+i)), "9", "bob's")).want(207).lacks("403", "424")
		bob.do("PROPPATCH", cal, "", proppatch("<D:displayname>Hers</D:displayname>")).want(207, "403 Forbidden")
		see(bob, [3]string{"#00FF0" + string(rune('0'+i)), "9", "bob's"})
		see(p, [3]string{"#FF2968FF", "1", "alice's"})
	}
}
