// Package federation picks the way to other systems: signed iSchedule where a
// domain publishes it, mail for everybody else, by a policy per domain.
//
// It never decides what a message says or who gets it, and keeps no state. A
// temporary failure of iSchedule never becomes a mail before the last try: a
// peer that is down for an hour must not be told everything twice.
package federation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/scheduling"
)

// Policy says how messages reach a domain.
type Policy string

// The policies.
const (
	Prefer        Policy = ""               // iSchedule where it is published, else mail
	IScheduleOnly Policy = "ischedule-only" // never mail
	MailOnly      Policy = "mail-only"      // never iSchedule
	Both          Policy = "both"           // iSchedule, and the mail as well
)

// Transport implements scheduling.Transport over both.
type Transport struct {
	ISchedule *ischedule.Client    // nil: iSchedule is switched off
	Mail      scheduling.Transport // nil: no mail server is configured
	Policy    func(domain string) Policy
	Gateway   scheduling.Transport     // to backends of our gateway domains
	IsGateway func(domain string) bool // nil: there are none
	Now       func() time.Time
}

var _ scheduling.Transport = (*Transport)(nil)

func (t *Transport) policy(domain string) Policy {
	if t.Policy == nil {
		return Prefer
	}
	return t.Policy(domain)
}

// Send carries one message to recipients of one domain.
func (t *Transport) Send(ctx context.Context, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	if p.Kind == scheduling.KindAlarm { // to somebody's mailbox, not to his calendar
		return t.mail(ctx, p, p.Recipients, nil)
	}
	if t.IsGateway != nil && t.IsGateway(p.Domain) {
		return t.Gateway.Send(ctx, p)
	}
	policy := t.policy(p.Domain)
	if t.ISchedule == nil || policy == MailOnly {
		why := "iSchedule is switched off here"
		if policy == MailOnly {
			why = "policy for the domain: mail only"
		}
		return t.mail(ctx, p, p.Recipients, nil, scheduling.Step{At: t.Now(), What: "policy", Text: why})
	}
	var out []scheduling.RecipientResult
	var copies, rest []calendar.Address // to be mailed as well, to be mailed instead
	trace := map[string][]scheduling.Step{}
	instead := func(r scheduling.RecipientResult) {
		rest = append(rest, r.Recipient)
		trace[r.Recipient.Key()] = r.Trace
	}
	for _, d := range t.ISchedule.Send(ctx, p) {
		r := d.RecipientResult
		switch d.Disposition {
		case ischedule.Done:
			out = append(out, r)
			if policy == Both && !p.NoMail {
				copies = append(copies, r.Recipient)
			}
		case ischedule.Retry:
			if p.Last && policy != IScheduleOnly && t.Mail != nil && !p.NoMail {
				instead(r)
				continue
			}
			r.Retry = true
			out = append(out, r)
		case ischedule.Mail:
			if policy == IScheduleOnly {
				r.Status = "5.2;The domain offers no iSchedule, and policy forbids mail"
				out = append(out, r)
				continue
			}
			instead(r)
		default:
			out = append(out, r)
		}
	}
	if len(copies) > 0 {
		t.copies(ctx, p, copies, out)
	}
	if len(rest) == 0 {
		return out, nil
	}
	mailed, err := t.mail(ctx, p, rest, trace)
	return append(out, mailed...), err
}

// copies mails what iSchedule has delivered. What iSchedule said is the
// outcome; what became of the copy stands in the trace.
func (t *Transport) copies(ctx context.Context, p scheduling.Parcel, to []calendar.Address, out []scheduling.RecipientResult) {
	mailed, err := t.mail(ctx, p, to, nil)
	for i := range out {
		text := ""
		for _, m := range mailed {
			if m.Recipient == out[i].Recipient {
				text = "copy by mail: " + m.Status
			}
		}
		if err != nil && slices.Contains(to, out[i].Recipient) {
			text = "no copy by mail: " + err.Error()
		}
		if text != "" {
			out[i].Trace = append(out[i].Trace, scheduling.Step{At: t.Now(), What: "mail", Text: text})
		}
	}
}

// mail sends by iMIP, with what was tried before in the trace.
func (t *Transport) mail(ctx context.Context, p scheduling.Parcel, to []calendar.Address, before map[string][]scheduling.Step, first ...scheduling.Step) ([]scheduling.RecipientResult, error) {
	why := ""
	switch {
	case p.NoMail && p.Kind != scheduling.KindAlarm:
		why = "the sender's settings: nothing goes by mail"
	case t.Mail == nil:
		why = "no mail server is configured (smtp_url)"
	}
	if why != "" {
		out := make([]scheduling.RecipientResult, len(to))
		for i, a := range to {
			out[i] = scheduling.RecipientResult{Recipient: a, Status: "5.2;No way to deliver to this user", Detail: why, Trace: append(first, before[a.Key()]...)}
		}
		return out, nil
	}
	p.Recipients = to
	res, err := t.Mail.Send(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("federation: mail: %w", err)
	}
	for i := range res {
		res[i].Trace = append(append(append([]scheduling.Step{}, first...), before[res[i].Recipient.Key()]...), res[i].Trace...)
	}
	return res, nil
}

// FreeBusy asks a domain's server; mail cannot answer such questions.
func (t *Transport) FreeBusy(ctx context.Context, q scheduling.Question) ([]scheduling.RecipientResult, error) {
	if t.IsGateway != nil && t.IsGateway(q.Domain) {
		return t.Gateway.FreeBusy(ctx, q)
	}
	var out []scheduling.RecipientResult
	if t.ISchedule == nil || t.policy(q.Domain) == MailOnly {
		for _, a := range q.Recipients {
			out = append(out, scheduling.RecipientResult{Recipient: a, Status: "5.3;No scheduling support for user"})
		}
		return out, nil
	}
	for _, d := range t.ISchedule.FreeBusy(ctx, q) {
		r := d.RecipientResult
		switch {
		case d.Disposition == ischedule.Mail:
			r.Status, r.Calendar = "5.3;No scheduling support for user", nil
		case d.Disposition == ischedule.Done && len(r.Calendar) > 0:
			r.Status = "2.0;Success"
		case r.Status == "" || d.Disposition == ischedule.Retry:
			r.Status, r.Calendar = "5.1;The other server did not answer", nil
		}
		out = append(out, r)
	}
	return out, nil
}
