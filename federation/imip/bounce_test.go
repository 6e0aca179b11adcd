package imip

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// RFC 3464, A33: a bounce is believed at the address that the envelope of our
// mail had, from the null sender, when it is for good and about that attendee;
// everything else changes nothing.
func TestIntakeBounces(t *testing.T) {
	t.Parallel()
	dsn := string(shape(t, "dsn.eml"))
	two := strings.Replace(dsn, "Final-Recipient: rfc822; d.ave", "Final-Recipient: rfc822; other@mail.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\nFinal-Recipient: rfc822; d.ave", 1)
	for name, c := range map[string]struct {
		raw    string
		sender string
		to     string // purpose of the address
		want   string // status that is told, "" none
	}{
		"mailbox full":              {dsn, "", storage.TokenBounce, "5.2.2"},
		"of two the right one":      {two, "", storage.TokenBounce, "5.2.2"},
		"without action":            {strings.Replace(dsn, "Action: failed\r\n", "", 1), "", storage.TokenBounce, "5.2.2"},
		"delayed":                   {strings.NewReplacer("Action: failed", "Action: delayed", "Status: 5.2.2", "Status: 4.2.2").Replace(dsn), "", storage.TokenBounce, ""},
		"delivered":                 {strings.NewReplacer("Action: failed", "Action: delivered", "Status: 5.2.2", "Status: 2.0.0").Replace(dsn), "", storage.TokenBounce, ""},
		"relayed":                   {strings.Replace(dsn, "Action: failed", "Action: relayed", 1), "", storage.TokenBounce, ""},
		"from somebody":             {dsn, "eve@mail.test", storage.TokenBounce, ""},
		"at the address of answers": {dsn, "", storage.TokenReply, ""},
		"about two others":          {strings.NewReplacer("d.ave@", "e.ve@", "rfc822;dave@", "rfc822;eve@").Replace(two), "", storage.TokenBounce, ""},
		"a read receipt":            {string(shape(t, "read-receipt.eml")), "", storage.TokenBounce, ""},
		"a vacation":                {string(shape(t, "vacation.eml")), "", storage.TokenBounce, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tok, err := w.in.Tokens.Issue(t.Context(), Binding{Purpose: c.to, Account: 7, UID: "meeting-1@alpha.test", Organizer: "mailto:alice@alpha.test", Attendee: "mailto:dave@mail.test"})
			if err != nil {
				t.Fatal(err)
			}
			wantCodes(t, w.in.Deliver(t.Context(), Envelope{From: c.sender, Recipients: []string{"calendar+" + tok + "@alpha.test"}}, []byte(c.raw)), 250)
			if len(w.applied)+len(w.held) != 0 {
				t.Errorf("%d applied, %+v held", len(w.applied), w.held)
			}
			got := ""
			if len(w.bounces) > 0 {
				got = w.bounces[0].Status
			}
			if got != c.want || len(w.bounces) > 1 {
				t.Errorf("told %+v, want %q", w.bounces, c.want)
			}
		})
	}
}

// The envelope of our mails is an address for their bounces, and for nothing
// else: it stands neither in the header nor in the object.
func TestEnvelopeForBounces(t *testing.T) {
	t.Parallel()
	o, w := &postOffice{}, newWorld(t)
	tr := testTransport(t, o, w, edKey(5))
	rules := tr.Rules.Domain
	for _, gateway := range []bool{false, true} {
		o.mails = nil
		tr.Rules.Domain = func(d string) DomainRules { r := rules(d); r.Bounces, r.Gateway = true, gateway; return r }
		for range 2 {
			if _, err := tr.Send(t.Context(), invitation("mailto:dave@mail.test", "mailto:carl@mail.test")); err != nil {
				t.Fatal(err)
			}
		}
		if len(o.mails) != 4 || o.mails[0].from == o.mails[1].from || o.mails[0].from != o.mails[2].from {
			t.Fatalf("envelopes %+v", o.mails)
		}
		for _, m := range o.mails {
			local, domain, _ := strings.Cut(m.from, "@")
			token := strings.TrimPrefix(local, "calendar+")
			b, err := w.in.Tokens.Resolve(t.Context(), token)
			if domain != "alpha.test" || err != nil || b.Purpose != storage.TokenBounce || b.Attendee.Email() != m.to[0] {
				t.Errorf("envelope %s stands for %+v (%v)", m.from, b, err)
			}
			if bytes.Contains(m.data, []byte(token)) {
				t.Errorf("the envelope's token stands in the mail:\n%s", m.data)
			}
		}
	}
}
