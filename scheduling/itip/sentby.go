package itip

import "github.com/kalends/kalends/caldav/calendar"

// SpeakFor writes into a message who sends it on behalf of the calendar user it
// speaks for (RFC 5545 §3.2.18): SENT-BY of the ORGANIZER, or in what an attendee
// says, of his ATTENDEE. An empty by leaves the object alone. It tells whether
// something changed.
func SpeakFor(o *calendar.Object, method string, speaker, by calendar.Address) (changed bool) {
	if o == nil || by == "" {
		return false
	}
	name := "ORGANIZER"
	switch method {
	case "REPLY", "COUNTER", "REFRESH":
		name = "ATTENDEE"
	}
	for _, c := range o.Components() {
		for _, p := range c.All(name) {
			if speaker.Equal(calendar.Address(p.Value())) && p.Param("SENT-BY") != string(by) {
				p.SetParam("SENT-BY", string(by))
				changed = true
			}
		}
	}
	return changed
}

// himself is an ATTENDEE without the delegate who sent the answer before.
func himself(p *calendar.Property) *calendar.Property {
	p = p.Clone()
	p.DelParam("SENT-BY")
	return p
}

// sentBy names, in what a plan sends, the delegate who made the change, and in
// the organizer's object too: everybody's copy shows who sent the last change
// (want 42). When the organizer makes it himself, the delegate of the change before,
// whom his program stores again, is not named any more. What tells nobody anything
// leaves the object as it came.
func (p *Plan) sentBy(by calendar.Address, old *calendar.Object) {
	if len(p.Messages) == 0 {
		return
	}
	if by == "" {
		if q := organizerLine(old); p.Role == RoleOrganizer && q != nil && q.Param("SENT-BY") != "" {
			for _, m := range p.Messages {
				dropSentBy(m.Object, q.Param("SENT-BY"))
			}
			p.Rewritten = dropSentBy(p.Store, q.Param("SENT-BY")) || p.Rewritten
		}
		return
	}
	for _, m := range p.Messages {
		SpeakFor(m.Object, m.Method, m.Originator, by)
	}
	if org, ok := Organizer(p.Store); ok && p.Role == RoleOrganizer && SpeakFor(p.Store, "REQUEST", org, by) {
		p.Rewritten = true
	}
}

// dropSentBy takes a delegate off the ORGANIZER lines.
func dropSentBy(o *calendar.Object, by string) (changed bool) {
	if o == nil {
		return false
	}
	for _, c := range o.Components() {
		if q := c.Prop("ORGANIZER"); q != nil && q.Param("SENT-BY") == by {
			q.DelParam("SENT-BY")
			changed = true
		}
	}
	return changed
}
