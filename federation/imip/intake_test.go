package imip

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// (a) The mail server copies the users' mail: the recipient is the user.
func TestIntakeForUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantCodes(t, w.deliver(w.dave(shape(t, "google-reply.eml")), "alice@alpha.test"), 250)
	if len(w.applied) != 1 || len(w.held) != 0 {
		t.Fatalf("%d applied, %d held", len(w.applied), len(w.held))
	}
	in := w.applied[0]
	if in.Via != "mail" || in.Proof != (scheduling.Proof{Domain: "mail.test"}) || in.Originator != "mailto:dave@mail.test" ||
		in.Recipients[0] != "mailto:alice@alpha.test" || in.Message.Method() != "REPLY" {
		t.Errorf("%+v", in)
	}
	if in.Once == nil || !strings.HasPrefix(in.Once.MessageID, "mail:") || in.Once.Domain != "mail.test" || in.Once.BodyHash == "" {
		t.Errorf("%+v", in.Once)
	}
	// The same mail again has the same key; for another person it has another.
	wantCodes(t, w.deliver(w.dave(shape(t, "google-reply.eml")), "alice@alpha.test", "bob@alpha.test"), 250, 250)
	if len(w.applied) != 3 || *w.applied[1].Once != *in.Once || w.applied[2].Once.MessageID == in.Once.MessageID {
		t.Errorf("%+v", w.applied)
	}
}

// A31: nothing that is not proven changes anything; it is kept instead.
func TestIntakeKeepsUnproven(t *testing.T) {
	t.Parallel()
	tok := newWorld(t).token("mailto:dave@mail.test")
	toToken := "calendar+" + tok + "@alpha.test"
	for name, c := range map[string]struct {
		raw    func(w *world) []byte
		rcpt   string
		reason Reason
		object bool
	}{
		"unsigned":          {func(w *world) []byte { return shape(t, "bare.eml") }, "alice@alpha.test", ReasonUnproven, true},
		"unsigned to token": {func(w *world) []byte { return shape(t, "bare.eml") }, toToken, ReasonUnproven, true},
		"forged header":     {func(w *world) []byte { return append([]byte("From: x@mail.test\r\n"), w.dave(shape(t, "bare.eml"))...) }, "alice@alpha.test", ReasonUnproven, true},
		"speaks for another": {func(w *world) []byte {
			return w.dave(replace(shape(t, "bare.eml"), "From: Dave <dave@", "From: Carl <carl@"))
		}, "alice@alpha.test", ReasonSpeaker, true},
		"not the organizer": {func(w *world) []byte {
			return w.dave([]byte(strings.ReplaceAll(string(shape(t, "bare.eml")), "REPLY", "CANCEL")))
		}, "bob@alpha.test", ReasonUnusable, false}, // the parameter says reply
		"cancel by attendee": {func(w *world) []byte {
			return w.dave([]byte(strings.NewReplacer("REPLY", "CANCEL", "reply", "cancel").Replace(string(shape(t, "bare.eml")))))
		}, "bob@alpha.test", ReasonSpeaker, true},
		"twins":       {func(w *world) []byte { return w.dave(shape(t, "twins-disagree.eml")) }, "alice@alpha.test", ReasonUnusable, false},
		"conflict":    {func(w *world) []byte { return w.dave(shape(t, "method-conflict.eml")) }, "alice@alpha.test", ReasonUnusable, false},
		"other event": {func(w *world) []byte { return w.dave(replace(shape(t, "bare.eml"), "UID:meeting-1", "UID:meeting-2")) }, toToken, ReasonToken, true},
		"words":       {func(w *world) []byte { return shape(t, "person.eml") }, toToken, ReasonText, false},
		"request there": {func(w *world) []byte {
			return w.dave([]byte(strings.NewReplacer("REPLY", "REQUEST", "reply", "request").Replace(string(shape(t, "bare.eml")))))
		}, toToken, ReasonToken, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.token("mailto:dave@mail.test")
			wantCodes(t, w.deliver(c.raw(w), c.rcpt), 250)
			if len(w.applied) != 0 || len(w.held) != 1 {
				t.Fatalf("%d applied, %d held", len(w.applied), len(w.held))
			}
			h := w.held[0]
			if h.Reason != c.reason || (h.Message != nil) != c.object || h.At != testNow || h.Recipient.Domain() != "alpha.test" || strings.Contains(string(h.Recipient), "calendar") {
				t.Errorf("%+v", h)
			}
		})
	}
}

