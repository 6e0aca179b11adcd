package federation

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/kalends/kalends/test/blackbox"
)

// TestMailLimits: what an administrator sets about the size and the number of
// mails is what the listener does (A32, A35). What is over is for later, except
// a mail that will never be small enough.
func TestMailLimits(t *testing.T) {
	t.Parallel()
	lmtp := blackbox.Port(t)
	n := blackbox.NewWorld(t).Node("alpha.test", "", fmt.Sprintf("KALENDS_LMTP_LISTEN=127.0.0.1:%d", lmtp), "KALENDS_MAIL_TRUSTED_AUTHSERV=mx.alpha.test",
		"KALENDS_MAIL_MAX_SIZE=20000", "KALENDS_MAIL_PER_SENDER=3", "KALENDS_MAIL_PER_DOMAIN=5", "KALENDS_MAIL_PER_RECIPIENT=7")
	n.Start()
	n.People("alice", "bob")
	count := 0
	send := func(from, to string, pad int) error {
		t.Helper()
		count++
		domain := from[strings.IndexByte(from, '@')+1:]
		text := fmt.Sprintf("Authentication-Results: mx.alpha.test; dmarc=pass header.from=%s\r\nFrom: %s\r\nTo: %s\r\nMessage-ID: <%d@%s>\r\nMIME-Version: 1.0\r\nSubject: x\r\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\r\n\r\n", domain, from, to, count, domain) +
			strings.Replace((blackbox.Event{UID: fmt.Sprint("limit-", count), Start: monday, Organizer: "mailto:" + from, Attendees: []string{"mailto:" + to}}).String(), "VERSION:2.0", "VERSION:2.0\r\nMETHOD:REQUEST\r\nX-PAD:"+strings.Repeat("x\r\n ", pad/4)+"x", 1)
		return blackbox.SendLMTP(lmtp, from, to, []byte(text))
	}
	code := func(err error) int {
		var e *smtp.SMTPError
		if errors.As(err, &e) {
			return e.Code
		}
		if err != nil {
			t.Errorf("%v", err)
		}
		return 250
	}
	for i, c := range []struct {
		from, to string
		pad      int
		want     int
	}{
		{"dave@mail.test", "alice@alpha.test", 0, 250},
		{"dave@mail.test", "alice@alpha.test", 30000, 552},
		{"dave@mail.test", "alice@alpha.test", 0, 250},
		{"dave@mail.test", "alice@alpha.test", 0, 250},
		{"dave@mail.test", "alice@alpha.test", 0, 451}, // the fourth of one address
		{"dora@mail.test", "alice@alpha.test", 0, 250},
		{"dora@mail.test", "alice@alpha.test", 0, 250},
		{"dirk@mail.test", "alice@alpha.test", 0, 451}, // the sixth of one domain
		{"a@other.test", "alice@alpha.test", 0, 250},
		{"b@other.test", "alice@alpha.test", 0, 250},
		{"a@third.test", "alice@alpha.test", 0, 451}, // the eighth for one person
		{"a@third.test", "bob@alpha.test", 0, 250},
	} {
		if got := code(send(c.from, c.to, c.pad)); got != c.want {
			t.Errorf("%d: %s to %s: %d, want %d", i, c.from, c.to, got, c.want)
		}
	}
	if text, err := n.Command("", "config", "show"); err != nil || !strings.Contains(text, "mail_per_sender") {
		t.Errorf("config show: %v %s", err, text)
	}
	n.Set("KALENDS_MAIL_PER_SENDER=0")
	if text, err := n.Command("", "config", "check"); err == nil {
		t.Errorf("no mail at all is a good limit: %s", text)
	}
}
