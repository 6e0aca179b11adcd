package caldav_test

import (
	"strings"
	"testing"
)

// RFC 6638 §6.2, want 42: a calendar that may be written is not enough to send for
// its owner. The privilege on his outbox is, as its owner or a write proxy has it;
// what is sent then says by whom.
func TestSendingForOthers(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const outbox, inbox3 = home + "outbox/", "/dav/calendars/user03/calendar/"
		meeting := func(uid, organizer, guest string) string {
			return event(uid, "Plans", "20270105T100000Z", "ORGANIZER:mailto:"+organizer+"@example.com", "ATTENDEE:mailto:"+organizer+"@example.com", "ATTENDEE:mailto:"+guest+"@example.com")
		}
		copyOf := func(user, uid string) string {
			t.Helper()
			for _, h := range w.do(user, "PROPFIND", "/dav/calendars/"+user+"/calendar/", "Depth: 1", propfind("<D:getetag/>")).hrefs() {
				if !strings.HasSuffix(h, ".ics") {
					continue
				}
				if text := strings.ReplaceAll(w.do(user, "GET", h, "", "").text, "\r\n ", ""); strings.Contains(text, "UID:"+uid+"\r\n") {
					return text
				}
			}
			return ""
		}
		w.acl("user01", cal, 200, ace("grant", "user02", "read", "write"))
		w.do("user02", "PUT", cal+"own.ics", "", event("own", "Dentist", "20270105T100000Z")).want(201)
		w.do("user02", "PUT", cal+"a.ics", "", meeting("a", "user01", "user03")).want(403, "need-privileges", outbox, "schedule-send-invite")
		if text := copyOf("user03", "a"); text != "" {
			t.Errorf("an invitation that was refused arrived:\n%s", text)
		}

		w.acl("user01", outbox, 200, ace("grant", "user02", "<C:schedule-send-invite/>"))
		w.do("user02", "PUT", cal+"a.ics", "", meeting("a", "user01", "user03")).want(201)
		if text := copyOf("user03", "a"); !strings.Contains(text, `ORGANIZER;SENT-BY="mailto:user02@example.com":mailto:user01@example.com`) {
			t.Errorf("the invitation does not say who sent it:\n%s", text)
		}
		w.acl("user01", outbox, 200)
		w.do("user02", "DELETE", cal+"a.ics", "", "").want(403, "need-privileges", "schedule-send-invite")

		// Answers: another privilege.
		w.do("user03", "PUT", inbox3+"b.ics", "", meeting("b", "user03", "user01")).want(201)
		invitation := copyOf("user01", "b")
		if invitation == "" {
			t.Fatal("no invitation")
		}
		answer := strings.Replace(invitation, "RSVP=TRUE", "PARTSTAT=ACCEPTED", 1)
		name := ""
		for _, h := range w.do("user01", "PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")).hrefs() {
			if strings.HasSuffix(h, ".ics") && strings.Contains(w.do("user01", "GET", h, "", "").text, "UID:b\r\n") {
				name = h
			}
		}
		w.do("user02", "PUT", name, "", answer).want(403, "need-privileges", outbox, "schedule-send-reply")
		w.delegates("user01", "write", 207, "user02")
		w.do("user02", "PUT", name, "", answer).want(204)
		if text := copyOf("user03", "b"); !strings.Contains(text, `SENT-BY="mailto:user02@example.com"`) || !strings.Contains(text, "PARTSTAT=ACCEPTED") {
			t.Errorf("the answer of the delegate:\n%s", text)
		}
		w.do("user02", "DELETE", cal+"a.ics", "", "").want(204)
		w.do("user02", "POST", outbox, "Content-Type: text/calendar", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:f\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20270105T000000Z\r\nDTEND:20270106T000000Z\r\nORGANIZER:mailto:user01@example.com\r\nATTENDEE:mailto:user03@example.com\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n").want(200, "FREEBUSY")

		// Rights that are taken away fail on the next request.
		w.delegates("user01", "write", 207)
		w.do("user02", "PUT", name, "", strings.Replace(answer, "PARTSTAT=ACCEPTED", "PARTSTAT=DECLINED", 1)).want(403, "schedule-send-reply")
		w.do("user02", "POST", outbox, "Content-Type: text/calendar", "x").want(403)
	})
}