// (b) Gateway mode: the token's address leads back to the organizer.
func TestIntakeToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := "calendar+" + w.token("mailto:dave@mail.test") + "@alpha.test"
	asked := strings.ReplaceAll(string(shape(t, "bare.eml")), "mailto:alice@alpha.test", "MAILTO:"+strings.ToUpper(to))
	wantCodes(t, w.deliver(w.dave([]byte(asked)), strings.ToUpper(to[:15])+to[15:]), 250) // mail servers change the case
	noOrganizer := w.dave(shape(t, "exchange-reply.eml"))
	wantCodes(t, w.deliver(noOrganizer, to), 250) // want 18
	if len(w.applied) != 2 || len(w.held) != 0 {
		t.Fatalf("%d applied, held %+v", len(w.applied), w.held)
	}
	for _, in := range w.applied {
		c := in.Message.Components()[0]
		if in.Recipients[0] != "mailto:alice@alpha.test" || c.Value("ORGANIZER") != "mailto:alice@alpha.test" {
			t.Errorf("%s\n%s", in.Recipients, c.Append(nil))
		}
	}
	// A party crasher: somebody else answers at Dave's address. Who he is is
	// proven; what he is to the event is scheduling's to say.
	carl := strings.ReplaceAll(asked, "dave@mail.test", "carl@mail.test")
	wantCodes(t, w.deliver(w.dave([]byte(carl)), to), 250)
	if n := len(w.applied); n != 3 || w.applied[2].Originator != "mailto:carl@mail.test" {
		t.Errorf("%d applied", n)
	}
}

func TestIntakePlainAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantCodes(t, w.deliver(w.dave(shape(t, "bare.eml")), "calendar@alpha.test"), 250)
	if len(w.applied) != 1 || w.applied[0].Recipients[0].Key() != "mailto:alice@alpha.test" {
		t.Fatalf("%+v", w.applied)
	}
	request := strings.NewReplacer("REPLY", "REQUEST", "reply", "request", "ORGANIZER:mailto:alice@alpha.test", "ORGANIZER:mailto:dave@mail.test",
		"To: alice@alpha.test", "To: bob@alpha.test, Ghost <ghost@alpha.test>, x@elsewhere.test, bob@alpha.test, calendar@alpha.test\r\nCc: alice@alpha.test").Replace(string(shape(t, "bare.eml")))
	wantCodes(t, w.deliver(w.dave([]byte(request)), "calendar@alpha.test"), 250)
	var to []string
	for _, in := range w.applied[1:] {
		to = append(to, in.Recipients[0].Email())
	}
	if got := strings.Join(to, " "); got != "bob@alpha.test alice@alpha.test" {
		t.Errorf("delivered to %q", got)
	}
}

func TestIntakeAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.dave(shape(t, "bare.eml"))
	wantCodes(t, w.deliver(good, "alice@alpha.test", "nobody@alpha.test", "x@elsewhere.test", "calendar+aaaaaaaaaaaaaaaaaaaaaaaaaa@alpha.test", "calendar+short@alpha.test", "alice+x@alpha.test"),
		250, 550, 550, 550, 550, 550)

	w.zone.down["s._domainkey.mail.test"] = true
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 451)
	delete(w.zone.down, "s._domainkey.mail.test")

	w.answer = func(scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		return nil, errors.New("database is away")
	}
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 451)
	w.answer = func(scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		return nil, scheduling.ErrReplayConflict
	}
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 250)
	if h := w.held[len(w.held)-1]; h.Reason != ReasonUnusable {
		t.Errorf("%+v", h)
	}
	w.answer = func(in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		return []scheduling.RecipientResult{{Status: "5.1;later", Retry: true}}, nil
	}
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 451)
	w.answer = func(in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		return []scheduling.RecipientResult{{Status: "3.8;No authority"}}, nil
	}
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 250) // refused for good: no bounce
	w.broken = errors.New("database is away")
	wantCodes(t, w.deliver(good, "alice@alpha.test"), 451)
	wantCodes(t, w.deliver([]byte("\r\n\r\n"), "alice@alpha.test"), 554)
	wantCodes(t, w.deliver(bytes.Repeat([]byte("x: y\r\n"), 2<<20), "alice@alpha.test"), 552)
}

