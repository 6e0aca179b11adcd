package imip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Accounts answers the intake's questions about who lives here and what he wants,
// and keeps mail that nothing vouches for until its recipient decides. Who has
// his calendar in a backend lives here too, but has no page to decide on.
type Accounts struct {
	DB      *storage.DB
	Gateway func(domain string) bool // nil: there are no such domains
}

var (
	_ Directory  = Accounts{}
	_ Quarantine = Accounts{}
	_ Policies   = Accounts{}
	_ Bounces    = Returns{}
	_ TokenStore = StoredTokens{}
)

func (p Accounts) Local(ctx context.Context, a calendar.Address) (bool, error) {
	found, err := p.DB.Recipients(ctx, []string{a.Key()})
	if err != nil {
		return false, err
	}
	r, ok := found[a.Key()]
	if !ok {
		return p.elsewhere(a), nil
	}
	return !r.Account.Disabled && r.Account.Kind != storage.KindGroup, nil
}

// elsewhere tells whether somebody without an account has his calendar in a
// backend.
func (p Accounts) elsewhere(a calendar.Address) bool {
	return p.Gateway != nil && p.Gateway(a.Domain())
}

// Keep puts a mail where its recipient decides about it.
func (p Accounts) Keep(ctx context.Context, h Held) error {
	found, err := p.DB.Recipients(ctx, []string{h.Recipient.Key()})
	if err != nil {
		return err
	}
	r, ok := found[h.Recipient.Key()]
	if !ok && p.elsewhere(h.Recipient) {
		return ErrNotKept
	}
	if !ok {
		return nil // the account went away meanwhile
	}
	q := storage.Quarantined{Account: r.Account.ID, From: string(h.From), Reason: strings.TrimSuffix(string(h.Reason)+": "+h.Detail, ": "), File: string(h.File)}
	if h.MessageID != "" {
		sum := sha256.Sum256([]byte(h.MessageID + "\x00" + h.From.Key() + "\x00" + string(h.Reason)))
		q.Key = hex.EncodeToString(sum[:16])
	}
	if h.Message != nil {
		q.UID = h.Message.UID()
		q.Body = string(h.Message.Bytes())
	} else {
		q.Body = h.Subject + "\n\n" + h.Text
	}
	_, err = p.DB.AddQuarantine(ctx, q)
	if errors.Is(err, storage.ErrInvalid) { // not UTF-8, or NUL: there is nothing to show
		q.Body, q.File = "(a mail that cannot be shown)", ""
		_, err = p.DB.AddQuarantine(ctx, q)
	}
	return err
}

// Admit asks the recipient's settings (want 24): what is blocked goes away;
// what others invite to is for people who are wanted. Answers to the own
// invitations are always welcome.
func (p Accounts) Admit(ctx context.Context, to, from calendar.Address, method string, proven bool) (Admission, error) {
	found, err := p.DB.Recipients(ctx, []string{to.Key()})
	if err != nil {
		return Hold, err
	}
	r, ok := found[to.Key()]
	if !ok {
		return Admit, nil
	}
	blocked, err := p.DB.SenderBlocked(ctx, r.Account.ID, from.Key())
	if err != nil {
		return Hold, err
	}
	switch {
	case blocked:
		return Drop, nil
	case !proven || AttendeeMethod(method): // what is not proven is held anyway
		return Admit, nil
	}
	switch r.Account.Settings.MailIntake {
	case "nobody":
		return Hold, nil
	case "known":
		known, err := p.known(ctx, r.Account, from)
		if known {
			return Admit, err
		}
		return Hold, err
	}
	return Admit, nil
}

