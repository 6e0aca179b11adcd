package imip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Sending is the part of a Submitter that Transport needs.
type Sending interface {
	Send(ctx context.Context, from string, to []string, msg []byte) ([]SubmitResult, error)
	Server() string
}

// Transport carries iTIP messages by mail. It is safe for concurrent use.
type Transport struct {
	Rules  Rules
	Submit Sending // nil: no mail server is configured, everything fails with 5.2
	Keys   Keys    // nil: nothing is signed by us
	Tokens *Tokens // nil: no gateway mode
	LoopID string  // this installation; "": its mails carry no mark
	Limits calendar.Limits
	Now    func() time.Time
	// Actions gives the links a mail offers to its recipient; may be nil.
	Actions func(ctx context.Context, p scheduling.Parcel, to calendar.Address) ([]Action, error)
}

var _ scheduling.Transport = (*Transport)(nil)

// SCHEDULE-STATUS values of mail (RFC 6638 §3.2.9).
const (
	statusSent       = "1.1;Sent"
	statusInvalid    = "3.7;Invalid calendar user"
	statusFailed     = "5.1;Could not complete delivery"
	statusNoMeans    = "5.2;No way to deliver to this user"
	statusNoFreeBusy = "5.3;No scheduling support for user"
)

// Send writes and submits one mail for each recipient: every one has his own
// token, and nobody's address shows in another's mail but by the object. 1.1
// says that our mail server took it, no more (want 26).
func (t *Transport) Send(ctx context.Context, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	out := make([]scheduling.RecipientResult, len(p.Recipients))
	if t.Submit == nil {
		for i, a := range p.Recipients {
			out[i] = t.result(a, statusNoMeans, "no mail server is configured")
		}
		return out, nil
	}
	o, err := calendar.Parse(p.Body, t.Limits)
	if err != nil {
		for i, a := range p.Recipients {
			out[i] = t.result(a, statusFailed, err.Error())
		}
		return out, nil
	}
	for i, a := range p.Recipients {
		if ctx.Err() != nil {
			out[i] = t.result(a, statusFailed, ctx.Err().Error())
			out[i].Retry = true
			continue
		}
		out[i] = t.one(ctx, p, o, a)
	}
	return out, nil
}

// FreeBusy is nothing mail can ask for.
func (t *Transport) FreeBusy(_ context.Context, q scheduling.Question) ([]scheduling.RecipientResult, error) {
	out := make([]scheduling.RecipientResult, len(q.Recipients))
	for i, a := range q.Recipients {
		out[i] = t.result(a, statusNoFreeBusy, "free/busy is not asked by mail")
	}
	return out, nil
}

func (t *Transport) result(a calendar.Address, status, detail string) scheduling.RecipientResult {
	return scheduling.RecipientResult{Recipient: a, Status: status, Transport: "mail", Detail: cleanLine(detail, 300)}
}

func (t *Transport) one(ctx context.Context, p scheduling.Parcel, o *calendar.Object, to calendar.Address) scheduling.RecipientResult {
	began := t.Now()
	msg, l, signed, err := t.write(ctx, p, o, to)
	if err != nil {
		status := statusFailed
		if errors.Is(err, ErrAddress) {
			status = statusInvalid
		}
		r := t.result(to, status, err.Error())
		r.Retry = errors.Is(err, ErrTemporary)
		r.Trace = []scheduling.Step{{At: began, What: "mail", Text: r.Detail}}
		return r
	}
	results, _ := t.Submit.Send(ctx, l.Sender.Envelope, []string{l.To.Email}, msg)
	var s SubmitResult
	if len(results) == 1 {
		s = results[0]
	} else {
		s = SubmitResult{Err: ErrTemporary, Temporary: true, Text: "no answer of the mail server"}
	}
	r := t.result(to, submitStatus(s), submitText(s))
	r.Retry = s.Err != nil && s.Temporary
	r.Proof = signed
	r.Trace = []scheduling.Step{{
		At: began, What: "mail", Took: t.Now().Sub(began),
		Text: cleanLine(fmt.Sprintf("%s from %s id %s: %s", t.Submit.Server(), l.Sender.From.Email, l.MessageID, r.Detail), 400),
	}}
	return r
}

// submitStatus is the iTIP status of what the mail server said. Address codes
// (RFC 3463 §3.2, X.1.x) say that there is no such person.
func submitStatus(s SubmitResult) string {
	switch {
	case s.Err == nil:
		return statusSent
	case !s.Temporary && (strings.HasPrefix(s.Enhanced, "5.1.") || s.Enhanced == "" && (s.Code == 550 || s.Code == 551 || s.Code == 553)):
		return statusInvalid
	}
	return statusFailed
}

