package imip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Directory knows who lives here.
type Directory interface {
	// Local reports whether an address belongs to an account that can get
	// messages.
	Local(ctx context.Context, a calendar.Address) (bool, error)
}

// Receiver applies messages; scheduling.Service is one.
type Receiver interface {
	Receive(ctx context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error)
}

// Reason says why a mail is kept for its recipient instead of being applied.
type Reason string

const (
	ReasonUnproven Reason = "unproven" // nothing vouches for the sender
	ReasonSpeaker  Reason = "speaker"  // the sender is proven, but not the one the message speaks for
	ReasonToken    Reason = "token"    // the answer does not fit the address it was sent to
	ReasonUnusable Reason = "unusable" // parts that disagree, winmail.dat, not valid, …
	ReasonText     Reason = "text"     // a person answered in words
	ReasonPolicy   Reason = "policy"   // the recipient wants to decide about mail from him
	ReasonPublish  Reason = "publish"  // something published, which nobody has to take
)

// Admission is what a recipient's settings say about a mail.
type Admission uint8

const (
	Admit Admission = iota
	Hold            // he wants to decide
	Drop            // he has blocked the sender
)

// Policies know what people want to have from whom (want 24). proven says that
// somebody vouches for from.
type Policies interface {
	Admit(ctx context.Context, recipient, from calendar.Address, method string, proven bool) (Admission, error)
}

// Held is a mail that changes nothing until its recipient decides.
type Held struct {
	Recipient calendar.Address // the local user
	From      calendar.Address // as claimed; may be ""
	Reason    Reason
	Detail    string // for the view and the log
	Subject   string
	Text      string           // first plain text part
	Message   *calendar.Object // nil when unusable or absent; ORGANIZER mapped back
	File      []byte           // a calendar part that must not be applied; UTF-8, may be nil
	MessageID string
	At        time.Time
}

// ErrNotKept says that a recipient cannot decide about mail here: his calendar
// is in another system. Such mail is refused, so that its sender knows.
var ErrNotKept = errors.New("imip: the recipient does not decide about mail here")

// Quarantine keeps mails for users to decide. A mail kept twice (same
// recipient and Message-ID) need be kept once only. ErrNotKept is permanent.
type Quarantine interface {
	Keep(ctx context.Context, h Held) error
}

// Bounces learns that a mail of ours could not be delivered. b is what the
// token of the bounce's address stands for, messageID names the mail that came
// back, as the bounce says; "" when it does not say.
type Bounces interface {
	Bounced(ctx context.Context, b Binding, messageID string, s BounceStatus) error
}

// Limiter bounds how much mail one sender may cause and one recipient may get
// (A32). Allow reports whether another one fits.
type Limiter interface {
	Allow(sender, recipient string, now time.Time) bool
}

// Intake takes mails that came in for local people and hands what they say to
// scheduling. It is safe for concurrent use.
type Intake struct {
	Rules      Rules
	Directory  Directory
	Tokens     *Tokens // nil: no gateway mode
	Verifier   *Verifier
	Receiver   Receiver
	Quarantine Quarantine
	Policies   Policies // nil: everything that is proven is admitted
	Bounces    Bounces  // may be nil
	Limiter    Limiter  // may be nil
	Limits     Limits
	LoopID     string // of this installation; "" : no loop guard by name
	MaxHops    int    // Received fields: 50
	Now        func() time.Time
	Log        *slog.Logger // slog.Default()
}

// Envelope is how a mail came.
type Envelope struct {
	From       string   // MAIL FROM, "" for the null sender
	Recipients []string // RCPT TO
	// BelieveHeader: the mail came through our own mail server, whose
	// Authentication-Results may be believed.
	BelieveHeader bool
}

// target is what one RCPT address means.
type target struct {
	binding *Binding           // a token's
	people  []calendar.Address // whom it is for; empty for the plain intake address
}

// Accepts resolves a RCPT address. The error is an *smtp.SMTPError: nothing is
// relayed, so what is neither a local user nor an address of the intake is
// refused at once.
func (in *Intake) Accepts(ctx context.Context, rcpt string) error {
	_, err := in.resolve(ctx, rcpt)
	return err
}

