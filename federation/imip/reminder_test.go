package imip

import (
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// Want 44: the mail of an EMAIL alarm has the alarm's words and the event's
// facts, comes from the server's own address, and is no invitation.
func TestReminder(t *testing.T) {
	t.Parallel()
	o, w, key := &postOffice{}, newWorld(t), edKey(5)
	tr := testTransport(t, o, w, key)
	body := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20261101T000000Z\r\nSUMMARY:Talk\r\nLOCATION:Room 5\r\nDTSTART:20261123T090000Z\r\n" +
		"BEGIN:VALARM\r\nACTION:EMAIL\r\nSUMMARY:Gr\u00fc\u00dfe\\nBcc: eve@x.test\r\nDESCRIPTION:Take the slides along.\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	p := scheduling.Parcel{WireID: "dlv-2@alpha.test", Account: 7, Component: "VEVENT", UID: "1", Originator: "mailto:alice@alpha.test", OriginatorName: "Alice",
		Recipients: []calendar.Address{"mailto:alice@alpha.test"}, Domain: "alpha.test", Kind: scheduling.KindAlarm, Queued: testNow, Body: []byte(body)}
	for range 2 { // a repeat is the same mail
		res, err := tr.Send(t.Context(), p)
		if err != nil || len(res) != 1 || res[0].Status != "1.1;Sent" || res[0].Proof != "alpha.test" {
			t.Fatalf("%v %+v", err, res)
		}
	}
	if len(o.mails) != 2 || o.mails[0].from != "calendar@alpha.test" || o.mails[0].to[0] != "alice@alpha.test" {
		t.Fatalf("%+v", o.mails)
	}
	first, err := mail.ReadMessage(strings.NewReader(string(o.mails[0].data)))
	if err != nil {
		t.Fatal(err)
	}
	second, err := mail.ReadMessage(strings.NewReader(string(o.mails[1].data)))
	if err != nil {
		t.Fatal(err)
	}
	if first.Header.Get("Message-ID") == "" || first.Header.Get("Message-ID") != second.Header.Get("Message-ID") {
		t.Error("Message-ID", first.Header.Get("Message-ID"), second.Header.Get("Message-ID"))
	}
	if first.Header.Get("Auto-Submitted") != "auto-generated" || first.Header.Get("Bcc") != "" || !strings.HasPrefix(first.Header.Get("Content-Type"), "text/plain") {
		t.Error(first.Header)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(first.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Take the slides along.", "Talk", "Room 5", "23 November 2026"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "VCALENDAR") {
		t.Error("carries a calendar object")
	}
}
