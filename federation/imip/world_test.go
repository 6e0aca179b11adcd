package imip

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// world is an installation of alpha.test around an Intake: everything behind
// it is kept in maps.
type world struct {
	t     testing.TB
	in    *Intake
	zone  zone
	store *memoryTokens

	mu       sync.Mutex
	users    map[string]bool
	applied  []scheduling.Inbound
	held     []Held
	bounces  []BounceStatus
	answer   func(scheduling.Inbound) ([]scheduling.RecipientResult, error)
	broken   error // of directory and quarantine
	daveSign crypto.Signer
	admit    map[string]Admission // by sender
}

func (w *world) Admit(_ context.Context, _, from calendar.Address, method string, proven bool) (Admission, error) {
	if !proven && w.admit[from.Key()] != Drop || AttendeeMethod(method) && w.admit[from.Key()] == Hold {
		return Admit, w.broken
	}
	return w.admit[from.Key()], w.broken
}

var testNow = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func testRules() Rules {
	return Rules{
		From:   Mailbox{Name: "Calendar", Email: "calendar@alpha.test"},
		Intake: "calendar@alpha.test",
		Domain: func(d string) DomainRules {
			switch d {
			case "alpha.test":
				return DomainRules{Local: true, Gateway: true}
			case "relay.test":
				return DomainRules{Local: true, FromUser: true}
			case "plain.test":
				return DomainRules{Local: true}
			}
			return DomainRules{}
		},
	}
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, users: map[string]bool{"mailto:alice@alpha.test": true, "mailto:bob@alpha.test": true}, store: &memoryTokens{m: map[TokenHash]Binding{}}}
	w.daveSign = edKey(1)
	w.zone = zone{txt: map[string][]string{"s._domainkey.mail.test": {keyRecord(t, w.daveSign)}}, down: map[string]bool{}}
	w.in = &Intake{
		Rules: testRules(), Directory: w, Tokens: &Tokens{Store: w.store, Secret: []byte(strings.Repeat("k", 32))},
		Verifier: &Verifier{LookupTXT: w.zone.lookup, AuthServ: "mx.alpha.test"}, Receiver: w, Quarantine: w, Policies: w, Bounces: w, LoopID: "node-1",
		Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
	}
	return w
}

func (w *world) Local(_ context.Context, a calendar.Address) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.users[a.Key()], w.broken
}

func (w *world) Receive(_ context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = append(w.applied, in)
	if w.answer != nil {
		return w.answer(in)
	}
	return []scheduling.RecipientResult{{Recipient: in.Recipients[0], Status: "2.0;Success"}}, nil
}

func (w *world) Keep(_ context.Context, h Held) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, h)
	return w.broken
}

func (w *world) Bounced(_ context.Context, _ Binding, _ string, s BounceStatus) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bounces = append(w.bounces, s)
	return nil
}

// dave signs a mail as mail.test does.
func (w *world) dave(raw []byte) []byte {
	return signed(w.t, raw, "mail.test", w.daveSign, "From", "To", "Subject", "Date", "Message-ID", "Content-Type")
}

// deliver hands a mail to the intake without a network.
func (w *world) deliver(raw []byte, rcpt ...string) []error {
	return w.in.Deliver(w.t.Context(), Envelope{From: "dave@mail.test", Recipients: rcpt}, raw)
}

func (w *world) token(attendee calendar.Address) string {
	w.t.Helper()
	tok, err := w.in.Tokens.Issue(w.t.Context(), Binding{Account: 7, UID: "meeting-1@alpha.test", Organizer: "mailto:alice@alpha.test", Attendee: attendee})
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// listen starts a listener in front of the intake and returns its address.
func (w *world) listen(cfg ListenConfig) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := NewServer(w.in, cfg)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

type memoryTokens struct {
	mu sync.Mutex
	m  map[TokenHash]Binding
}

func (s *memoryTokens) SaveToken(_ context.Context, h TokenHash, b Binding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[h]; !ok {
		s.m[h] = b
	}
	return nil
}

func (s *memoryTokens) FindToken(_ context.Context, h TokenHash) (Binding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.m[h]
	if !ok {
		return b, ErrNoToken
	}
	return b, nil
}

type oneKey struct {
	domain string
	key    crypto.Signer
}

func (k oneKey) MailKey(_ context.Context, domain string) (string, crypto.Signer, error) {
	if domain == "broken.test" {
		return "", nil, errors.New("no database")
	}
	if domain != k.domain {
		return "", nil, nil
	}
	return "m1", k.key, nil
}

func smtpCode(err error) int {
	var e *smtp.SMTPError
	if err == nil {
		return 250
	}
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

func codes(errs []error) []int {
	out := make([]int, len(errs))
	for i, err := range errs {
		out[i] = smtpCode(err)
	}
	return out
}

func wantCodes(t testing.TB, errs []error, want ...int) {
	t.Helper()
	if got := codes(errs); !slices.Equal(got, want) {
		t.Errorf("answers %v (%v), want %v", got, errs, want)
	}
}
