package imip

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// FuzzDSN reads the body of message/delivery-status (RFC 3464).
func FuzzDSN(f *testing.F) {
	_, body, _ := strings.Cut(string(shape(f, "dsn.eml")), "message/delivery-status\r\n\r\n")
	status, _, _ := strings.Cut(body, "\r\n\r\n--")
	f.Add([]byte(status), "")
	f.Add([]byte("Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; <a@b.test>\nAction: FAILED\nStatus: 5.1.1 (no)\n"), "quoted-printable")
	f.Add([]byte("\n\n\nFinal-Recipient:\n\nOriginal-Recipient: x\n"), "base64")
	f.Fuzz(func(t *testing.T, text []byte, encoding string) {
		var b Bounce
		b.readStatus(bytes.NewReader(text), encoding)
		if len(b.Recipients) > 100 {
			t.Fatalf("%d recipients", len(b.Recipients))
		}
		for _, r := range b.Recipients {
			if strings.ContainsAny(r.Detail+r.Status, "\r\n") || len(r.Detail) > 2000 {
				t.Fatalf("%+v", r)
			}
			_ = r.failed()
		}
	})
}

// FuzzIntake delivers mails that nothing vouches for: nothing is ever applied
// (A31), and every answer is one of SMTP.
func FuzzIntake(f *testing.F) {
	for _, name := range []string{"bare.eml", "dsn.eml", "tnef.eml", "vacation.eml", "person.eml", "method-conflict.eml", "google-reply.eml"} {
		f.Add(shape(f, name), "dave@mail.test", false)
		f.Add(shape(f, name), "", true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, sender string, toToken bool) {
		w := newWorld(t)
		w.in.Limits.Bytes = 1 << 20
		rcpt := "alice@alpha.test"
		if toToken {
			tok, err := w.in.Tokens.Issue(t.Context(), Binding{Purpose: storage.TokenBounce, Account: 7, UID: "meeting-1@alpha.test", Organizer: "mailto:alice@alpha.test", Attendee: "mailto:dave@mail.test"})
			if err != nil {
				t.Fatal(err)
			}
			rcpt = "calendar+" + tok + "@alpha.test"
		}
		errs := w.in.Deliver(t.Context(), Envelope{From: sender, Recipients: []string{rcpt}}, raw)
		if len(errs) != 1 || smtpCode(errs[0]) < 250 || smtpCode(errs[0]) > 599 {
			t.Fatalf("answers %v", errs)
		}
		if len(w.applied) != 0 {
			t.Fatalf("applied without proof: %+v", w.applied)
		}
		if len(w.bounces) > 0 && (sender != "" || !toToken) {
			t.Fatal("a bounce was believed")
		}
	})
}