// A33: what programs write by themselves must not set off more mail.
func TestIntakeLoops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := "calendar+" + w.token("mailto:dave@mail.test") + "@alpha.test"
	for _, name := range []string{"vacation.eml", "read-receipt.eml", "dsn.eml", "person.eml"} {
		wantCodes(t, w.deliver(w.dave(shape(t, name)), "alice@alpha.test"), 250)
	}
	wantCodes(t, w.deliver(shape(t, "vacation.eml"), tok), 250)
	wantCodes(t, w.in.Deliver(t.Context(), Envelope{Recipients: []string{tok}}, shape(t, "person.eml")), 250) // null sender
	own := append([]byte("Kalends-Loop: node-1\r\n"), w.dave(shape(t, "bare.eml"))...)
	wantCodes(t, w.deliver(own, "alice@alpha.test"), 250)
	if len(w.applied)+len(w.held)+len(w.bounces) != 0 {
		t.Fatalf("%d applied, %+v held, %d bounces", len(w.applied), w.held, len(w.bounces))
	}
	wantCodes(t, w.deliver(append([]byte("Kalends-Loop: node-2\r\n"), w.dave(shape(t, "bare.eml"))...), "alice@alpha.test"), 250)
	if len(w.applied) != 1 {
		t.Error("another installation's mail was dropped")
	}
	// What hands on keeps the marks: in a circle it is refused, and its sender told.
	wantCodes(t, w.deliver(append([]byte("Kalends-Loop: node-2\r\nKalends-Loop: node-1\r\n"), w.dave(shape(t, "bare.eml"))...), "alice@alpha.test"), 554)
	wantCodes(t, w.deliver(append([]byte(strings.Repeat("Kalends-Loop: x\r\n", 51)), w.dave(shape(t, "bare.eml"))...), "alice@alpha.test"), 554)
	if len(w.applied) != 1 {
		t.Error("a mail in a circle was applied")
	}
	long := append([]byte(strings.Repeat("Received: by x\r\n", 51)), w.dave(shape(t, "bare.eml"))...)
	wantCodes(t, w.deliver(long, "alice@alpha.test"), 554)
}

func TestIntakeLimiter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.in.Limiter = &Buckets{Sender: 2}
	good := w.dave(shape(t, "bare.eml"))
	for range 5 { // forged mail uses up nothing of his
		w.deliver(shape(t, "bare.eml"), "alice@alpha.test")
	}
	if len(w.held) != 2 {
		t.Errorf("%d of 5 forged mails kept", len(w.held))
	}
	for _, want := range []int{250, 250, 451} {
		wantCodes(t, w.deliver(good, "alice@alpha.test"), want)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	b := &Buckets{Sender: 2, Domain: 3, Recipient: 100}
	at := testNow
	allow := func(sender string, want bool) {
		t.Helper()
		if got := b.Allow(sender, "mailto:alice@alpha.test", at); got != want {
			t.Errorf("%s: %v", sender, got)
		}
	}
	allow("a@x.test", true)
	allow("a@x.test", true)
	allow("a@x.test", false)
	allow("b@x.test", true)
	allow("c@x.test", false) // the domain's share is used up
	allow("a@y.test", true)
	at = at.Add(31 * time.Minute)
	allow("a@x.test", true)
	allow("a@x.test", false)
	for i := range maxBuckets * 2 {
		b.Allow(strings.Repeat("z", i%50)+string(rune('a'+i%26))+"@"+strings.Repeat("q", i%97)+".test", "r", at.Add(time.Duration(i)*time.Second))
	}
	if len(b.seen) > maxBuckets+3 {
		t.Errorf("%d buckets", len(b.seen))
	}
}