func submitText(s SubmitResult) string {
	return strings.TrimSpace(strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", code(s.Code), s.Enhanced, s.Text)), " "))
}

func code(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// write makes the mail to one recipient. signed is the domain whose key signed
// it, "" when none did.
func (t *Transport) write(ctx context.Context, p scheduling.Parcel, o *calendar.Object, to calendar.Address) (msg []byte, l Letter, signed string, err error) {
	toEmail, err := wireEmail(to)
	if err != nil {
		return nil, l, "", err
	}
	userEmail, err := wireEmail(p.Originator)
	if err != nil {
		return nil, l, "", fmt.Errorf("originator: %w", err)
	}
	user := Mailbox{Name: nameOf(o, p.Originator, p.OriginatorName), Email: userEmail}
	if p.Kind == scheduling.KindAlarm {
		return t.reminder(ctx, p, o, Mailbox{Name: p.OriginatorName, Email: toEmail})
	}
	domain := p.Originator.Domain()
	key, _, err := t.key(ctx, domain)
	if err != nil {
		return nil, l, "", err
	}
	token := ""
	if t.Tokens != nil && t.Rules.rules(domain).Gateway && !AttendeeMethod(p.Method) {
		token, err = t.Tokens.Issue(ctx, Binding{Account: p.Account, UID: p.UID, Organizer: p.Originator, Attendee: to})
		if err != nil {
			return nil, l, "", err
		}
	}
	sender, err := t.Rules.Choose(user, key != nil, token)
	if err != nil {
		return nil, l, "", err
	}
	// VERP: what comes back names the mail that it is about. The address is
	// another than that of answers, which every reader of a forwarded mail
	// knows: a bounce is believed at this one alone.
	if t.Tokens != nil && t.Rules.rules(domain).Bounces {
		bounce, err := t.Tokens.Issue(ctx, Binding{Purpose: storage.TokenBounce, Account: p.Account, UID: p.UID, Organizer: p.Originator, Attendee: to})
		if err != nil {
			return nil, l, "", err
		}
		if sender.Envelope, err = subAddress(t.Rules.Intake, bounce); err != nil {
			return nil, l, "", err
		}
	}
	object := o
	if sender.Organizer.Email != "" {
		object = asOrganizer(o, p.Originator, sender.Organizer)
	}
	l = Letter{
		Sender: sender, To: Mailbox{Name: nameOf(o, to, ""), Email: toEmail}, User: user,
		Date: p.Queued, Object: object, Kind: kindOf(p), Changes: p.Changes, Loops: t.loops(p),
	}
	if l.Date.IsZero() {
		l.Date = t.Now()
	}
	if p.SentBy != "" {
		if l.SentBy.Email, err = wireEmail(p.SentBy); err != nil {
			return nil, l, "", fmt.Errorf("sent by: %w", err)
		}
		l.SentBy.Name = cleanLine(p.SentByName, 100)
	}
	fromDomain := calendar.Address("mailto:" + sender.From.Email).Domain()
	l.MessageID = DeliveryID(p.WireID, to, fromDomain)
	if t.Actions != nil {
		if l.Actions, err = t.Actions(ctx, p, to); err != nil {
			return nil, l, "", fmt.Errorf("%w: %w", ErrTemporary, err)
		}
	}
	if msg, err = Compose(l); err != nil {
		return nil, l, "", err
	}
	msg, signed, err = t.signFor(ctx, msg, fromDomain)
	return msg, l, signed, err
}

// loops are the marks of a mail: ours, and those of the mail that it hands on.
func (t *Transport) loops(p scheduling.Parcel) []string {
	if t.LoopID == "" {
		return p.Passed
	}
	return append([]string{t.LoopID}, p.Passed...)
}

// signFor signs a mail for the domain that stands in its From, when we have
// the domain's key; signed is "" when not.
func (t *Transport) signFor(ctx context.Context, msg []byte, domain string) (out []byte, signed string, err error) {
	key, selector, err := t.key(ctx, domain)
	if err != nil || key == nil {
		return msg, "", err
	}
	out, err = Sign(msg, domain, selector, key)
	return out, domain, err
}

// DeliveryID is the Message-ID of one delivery, the same on every retry.
func DeliveryID(wireID string, to calendar.Address, domain string) string {
	h := sha256.Sum256([]byte(wireID + "\x00" + to.Key()))
	local, _, _ := strings.Cut(strings.Trim(wireID, "<>"), "@")
	id := local + "." + hex.EncodeToString(h[:6]) + "@" + domain
	if !wellFormedID(id) {
		id = hex.EncodeToString(h[:20]) + "@" + domain
	}
	return id
}

// asOrganizer puts the gateway's address in the place of the organizer's, as
// ORGANIZER and where he stands among the ATTENDEEs: he must remain one person
// to the receiving program. SENT-BY would name his own domain again.
func asOrganizer(o *calendar.Object, organizer calendar.Address, box Mailbox) *calendar.Object {
	o = o.Clone()
	key := organizer.Key()
	for _, c := range o.Components() {
		for _, p := range c.Props {
			if p.Name() != "ORGANIZER" && p.Name() != "ATTENDEE" || calendar.Address(p.Value()).Key() != key {
				continue
			}
			p.SetValue("mailto:" + box.Email)
			p.SetParam("CN", strings.ReplaceAll(box.Name, `"`, "'"))
			p.DelParam("EMAIL")
			p.DelParam("SENT-BY")
		}
	}
	return o
}

// nameOf is the name a person has in the object, unless one is given.
func nameOf(o *calendar.Object, a calendar.Address, given string) string {
	if given != "" {
		return given
	}
	key := a.Key()
	for _, c := range o.Components() {
		for _, p := range c.Props {
			if (p.Name() == "ORGANIZER" || p.Name() == "ATTENDEE") && calendar.Address(p.Value()).Key() == key {
				if cn := p.Param("CN"); cn != "" && !strings.EqualFold(cn, a.Email()) {
					return cn
				}
			}
		}
	}
	return ""
}

// kindOf falls back on the method where the plan names no kind.
func kindOf(p scheduling.Parcel) itip.Kind {
	if p.Kind != "" {
		return p.Kind
	}
	switch p.Method {
	case "REPLY":
		return itip.KindReply
	case "CANCEL":
		return itip.KindCancelled
	case "COUNTER":
		return itip.KindCounter
	case "DECLINECOUNTER":
		return itip.KindDeclined
	case "REFRESH":
		return itip.KindRefresh
	}
	return itip.KindNew
}