func (in *Intake) resolve(ctx context.Context, rcpt string) (target, error) {
	a := calendar.Address("mailto:" + rcpt)
	if a.Key() == "" {
		return target{}, reply(501, "5.1.3", "that is not an address")
	}
	if token, ok := in.Rules.token(a); ok {
		if token == "" {
			return target{}, nil
		}
		if in.Tokens == nil {
			return target{}, reply(550, "5.1.1", "no such address here")
		}
		b, err := in.Tokens.Resolve(ctx, token)
		switch {
		case errors.Is(err, ErrNoToken):
			return target{}, reply(550, "5.1.1", "no such address here")
		case err != nil:
			in.log().ErrorContext(ctx, "mail token not read", "error", err)
			return target{}, reply(451, "4.3.0", "try again later")
		}
		return target{binding: &b, people: []calendar.Address{b.Organizer}}, nil
	}
	ok, err := in.Directory.Local(ctx, a)
	if err != nil {
		in.log().ErrorContext(ctx, "directory not read", "error", err)
		return target{}, reply(451, "4.3.0", "try again later")
	}
	if !ok {
		return target{}, reply(550, "5.1.1", "no such address here, and nothing is relayed")
	}
	return target{people: []calendar.Address{a}}, nil
}

// Deliver handles one mail and returns an answer for each recipient of the
// envelope in its order: nil when the mail was dealt with (applied, kept, or
// dropped as meaningless), else an *smtp.SMTPError. A mail that was understood
// and refused by scheduling is dealt with: bouncing it would only make mail.
func (in *Intake) Deliver(ctx context.Context, env Envelope, raw []byte) []error {
	out := make([]error, len(env.Recipients))
	all := func(err error) []error {
		for i := range out {
			out[i] = err
		}
		return out
	}
	m, err := Parse(raw, in.Limits)
	switch {
	case errors.Is(err, ErrTooBig):
		return all(reply(552, "5.3.4", err.Error()))
	case err != nil:
		return all(reply(554, "5.6.0", err.Error()))
	}
	maxHops := in.MaxHops
	if maxHops <= 0 {
		maxHops = 50
	}
	own := in.LoopID != "" && slices.Contains(m.Loops, in.LoopID)
	if own {
		in.log().InfoContext(ctx, "own mail came back", "message_id", m.MessageID, "through", len(m.Loops)-1)
	}
	switch {
	// RFC 5321 §6.3. What went through other installations did so from backend to
	// backend: nobody has it, and who sent it is told.
	case m.Hops+len(m.Loops) > maxHops, own && len(m.Loops) > 1:
		return all(reply(554, "5.4.6", "mail loop"))
	case own:
		return all(nil)
	}
	var ev Evidence
	var unproven error
	proved := false
	for i, rcpt := range env.Recipients {
		t, err := in.resolve(ctx, rcpt)
		if err != nil {
			out[i] = err
			continue
		}
		if len(t.people) == 0 {
			if t.people, err = in.addressed(ctx, m); err != nil {
				out[i] = reply(451, "4.3.0", "try again later")
				continue
			}
		}
		if m.Sort == SortBounce {
			out[i] = in.bounced(ctx, m, t, env)
			continue
		}
		if m.Sort == SortAuto || m.Sort == SortOther && (t.binding == nil || env.From == "") {
			continue // nothing for a calendar in it
		}
		if !proved {
			proved = true
			ev, unproven = in.Verifier.Verify(ctx, m, env.BelieveHeader)
		}
		for _, person := range t.people {
			if err := in.one(ctx, m, t, person, ev, unproven); err != nil {
				out[i] = err
			}
		}
	}
	return out
}

