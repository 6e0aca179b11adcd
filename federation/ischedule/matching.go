package ischedule

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// Participant is an ORGANIZER or ATTENDEE with the parameters that matching
// looks at. SENT-BY is not among them: the value alone is the identity.
type Participant struct {
	Address       calendar.Address
	DelegatedTo   []calendar.Address
	DelegatedFrom []calendar.Address
}

// Parties is who stands in one component of a message.
type Parties struct {
	Organizer *Participant // nil when absent
	Attendees []Participant
}

// Match applies WD 8.1: whether originator may send this method and whether
// each recipient is one the message is for. The parties are listed per
// component of the message. Addresses are compared by calendar.Address.Key.
// The error is an *Error with InvalidSchedulingMessage or RecipientMismatch.
func Match(component, method string, parts []Parties, originator calendar.Address, recipients []calendar.Address) error {
	if len(parts) == 0 {
		return refuse(InvalidSchedulingMessage, "no component")
	}
	for _, p := range parts {
		if p.Organizer == nil || p.Organizer.Address.Key() == "" {
			return refuse(InvalidSchedulingMessage, "no usable ORGANIZER")
		}
		if !p.Organizer.Address.Equal(parts[0].Organizer.Address) {
			return refuse(InvalidSchedulingMessage, "components name different organizers")
		}
	}
	organizer := parts[0].Organizer.Address

	switch strings.ToUpper(method) {
	case "REQUEST", "ADD", "CANCEL", "DECLINECOUNTER":
		if !originator.Equal(organizer) {
			return refuse(InvalidSchedulingMessage, "Originator is not the ORGANIZER")
		}
		attendees := make(calendar.AddressSet)
		for _, p := range parts {
			for _, a := range p.Attendees {
				attendees.Add(a.Address)
			}
		}
		if strings.EqualFold(component, "VFREEBUSY") {
			return matchFreeBusy(method, attendees, recipients)
		}
		for _, r := range recipients {
			if !attendees.Has(r) {
				return refuse(InvalidSchedulingMessage, "a Recipient is not an ATTENDEE")
			}
		}
	case "REPLY", "COUNTER", "REFRESH":
		for _, p := range parts {
			if err := matchReplier(p.Attendees, originator); err != nil {
				return err
			}
		}
		for _, r := range recipients {
			if !r.Equal(organizer) {
				return refuse(InvalidSchedulingMessage, "a Recipient is not the ORGANIZER")
			}
		}
	default:
		// PUBLISH has no recipient rule that could be met.
		return refuse(InvalidSchedulingMessage, "method %q is not accepted", method)
	}
	return nil
}

// matchFreeBusy: the recipients are exactly the attendees (WD 8.1, -04).
func matchFreeBusy(method string, attendees calendar.AddressSet, recipients []calendar.Address) error {
	if !strings.EqualFold(method, "REQUEST") {
		return refuse(InvalidSchedulingMessage, "method %q is not accepted for VFREEBUSY", method)
	}
	asked := calendar.NewAddressSet(recipients...)
	for _, r := range recipients {
		if !attendees.Has(r) {
			return refuse(RecipientMismatch, "a Recipient is not an ATTENDEE")
		}
	}
	if len(asked) != len(attendees) {
		return refuse(RecipientMismatch, "an ATTENDEE is not a Recipient")
	}
	return nil
}

// matchReplier: one ATTENDEE, or a delegator and his delegate, and the
// Originator is one of them.
func matchReplier(attendees []Participant, originator calendar.Address) error {
	switch len(attendees) {
	case 1:
	case 2:
		if !delegates(attendees[0], attendees[1]) && !delegates(attendees[1], attendees[0]) {
			return refuse(InvalidSchedulingMessage, "two ATTENDEEs that are not linked by delegation")
		}
	default:
		return refuse(InvalidSchedulingMessage, "%d ATTENDEEs in an answer", len(attendees))
	}
	if !slices.ContainsFunc(attendees, func(a Participant) bool { return a.Address.Equal(originator) }) {
		return refuse(InvalidSchedulingMessage, "Originator is not the ATTENDEE")
	}
	return nil
}

// delegates tells whether from says it delegated to to, or to says it was
// delegated by from (RFC 5545 §3.2.4, §3.2.5).
func delegates(from, to Participant) bool {
	return slices.ContainsFunc(from.DelegatedTo, to.Address.Equal) ||
		slices.ContainsFunc(to.DelegatedFrom, from.Address.Equal)
}

// partiesOf reads the parties of each component of a message.
func partiesOf(o *calendar.Object) []Parties {
	var out []Parties
	for _, c := range o.Components() {
		var p Parties
		// RFC 5545 §3.6: ORGANIZER stands once; two of them name nobody.
		if orgs := c.All("ORGANIZER"); len(orgs) == 1 {
			p.Organizer = &Participant{Address: calendar.Address(orgs[0].Value())}
		}
		for _, a := range c.All("ATTENDEE") {
			p.Attendees = append(p.Attendees, Participant{
				Address:       calendar.Address(a.Value()),
				DelegatedTo:   addresses(a.ParamValues("DELEGATED-TO")),
				DelegatedFrom: addresses(a.ParamValues("DELEGATED-FROM")),
			})
		}
		out = append(out, p)
	}
	return out
}

func addresses(vals []string) []calendar.Address {
	out := make([]calendar.Address, len(vals))
	for i, v := range vals {
		out[i] = calendar.Address(v)
	}
	return out
}
