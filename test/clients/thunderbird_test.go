package clients

import (
	"strings"
	"testing"
)

// TestThunderbird is clients.md 2, 3, 4 and 7.
func TestThunderbird(t *testing.T) {
	t.Parallel()
	p := start(t, "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Thunderbird/153.7.0")
	// It tries the address as a file first, without a password.
	nobody := p.as("")
	nobody.do("PROPFIND", "/", "Depth: 0", propfind("<D:resourcetype/>")).want(401)
	nobody.do("PUT", "/", "If-Match: \"x\"", "x").want(401)
	if s := p.do("PUT", "/", "If-Match: \"x\"", "x").Status; s < 400 || s >= 500 {
		t.Errorf("PUT /: %d", s)
	}
	if got := p.do("PROPFIND", "/", "Depth: 0", propfind("<D:resourcetype/><D:displayname/><D:current-user-principal/>")).of("/").text("current-user-principal"); got != principal {
		t.Errorf("principal %q", got)
	}
	// The calendar itself: what decides what it can do.
	r := p.do("PROPFIND", cal, "Depth: 0", propfind("<D:resourcetype/><D:owner/><D:current-user-principal/><D:current-user-privilege-set/><D:supported-report-set/><C:supported-calendar-component-set/><CS:getctag/>")).of(cal)
	for _, want := range []string{"write", "write-content", "write-properties", "all"} {
		if e := r.prop("current-user-privilege-set"); e == nil || !strings.Contains(e.Inner, ":"+want+"/>") {
			t.Errorf("without %s it is read-only: %+v", want, e)
		}
	}
	for _, want := range []string{"sync-collection", "calendar-query", "calendar-multiget", "free-busy-query", "expand-property", "principal-property-search"} {
		if e := r.prop("supported-report-set"); e == nil || !strings.Contains(e.Inner, want) {
			t.Errorf("supported-report-set lacks %s", want)
		}
	}
	// OPTIONS on the parent decides who mails.
	if dav := p.do("OPTIONS", home, "", "").want(200).Header.Get("DAV"); !strings.Contains(dav, "calendar-auto-schedule") {
		t.Errorf("DAV: %s", dav)
	}
	// All four must be there, else it does not schedule.
	r = p.do("PROPFIND", principal, "Depth: 0", propfind("<C:calendar-home-set/><C:calendar-user-address-set/><C:schedule-inbox-URL/><C:schedule-outbox-URL/>")).of(principal)
	if s := r.statuses(); s["200"] != 4 {
		t.Errorf("principal: %v", s)
	}
	// sync-collection with Depth 1; paths it encodes itself.
	p.do("PUT", cal+"a%40b.ics", "If-None-Match: *", event("a")).want(201)
	s := p.do("REPORT", cal, "Depth: 1", sync("", "1", "<D:getcontenttype/><D:getetag/>")).parsed()
	if len(s.Responses) != 1 || s.Responses[0].Href != cal+"a@b.ics" || s.Responses[0].text("getcontenttype") != "text/calendar; charset=utf-8; component=VEVENT" {
		t.Errorf("sync: %+v", s.Responses)
	}
	p.do("GET", cal+"a@b.ics", "", "").want(200)
	p.do("DELETE", cal+"a%40b.ics", "", "").want(204)
	s2 := p.do("REPORT", cal, "Depth: 1", sync(s.Token, "1", "<D:getcontenttype/><D:getetag/>")).parsed()
	if len(s2.Responses) != 1 || !strings.Contains(s2.Responses[0].Status, "404") || len(s2.Responses[0].Stats) != 0 {
		t.Errorf("a deletion: %+v", s2.Responses)
	}
	// A bare error element on 403 would make it back off: there is a condition.
	p.do("REPORT", cal, "Depth: 1", sync("urn:kalends:sync:1-2-3", "1", "<D:getetag/>")).want(403, "<D:valid-sync-token/>")
	// An invitation; bob's Thunderbird reads the inbox and deletes what it read,
	// which declines nothing.
	invite := event("party", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@alpha.test")
	p.do("PUT", cal+"party.ics", "If-None-Match: *", invite).want(201)
	bob := p.as("bob")
	bobs := bob.copyOf("bob", "party")
	items := bob.do("PROPFIND", "/dav/calendars/bob/inbox/", "Depth: 1", propfind("<D:getcontenttype/><D:resourcetype/><D:getetag/>")).hrefs()
	if len(items) != 2 {
		t.Fatalf("inbox %v", items)
	}
	m := bob.do("REPORT", "/dav/calendars/bob/inbox/", "Depth: 1", multiget("<D:getetag/><C:calendar-data/>", items[1])).parsed()
	if !strings.Contains(m.Responses[0].text("calendar-data"), "METHOD:REQUEST") {
		t.Errorf("inbox item: %+v", m.Responses)
	}
	bob.do("DELETE", items[1], "", "").want(204)
	p.do("GET", cal+"party.ics", "", "").want(200).lacks("DECLINED")
	// The same answer twice is harmless.
	text := bob.do("GET", bobs, "", "").want(200).text
	answered := strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=TENTATIVE", 1)
	for range 2 {
		bob.do("PUT", bobs, "", answered).want(204)
	}
	p.eventually(cal+"party.ics", "PARTSTAT=TENTATIVE")
	// Free/busy at the outbox, with Originator and Recipient and any case of mailto.
	q := "BEGIN:VCALENDAR\r\nPRODID:-//Mozilla.org/NONSGML Mozilla Calendar V1.1//EN\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:20261201T000000Z\r\nDTSTART:20270104T000000Z\r\nDTEND:20270105T000000Z\r\nORGANIZER:mailto:alice@alpha.test\r\nATTENDEE:MAILTO:bob@alpha.test\r\nATTENDEE:mailto:zoe@alpha.test\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
	p.do("POST", outbox, "Originator: mailto:alice@alpha.test\nRecipient: mailto:bob@alpha.test", q).want(200, "2.0;", "3.7;", "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20270104T100000Z/")
	// Falls back to searching the principal by its home.
	p.do("REPORT", "/dav/principals/", "Depth: 1", report("D:principal-property-search", `<D:property-search><D:prop><C:calendar-home-set/></D:prop><D:match>`+home+`</D:match></D:property-search><D:prop><C:calendar-home-set/><C:calendar-user-address-set/><C:schedule-inbox-URL/><C:schedule-outbox-URL/></D:prop>`)).wantHrefs(principal)
}