// addressed finds whom a mail to the plain intake address is for: the
// organizer it answers, or the local people it is addressed to.
func (in *Intake) addressed(ctx context.Context, m *Mail) ([]calendar.Address, error) {
	if m.Object == nil {
		return nil, nil
	}
	var candidates []calendar.Address
	if AttendeeMethod(m.Method) {
		candidates = append(candidates, calendar.Address(m.Object.Components()[0].Value("ORGANIZER")))
	} else {
		for _, box := range m.To[:min(len(m.To), 100)] {
			candidates = append(candidates, calendar.Address("mailto:"+box.Email))
		}
	}
	var out []calendar.Address
	seen := calendar.AddressSet{}
	for _, a := range candidates {
		if _, own := in.Rules.token(a); own || a.Key() == "" || seen.Has(a) {
			continue
		}
		seen.Add(a)
		ok, err := in.Directory.Local(ctx, a)
		if err != nil {
			in.log().ErrorContext(ctx, "directory not read", "error", err)
			return nil, err
		}
		if ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// bounced tells whose invitation did not arrive. A bounce proves nothing; it
// is believed only at the address that the envelope of our mail had, which only
// the mail servers on the way and the attendee know, from the null sender
// (RFC 5321 §4.5.5), when it says that it is for good and about that attendee.
func (in *Intake) bounced(ctx context.Context, m *Mail, t target, env Envelope) error {
	if t.binding == nil || t.binding.Purpose != storage.TokenBounce || in.Bounces == nil || env.From != "" {
		return nil
	}
	for _, s := range m.Bounce.Recipients {
		if !s.failed() || len(m.Bounce.Recipients) > 1 && calendar.Address("mailto:"+s.Recipient).Key() != t.binding.Attendee.Key() {
			continue
		}
		if err := in.Bounces.Bounced(ctx, *t.binding, m.Bounce.MessageID, s); err != nil {
			in.log().ErrorContext(ctx, "bounce not recorded", "error", err)
			return reply(451, "4.3.0", "try again later")
		}
		return nil
	}
	return nil
}

// failed tells whether a recipient will never get the mail (RFC 3464 §2.3.3):
// delayed mail may arrive yet, and the other actions are no failures.
func (s BounceStatus) failed() bool {
	return s.Action == "failed" || s.Action == "" && strings.HasPrefix(s.Status, "5.")
}

// one applies the mail for one local person, or keeps it for him.
func (in *Intake) one(ctx context.Context, m *Mail, t target, person calendar.Address, ev Evidence, unproven error) error {
	now := in.Now()
	sender, share := strings.ToLower(ev.From.Email()), person.Key()
	if unproven != nil {
		// Whoever forges a sender must not use up that sender's share, nor
		// what the recipient may get from people who are proven.
		sender, share = "unproven "+sender, "unproven "+share
	}
	if in.Limiter != nil && !in.Limiter.Allow(sender, share, now) {
		return reply(451, "4.7.1", "too much mail of this kind, try again later")
	}
	admission := Admit
	if in.Policies != nil && ev.From != "" {
		var err error
		if admission, err = in.Policies.Admit(ctx, person, ev.From, m.Method, unproven == nil); err != nil {
			in.log().ErrorContext(ctx, "settings not read", "error", err)
			return reply(451, "4.3.0", "try again later")
		}
	}
	if admission == Drop { // and the sender is told nothing (A32)
		in.log().InfoContext(ctx, "mail of a blocked sender dropped", "message_id", m.MessageID)
		return nil
	}
	held := Held{Recipient: person, From: ev.From, Subject: m.Subject, Text: m.Text, File: m.File, MessageID: m.MessageID, At: now}
	keep := func(why Reason, err error) error {
		held.Reason = why
		if err != nil {
			held.Detail = cleanLine(err.Error(), 300)
		}
		in.log().InfoContext(ctx, "mail kept for its recipient", "reason", string(why), "detail", held.Detail, "message_id", m.MessageID)
		switch err := in.Quarantine.Keep(ctx, held); {
		case errors.Is(err, ErrNotKept):
			return reply(550, "5.7.1", "not taken for this recipient: "+string(why)+" "+held.Detail)
		case err != nil:
			in.log().ErrorContext(ctx, "mail not kept", "error", err)
			return reply(451, "4.3.0", "try again later")
		}
		return nil
	}
	if m.Sort == SortOther {
		if errors.Is(m.Fault, ErrTNEF) {
			return keep(ReasonUnusable, m.Fault)
		}
		return keep(ReasonText, nil)
	}
	if m.Object == nil {
		return keep(ReasonUnusable, m.Fault)
	}
	o := m.Object
	var misfit error
	if t.binding != nil {
		o, misfit = in.mapBack(m, *t.binding)
	}
	held.Message = o
	switch {
	case errors.Is(unproven, ErrTemporary):
		return reply(451, "4.7.5", "the sender cannot be verified just now")
	case unproven != nil:
		return keep(ReasonUnproven, unproven)
	case misfit != nil:
		return keep(ReasonToken, misfit)
	}
	if err := Speaks(o, ev.From); err != nil {
		return keep(ReasonSpeaker, err)
	}
	switch {
	case m.Method == "PUBLISH": // RFC 5546 §3.2.1: nobody asked for it
		return keep(ReasonPublish, nil)
	case admission == Hold:
		return keep(ReasonPolicy, nil)
	}
	results, err := in.Receiver.Receive(ctx, scheduling.Inbound{
		Via: "mail", Proof: ev.Proof, Originator: ev.From, Recipients: []calendar.Address{person},
		Message: o, Once: once(m, ev, person, o), RequestID: "mail:" + m.MessageID, Passed: m.Loops,
	})
	if errors.Is(err, scheduling.ErrReplayConflict) {
		return keep(ReasonUnusable, err)
	}
	var bad *calendar.Error
	if errors.As(err, &bad) {
		return keep(ReasonUnusable, err)
	}
	if err != nil {
		in.log().ErrorContext(ctx, "mail not applied", "message_id", m.MessageID, "error", err)
		return reply(451, "4.3.0", "try again later")
	}
	for _, r := range results {
		in.log().InfoContext(ctx, "mail applied", "message_id", m.MessageID, "method", o.Method(), "how", ev.How, "status", r.Status)
		// 5.1 of an account here is trouble that may pass, such as one without room: the
		// sender's mail server tries again, and at last tells him. A backend that
		// says so has given up.
		if r.Retry || r.Transport != "gateway" && strings.HasPrefix(r.Status, "5.1") {
			return reply(451, "4.3.0", cleanLine("try again later: "+r.Status, 200))
		}
		if beyond(r.Status) {
			return keep(ReasonUnusable, fmt.Errorf("beyond a limit of the calendar: %s", r.Status))
		}
		// An installation that hands on to us writes what became of it into the
		// event; a person would get a mail that his mail came back.
		if len(m.Loops) > 0 && r.Transport == "gateway" && (strings.HasPrefix(r.Status, "3") || strings.HasPrefix(r.Status, "5")) {
			return reply(550, "5.7.1", cleanLine(r.Status+" "+r.Detail, 200))
		}
	}
	return nil
}

// beyond tells of a status that says that a copy would break a limit: nobody hears
// of it unless its recipient does (RFC 5546 §3.6).
func beyond(status string) bool {
	for _, code := range [...]string{"3.5", "3.6", "3.14"} {
		if strings.HasPrefix(status, code+";") {
			return true
		}
	}
	return false
}

// mapBack puts the organizer's own address back where the gateway's stands. An
// answer must be about the UID its address was made for.
func (in *Intake) mapBack(m *Mail, b Binding) (*calendar.Object, error) {
	o := m.Object.Clone()
	for _, c := range o.Components() {
		for _, p := range c.Props {
			if p.Name() != "ORGANIZER" && p.Name() != "ATTENDEE" {
				continue
			}
			if _, ours := in.Rules.token(calendar.Address(p.Value())); ours {
				p.SetValue(string(b.Organizer))
			}
		}
		if c.Prop("ORGANIZER") == nil { // want 18: Exchange leaves it out
			c.Add(calendar.NewProperty("ORGANIZER", string(b.Organizer)))
		}
	}
	switch {
	case o.UID() != b.UID:
		return o, fmt.Errorf("%w: an answer about another event", ErrNoToken)
	case !AttendeeMethod(m.Method):
		return o, fmt.Errorf("%w: %s is not an answer", ErrNoToken, m.Method)
	}
	return o, nil
}

// once is the replay key: the same Message-ID of the same domain for the same
// person is the same message; another person who gets the mail has a key of his
// own. Mail servers may alter what surrounds the calendar object, so the body's
// hash is over the object.
func once(m *Mail, ev Evidence, person calendar.Address, o *calendar.Object) *storage.Once {
	if m.MessageID == "" {
		return nil
	}
	body := sha256.Sum256(o.Bytes())
	id := sha256.Sum256([]byte(m.MessageID + "\x00" + person.Key()))
	return &storage.Once{
		Domain: ev.Proof.Domain, MessageID: "mail:" + hex.EncodeToString(id[:16]),
		BodyHash: hex.EncodeToString(body[:]), Recipients: person.Key(),
	}
}

func (in *Intake) log() *slog.Logger {
	if in.Log == nil {
		return slog.Default()
	}
	return in.Log
}

// reply is an SMTP answer; enhanced is an RFC 3463 code.
func reply(code int, enhanced, text string) error {
	e := &smtp.SMTPError{Code: code, Message: cleanLine(text, 200)}
	for i, part := range strings.SplitN(enhanced, ".", 3) {
		for _, c := range part {
			e.EnhancedCode[i] = e.EnhancedCode[i]*10 + int(c-'0')
		}
	}
	return e
}
