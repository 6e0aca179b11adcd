package imip

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// reminder writes the mail of an EMAIL alarm (RFC 5545 §3.6.6): the alarm's
// SUMMARY is the subject and its DESCRIPTION the text; what and when follows. It
// comes from the server's own address and carries no calendar object, so that
// nobody's program takes it for an invitation (want 44).
func (t *Transport) reminder(ctx context.Context, p scheduling.Parcel, o *calendar.Object, to Mailbox) (msg []byte, l Letter, signed string, err error) {
	from := t.Rules.From
	if from.Email == "" {
		return nil, l, "", fmt.Errorf("%w: no From address is set", ErrConfig)
	}
	from.Name = "Calendar reminder"
	fromDomain := calendar.Address("mailto:" + from.Email).Domain()
	l = Letter{Sender: Sender{From: from, Envelope: from.Email}, To: to, Date: p.Queued, MessageID: DeliveryID(p.WireID, p.Recipients[0], fromDomain), Loops: t.loops(p)}
	if l.Date.IsZero() {
		l.Date = t.Now()
	}
	n := remind(o)
	var b bytes.Buffer
	writeField(&b, "Date", l.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	writeField(&b, "From", from.format())
	writeField(&b, "To", to.format())
	writeField(&b, "Subject", encodeText(cleanLine(n.Subject, 250)))
	writeField(&b, "Message-ID", "<"+l.MessageID+">")
	writeField(&b, "Auto-Submitted", "auto-generated") // RFC 3834 §5
	writeLoops(&b, l.Loops)
	writeField(&b, "MIME-Version", "1.0")
	writeText(&b, "text/plain; charset=UTF-8", n.plain(nil))
	msg, signed, err = t.signFor(ctx, b.Bytes(), fromDomain)
	return msg, l, signed, err
}

// remind says what an alarm is about.
func remind(o *calendar.Object) notice {
	t := newTeller(o)
	n := notice{Subject: "Reminder", Lead: "You asked to be reminded."}
	comps := o.Components()
	if len(comps) == 0 {
		return n
	}
	c := comps[0]
	n.Subject = "Reminder: " + titleOf(c)
	for _, a := range c.ChildrenNamed("VALARM") {
		if s := a.Text("SUMMARY"); s != "" {
			n.Subject = s
		}
		n.Text = cleanText(a.Text("DESCRIPTION"), maxText)
	}
	title := titleOf(c)
	if title != "" {
		n.Facts = append(n.Facts, fact{"What", []string{title}})
	}
	if when := t.event(c); when != "" {
		n.Facts = append(n.Facts, fact{"When", []string{when}})
	}
	if where := cleanLine(c.Text("LOCATION"), 300); where != "" {
		n.Facts = append(n.Facts, fact{"Where", []string{where}})
	}
	n.Foot = []string{"Your calendar server sends this because the entry has a reminder by mail. Take the reminder out of it, or switch such mails off in your settings, to end them."}
	return n
}