// LMTP gives an answer for every recipient.
func TestLMTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answer = func(in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		if in.Recipients[0].Key() == "mailto:bob@alpha.test" {
			return nil, errors.New("database is away")
		}
		return []scheduling.RecipientResult{{Status: "2.0;Success"}}, nil
	}
	conn, err := net.Dial("tcp", w.listen(ListenConfig{LMTP: true, Hostname: "alpha.test"}))
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Hello("mx.alpha.test"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("AUTH is offered")
	}
	for range 2 { // two mails over one connection
		if err := c.Mail("dave@mail.test", nil); err != nil {
			t.Fatal(err)
		}
		for rcpt, want := range map[string]int{"alice@alpha.test": 250, "bob@alpha.test": 250, "ghost@alpha.test": 550, "x@elsewhere.test": 550} {
			if got := smtpCode(c.Rcpt(rcpt, nil)); got != want {
				t.Errorf("RCPT %s: %d", rcpt, got)
			}
		}
		d, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		// Trusted, since it is LMTP: our mail server's verdict counts.
		_, _ = d.Write([]byte("Authentication-Results: mx.alpha.test; dmarc=pass header.from=mail.test\r\n"))
		_, _ = d.Write(shape(t, "bare.eml"))
		_, err = d.CloseWithLMTPResponse()
		var each smtp.LMTPDataError
		if !errors.As(err, &each) || len(each) != 1 || each["bob@alpha.test"] == nil || each["bob@alpha.test"].Code != 451 {
			t.Errorf("answers %v", err)
		}
	}
	if len(w.applied) != 4 || !w.applied[0].Proof.Weak {
		t.Errorf("%d applied", len(w.applied))
	}
}

func TestSMTPListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.in.Limits.Bytes = 64 << 10
	addr := w.listen(ListenConfig{Hostname: "alpha.test", Recipients: 3})
	send := func(raw []byte, to ...string) error {
		c, err := smtp.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail("dave@mail.test", to, bytes.NewReader(raw))
	}
	if err := send(w.dave(shape(t, "bare.eml")), "alice@alpha.test"); err != nil || len(w.applied) != 1 {
		t.Errorf("%v, %d applied", err, len(w.applied))
	}
	if err := send(w.dave(shape(t, "bare.eml")), "x@elsewhere.test"); smtpCode(err) != 550 {
		t.Errorf("relayed: %v", err)
	}
	if err := send(bytes.Repeat([]byte("x: y\r\n"), 20<<10), "alice@alpha.test"); smtpCode(err) != 552 {
		t.Errorf("too big: %v", err)
	}
	if err := send([]byte("x: y\r\n\r\n"+strings.Repeat("z", 8000)+"\r\n"), "alice@alpha.test"); err == nil {
		t.Error("line of 8000 octets accepted")
	}
	if err := send(w.dave(shape(t, "bare.eml")), "alice@alpha.test", "alice@alpha.test", "alice@alpha.test", "alice@alpha.test"); smtpCode(err) != 452 {
		t.Errorf("four recipients: %v", err)
	}
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "192.0.2.9:1": false, "[::ffff:127.0.0.1]:1": true} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := trusted(a, nil); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if !trusted(&net.UnixAddr{Name: "x", Net: "unix"}, nil) {
		t.Error("Unix socket")
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, again, b := w.token("mailto:dave@mail.test"), w.token("MAILTO:Dave@mail.test"), w.token("mailto:carl@mail.test")
	if a != again || a == b || len(a) != 26 || strings.ToLower(a) != a {
		t.Errorf("%q %q %q", a, again, b)
	}
	for h := range w.store.m {
		if strings.Contains(string(h[:]), a) {
			t.Error("the token itself is stored")
		}
	}
	got, err := w.in.Tokens.Resolve(t.Context(), strings.ToUpper(a))
	if err != nil || got.Account != 7 || got.Attendee.Key() != "mailto:dave@mail.test" {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"", "x", b[:25] + "0", b + "a"} {
		if _, err := w.in.Tokens.Resolve(t.Context(), bad); !errors.Is(err, ErrNoToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := (&Tokens{Store: w.store, Secret: []byte("short")}).Issue(t.Context(), Binding{}); !errors.Is(err, ErrConfig) {
		t.Errorf("short secret: %v", err)
	}
	for addr, want := range map[calendar.Address]string{
		"mailto:calendar@alpha.test": "|true", "MAILTO:Calendar+ABC@Alpha.test": "abc|true", "mailto:calendars@alpha.test": "|false",
		"mailto:calendar+x@beta.test": "|false", "urn:uuid:1": "|false",
	} {
		tok, ok := w.in.Rules.token(addr)
		if got := tok + map[bool]string{true: "|true", false: "|false"}[ok]; got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}