// known tells whether an account has met with somebody: it wrote to him, or he
// stands in an event of its calendars; or he lives here.
func (p Accounts) known(ctx context.Context, a storage.Account, who calendar.Address) (bool, error) {
	here, err := p.DB.Recipients(ctx, []string{who.Key()})
	if err != nil || len(here) > 0 {
		return err == nil, err
	}
	if wrote, err := p.DB.Wrote(ctx, a.ID, who.Key()); err != nil || wrote {
		return wrote, err
	}
	rows, err := p.DB.Mentioning(ctx, a.ID, who.Email(), 20)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		o, err := calendar.Parse([]byte(row.Data), calendar.DefaultLimits())
		if err != nil {
			continue
		}
		for _, c := range o.Components() {
			if slices.ContainsFunc(append(c.All("ATTENDEE"), c.All("ORGANIZER")...), func(q *calendar.Property) bool { return calendar.Address(q.Value()).Equal(who) }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Returns turns a bounce of our own mail into the attendee's SCHEDULE-STATUS.
type Returns struct {
	DB         *storage.DB
	Scheduling *scheduling.Service
}

// A mail server near by may give a mail back before it is noted that it was sent.
const (
	bouncePause = 100 * time.Millisecond
	bounceTries = 50
)

// Bounced finds the delivery that came back. A bounce that names another
// mail than those that went to this attendee is forged or lost its way, and
// changes nothing. One of a mail that is still being sent waits a little; the
// error after that lets its bearer come again.
func (b Returns) Bounced(ctx context.Context, bind Binding, messageID string, st BounceStatus) error {
	for range bounceTries {
		err := b.record(ctx, bind, messageID, st)
		if !errors.Is(err, errStillSent) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(bouncePause):
		}
	}
	return errStillSent
}

var errStillSent = errors.New("the mail that came back is still being sent")

func (b Returns) record(ctx context.Context, bind Binding, messageID string, st BounceStatus) error {
	list, err := b.DB.DeliveriesTo(ctx, bind.Account, bind.UID, bind.Attendee.Key())
	if err != nil {
		return err
	}
	_, domain, _ := strings.Cut(messageID, "@")
	for _, d := range slices.Backward(list) { // newest first
		sent := d.State == storage.DeliveryInFlight // by which transport is noted afterwards
		if d.Transport != "mail" && !sent || d.WireID == "" {
			continue
		}
		if messageID != "" && DeliveryID(d.WireID, calendar.Address(d.Recipient), domain) != messageID {
			continue
		}
		if sent {
			return errStillSent
		}
		return b.Scheduling.Bounced(ctx, scheduling.Bounce{Account: bind.Account, UID: bind.UID, Attendee: bind.Attendee, Delivery: d.ID, Detail: strings.TrimSpace("came back: " + st.Status + " " + st.Detail)})
	}
	return nil
}

// StoredTokens keeps the bindings of gateway addresses in the database.
type StoredTokens struct{ DB *storage.DB }

const tokenLife = 5 * 366 * 24 * time.Hour

func (m StoredTokens) SaveToken(ctx context.Context, hash TokenHash, b Binding) error {
	return m.DB.SaveMailToken(ctx, storage.MailToken{Hash: hex.EncodeToString(hash[:]), Purpose: b.Purpose, Account: b.Account, UID: b.UID,
		Attendee: string(b.Organizer) + "\n" + string(b.Attendee), Expires: m.DB.Now().Add(tokenLife).UnixMicro()})
}

func (m StoredTokens) FindToken(ctx context.Context, hash TokenHash) (Binding, error) {
	t, err := m.DB.MailToken(ctx, hex.EncodeToString(hash[:]))
	if errors.Is(err, storage.ErrNotFound) {
		return Binding{}, ErrNoToken
	}
	if err != nil {
		return Binding{}, err
	}
	org, att, ok := strings.Cut(t.Attendee, "\n")
	if !ok || t.Purpose != storage.TokenReply && t.Purpose != storage.TokenBounce {
		return Binding{}, ErrNoToken
	}
	return Binding{Purpose: t.Purpose, Account: t.Account, UID: t.UID, Organizer: calendar.Address(org), Attendee: calendar.Address(att)}, nil
}
