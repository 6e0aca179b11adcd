package imip

import (
	"context"
	"crypto"
	"errors"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
)

// Who stands in From (want 22).
func TestChoose(t *testing.T) {
	t.Parallel()
	r := testRules()
	show := func(s Sender, err error) string {
		if err != nil {
			return err.Error()
		}
		return s.From.format() + " | " + s.ReplyTo.Email + " | " + s.Envelope + " | " + s.Organizer.Email
	}
	for _, c := range []struct {
		user  Mailbox
		keyed bool
		token string
		want  string
	}{
		{Mailbox{"Ann", "ann@plain.test"}, true, "", `"Ann" <ann@plain.test> |  | ann@plain.test | `},
		{Mailbox{"Ann", "ann@plain.test"}, false, "", `"Ann via Kalends" <calendar@alpha.test> | ann@plain.test | calendar@alpha.test | `},
		{Mailbox{"Ann", "ann@relay.test"}, false, "", `"Ann" <ann@relay.test> |  | ann@relay.test | `},
		{Mailbox{"", "ann@elsewhere.test"}, true, "", `"ann@elsewhere.test via Kalends" <calendar@alpha.test> | ann@elsewhere.test | calendar@alpha.test | `},
		{Mailbox{"Ann", "ann@alpha.test"}, true, "tok", `"Ann" <calendar+tok@alpha.test> | calendar+tok@alpha.test | calendar+tok@alpha.test | calendar+tok@alpha.test`},
		{Mailbox{"", "ann@alpha.test"}, true, "tok", `"ann@alpha.test" <calendar+tok@alpha.test> | calendar+tok@alpha.test | calendar+tok@alpha.test | calendar+tok@alpha.test`},
	} {
		if got := show(r.Choose(c.user, c.keyed, c.token)); got != c.want {
			t.Errorf("%+v:\n %s\nwant\n %s", c, got, c.want)
		}
	}
	if _, err := (Rules{}).Choose(Mailbox{"", "a@b.test"}, false, ""); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if _, err := (Rules{}).Choose(Mailbox{"", "a@b.test"}, false, "tok"); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

func testTransport(t *testing.T, o *postOffice, w *world, key crypto.Signer) *Transport {
	t.Helper()
	s, err := NewSubmitter(SubmitConfig{URL: "smtp://mx.alpha.test", Dial: dialTo(o.start(t, nil, false), false)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &Transport{Rules: testRules(), Submit: s, Keys: oneKey{"alpha.test", key}, Tokens: w.in.Tokens, LoopID: "node-1", Now: func() time.Time { return testNow }}
}

func invitation(to ...calendar.Address) scheduling.Parcel {
	return scheduling.Parcel{
		WireID: "dlv-1@alpha.test", Account: 7, Method: "REQUEST", Component: "VEVENT", UID: "meeting-1@alpha.test",
		Originator: "mailto:alice@alpha.test", Recipients: to, Domain: "mail.test", Kind: itip.KindNew, Queued: testNow,
		Body: []byte(ics("REQUEST", event("SEQUENCE:0", "SUMMARY:Board meeting", "DTSTART:20261123T090000Z", "DTEND:20261123T100000Z",
			organizerAlice, attendeeAlice, attendeeDave, "ATTENDEE;CN=Carl:mailto:carl@mail.test")...)),
	}
}

// The whole way in gateway mode: an invitation goes out, the answer comes back.
func TestGatewayRoundTrip(t *testing.T) {
	t.Parallel()
	o, w, key := &postOffice{}, newWorld(t), edKey(5)
	tr := testTransport(t, o, w, key)
	res, err := tr.Send(t.Context(), invitation("mailto:dave@mail.test", "MAILTO:carl@mail.test"))
	if err != nil || len(res) != 2 {
		t.Fatalf("%v %+v", err, res)
	}
	for _, r := range res {
		if r.Status != "1.1;Sent" || r.Retry || r.Transport != "mail" || r.Proof != "alpha.test" || len(r.Trace) != 1 || !strings.Contains(r.Detail, "250") {
			t.Errorf("%+v", r)
		}
	}
	if len(o.mails) != 2 || o.mails[0].from == o.mails[1].from || o.mails[0].to[0] != "dave@mail.test" {
		t.Fatalf("%+v", o.mails)
	}
	sub := o.mails[0].from
	if !strings.HasPrefix(sub, "calendar+") || !strings.HasSuffix(sub, "@alpha.test") {
		t.Fatalf("envelope %q", sub)
	}
	// Another Kalends takes it: proven, and From is the ORGANIZER.
	m, err := Parse(o.mails[0].data, Limits{})
	if err != nil || m.Fault != nil {
		t.Fatalf("%v %v", err, m.Fault)
	}
	dns := zone{txt: map[string][]string{"m1._domainkey.alpha.test": {keyRecord(t, key)}}}
	ev, err := (&Verifier{LookupTXT: dns.lookup}).Verify(t.Context(), m, false)
	if err != nil || ev.Proof.Domain != "alpha.test" {
		t.Fatalf("%+v %v", ev, err)
	}
	if err := Speaks(m.Object, ev.From); err != nil {
		t.Error(err)
	}
	c := m.Object.Components()[0]
	if org := c.Prop("ORGANIZER"); org.Value() != "mailto:"+sub || org.Param("CN") != "Alice Example" {
		t.Errorf("%s", c.Append(nil))
	}
	if strings.Contains(string(c.Append(nil)), "alice@alpha.test") {
		t.Errorf("the organizer stands there twice:\n%s", c.Append(nil))
	}
	parsed, err := mail.ReadMessage(strings.NewReader(string(o.mails[0].data)))
	if err != nil || !strings.Contains(parsed.Header.Get("Reply-To"), sub) || !strings.HasPrefix(parsed.Header.Get("Message-Id"), "<dlv-1.") {
		t.Errorf("%v %v", err, parsed.Header)
	}
	// A retry is the same mail.
	first := m.MessageID
	if _, err := tr.Send(t.Context(), invitation("mailto:dave@mail.test")); err != nil {
		t.Fatal(err)
	}
	if m, err = Parse(o.mails[2].data, Limits{}); err != nil || m.MessageID != first || o.mails[2].from != sub {
		t.Errorf("retry has id %q and sender %q", m.MessageID, o.mails[2].from)
	}
	// Dave answers.
	reply := strings.ReplaceAll(string(shape(t, "bare.eml")), "alice@alpha.test", sub)
	wantCodes(t, w.deliver(w.dave([]byte(reply)), sub), 250)
	if len(w.applied) != 1 || w.applied[0].Message.Components()[0].Value("ORGANIZER") != "mailto:alice@alpha.test" {
		t.Fatalf("%+v %+v", w.applied, w.held)
	}
}

// Without gateway mode the user speaks for himself where we may sign, and our
// address speaks for him where we may not.
func TestTransportDirect(t *testing.T) {
	t.Parallel()
	o, w, key := &postOffice{}, newWorld(t), edKey(5)
	tr := testTransport(t, o, w, key)
	p := invitation("mailto:dave@mail.test")
	p.Method, p.Kind = "REPLY", itip.KindReply
	p.Body = []byte(ics("REPLY", event("ORGANIZER:mailto:dave@mail.test", "ATTENDEE;CN=Alice;PARTSTAT=ACCEPTED:mailto:alice@alpha.test")...))
	if res, err := tr.Send(t.Context(), p); err != nil || res[0].Proof != "alpha.test" {
		t.Fatalf("%v %+v", err, res)
	}
	p.Originator = "mailto:eve@elsewhere.test"
	p.Body = []byte(strings.ReplaceAll(string(p.Body), "alice@alpha.test", "eve@elsewhere.test"))
	if res, err := tr.Send(t.Context(), p); err != nil || res[0].Status != "1.1;Sent" {
		t.Fatalf("%v %+v", err, res)
	}
	for i, want := range []string{"alice@alpha.test||alice@alpha.test", "calendar@alpha.test|eve@elsewhere.test|calendar@alpha.test"} {
		m, err := mail.ReadMessage(strings.NewReader(string(o.mails[i].data)))
		if err != nil {
			t.Fatal(err)
		}
		from, _ := m.Header.AddressList("From")
		reply := ""
		if l, err := m.Header.AddressList("Reply-To"); err == nil {
			reply = l[0].Address
		}
		if got := from[0].Address + "|" + reply + "|" + o.mails[i].from; got != want || m.Header.Get("Dkim-Signature") == "" {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Want 26: the status is what the mail server said.
func TestTransportStatus(t *testing.T) {
	t.Parallel()
	o := &postOffice{refuse: map[string]error{
		"gone@mail.test": &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"},
		"full@mail.test": &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"},
		"spam@mail.test": &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "policy"},
	}}
	w := newWorld(t)
	tr := testTransport(t, o, w, edKey(5))
	res, err := tr.Send(t.Context(), invitation("mailto:gone@mail.test", "mailto:full@mail.test", "mailto:spam@mail.test", "urn:uuid:1234", "mailto:dävid@mail.test", "mailto:dave@mail.test"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		status string
		retry  bool
		detail string
	}{
		{statusInvalid, false, "550 5.1.1 no such user"}, {statusFailed, true, "452 4.2.2 mailbox full"}, {statusFailed, false, "554 5.7.1 policy"},
		{statusInvalid, false, ""}, {statusInvalid, false, ""}, {statusSent, false, "250"},
	} {
		if r := res[i]; r.Status != want.status || r.Retry != want.retry || !strings.Contains(r.Detail, want.detail) || len(r.Trace) != 1 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	p := invitation("mailto:dave@mail.test")
	p.Originator = "mailto:x@broken.test"
	if res, _ = tr.Send(t.Context(), p); !res[0].Retry {
		t.Errorf("keys out of reach: %+v", res[0])
	}
	p.Body = []byte("nonsense")
	if res, _ = tr.Send(t.Context(), p); res[0].Retry || res[0].Status != statusFailed {
		t.Errorf("bad body: %+v", res[0])
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if res, _ = tr.Send(done, invitation("mailto:dave@mail.test")); !res[0].Retry {
		t.Errorf("cancelled: %+v", res[0])
	}
	tr.Submit = nil
	if res, _ = tr.Send(t.Context(), invitation("mailto:dave@mail.test")); res[0].Status != statusNoMeans || res[0].Retry {
		t.Errorf("no mail server: %+v", res[0])
	}
	if res, err := tr.FreeBusy(t.Context(), scheduling.Question{Recipients: []calendar.Address{"mailto:dave@mail.test"}}); err != nil || res[0].Status != statusNoFreeBusy {
		t.Errorf("%v %+v", err, res)
	}
}

func TestDeliveryID(t *testing.T) {
	t.Parallel()
	for wire, prefix := range map[string]string{"abc@x.test": "abc.", "<abc@x.test>": "abc.", "abc": "abc.", "a b": "", "": "", "a..b": "", strings.Repeat("x", 300): ""} {
		id := DeliveryID(wire, "mailto:dave@mail.test", "alpha.test")
		if !wellFormedID(id) || !strings.HasPrefix(id, prefix) || id != DeliveryID(wire, "MAILTO:DAVE@mail.test", "alpha.test") || id == DeliveryID(wire, "mailto:carl@mail.test", "alpha.test") {
			t.Errorf("%q: %q", wire, id)
		}
	}
}
