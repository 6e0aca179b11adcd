package itip

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// The request statuses Process answers with (RFC 5546 §3.6, RFC 6638 §3.2.9).
const (
	statusSuccess     = "2.0;Success"
	statusNoAuthority = "3.8;No authority"
	statusCapability  = "3.14;Unsupported capability"
	statusNoSchedule  = "5.3;No scheduling support for user"
)

// Process decides what a message does to one recipient: m is the message with
// METHOD, current the recipient's copy of that UID or nil. It checks that the
// message is well formed (an error of the calendar package), that who sends it
// may speak for the event, and that it is not older than what is known. Late
// and repeated messages are harmless: status 2.0, nothing changed. Neither
// object is changed; Outcome.Inbox is the message itself.
func Process(m, current *calendar.Object, p Policy) (Outcome, error) {
	if err := calendar.ValidateMessage(m); err != nil {
		return Outcome{}, err
	}
	if kind := m.Kind(); kind != "VEVENT" && kind != "VTODO" {
		return Outcome{Status: statusCapability}, nil
	}
	self := calendar.NewAddressSet(p.Self...)
	msg := conform(m, current)
	if p.Outside {
		msg = Defuse(msg)
	}
	switch m.Method() {
	case "REQUEST":
		return processRequest(msg, current, p, self)
	case "ADD":
		return processAdd(msg, current, p, self)
	case "CANCEL":
		return processCancel(msg, current, p, self)
	case "REPLY":
		return processReply(msg, current, p, self)
	case "REFRESH":
		return processRefresh(msg, current, p, self)
	case "COUNTER":
		return processCounter(msg, current, p, self)
	case "DECLINECOUNTER":
		return processDeclineCounter(msg, current, p, self)
	}
	return Outcome{Status: statusCapability}, nil // PUBLISH is no conversation
}

// fromOrganizer tells whether the message speaks for the organizer it names
// and, when there is a copy, for the organizer that copy has (abuse A26).
func fromOrganizer(m, current *calendar.Object, p Policy) bool {
	org := organizerLine(m)
	if org == nil || calendar.Address(org.Value()).Key() == "" {
		return false
	}
	if p.Sender != "" && !p.Sender.Equal(calendar.Address(org.Value())) {
		return false
	}
	stored := organizerLine(current)
	return stored == nil || personKey(stored) == personKey(org)
}

// Defuse takes out of a message from outside what acts in the receiving
// program (abuse A55): procedure alarms, attachments and alarm sounds that
// name local files. Alarms of others are dropped anyway (want 44).
func Defuse(m *calendar.Object) *calendar.Object {
	m = m.Clone()
	var walk func(c *calendar.Component)
	walk = func(c *calendar.Component) {
		c.Props = slices.DeleteFunc(c.Props, func(p *calendar.Property) bool {
			n := p.Name()
			return (n == "ATTACH" || n == "URL" || n == "IMAGE" || n == "CONFERENCE" || n == "SOURCE") && (localAttach(p) || acts(p.Value()))
		})
		c.Children = slices.DeleteFunc(c.Children, func(k *calendar.Component) bool { return k.Name == "VALARM" })
		for _, k := range c.Children {
			walk(k)
		}
	}
	walk(m.Component)
	return m
}

// acts tells whether a URI runs something where it is opened.
func acts(v string) bool {
	v = strings.ToLower(strings.TrimSpace(v))
	return strings.HasPrefix(v, "javascript:") || strings.HasPrefix(v, "vbscript:") || strings.HasPrefix(v, "data:text/html")
}

// stored prepares a component of a message for a calendar.
func stored(c *calendar.Component) *calendar.Component {
	d := clean(c)
	d.Remove("REQUEST-STATUS")
	return d
}

// setComponents replaces what o holds besides time zones.
func setComponents(o *calendar.Object, comps []*calendar.Component) {
	o.Children = append(slices.DeleteFunc(slices.Clone(o.Children), func(c *calendar.Component) bool { return c.Name != "VTIMEZONE" }), comps...)
}

// changedOctets compares two objects as they would be stored.
func changedOctets(a, b *calendar.Object) bool {
	return a == nil || b == nil || !bytes.Equal(a.Bytes(), b.Bytes())
}

// older tells whether a message's component is older than the stored one.
func older(m, cur *calendar.Component, now time.Time) bool {
	if cur == nil {
		return false
	}
	return stampOf(m, now).Compare(stampOf(cur, now)) < 0
}

// overtaken tells whether the copy has heard of newer things than c, from a
// message about another part of the event: c is about an instance and the
// master has been updated since, or c is the master and other, an instance, has
// been. Some organizers count SEQUENCE for each instance by itself, so both
// marks must be older.
func overtaken(c, other *calendar.Component, now time.Time) bool {
	if other == nil {
		return false
	}
	a, b := stampOf(c, now), stampOf(other, now)
	return a.Sequence < b.Sequence && a.DTStamp.Before(b.DTStamp)
}
