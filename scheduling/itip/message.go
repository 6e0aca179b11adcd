package itip

import (
	"bytes"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// MessageOptions is what every message needs besides its object.
type MessageOptions struct {
	By     []calendar.Address // every address of the sender
	Now    time.Time          // DTSTAMP
	ProdID string             // PRODID; "" keeps the object's
	Marks  Marks              // PlanRecipient: those of the new state
}

// envelope turns a tailored object into an iTIP message: METHOD, the server's
// PRODID, DTSTAMP now.
func envelope(o *calendar.Object, method string, opt MessageOptions) {
	if opt.ProdID != "" || o.Prop("PRODID") == nil {
		o.Set(calendar.NewProperty("PRODID", calendar.EscapeText(opt.ProdID)))
	}
	o.Set(calendar.NewProperty("METHOD", method))
	for _, c := range o.Components() {
		setStamp(c, opt.Now)
	}
}

// Stamped is a message with the DTSTAMP at; the message is not changed.
func Stamped(o *calendar.Object, at time.Time) *calendar.Object {
	o = o.Clone()
	for _, c := range o.Components() {
		setStamp(c, at)
	}
	return o
}

// newMessage fills in what the object itself says.
func newMessage(o *calendar.Object, method string, from calendar.Address, to []calendar.Address, kind Kind) Message {
	return Message{Method: method, Component: o.Kind(), UID: o.UID(), Originator: from, Recipients: to, Object: o, Kind: kind}
}

// Invitation is the REQUEST that an attendee's copy came from, as an inbox item
// shows it; organizerTransp is what is kept beside the copy.
func Invitation(copy *calendar.Object, organizerTransp string, opt MessageOptions) *calendar.Object {
	s := read(copy)
	var comps []*calendar.Component
	for _, c := range s.components() {
		n := clean(c)
		if organizerTransp != "" {
			setTransp(n, transpFor(organizerTransp, s.keyAt(c)))
		}
		comps = append(comps, n)
	}
	o := s.wrap(comps)
	envelope(o, "REQUEST", opt)
	return o
}

// RefreshFor tells other attendees what changed in the organizer's copy
// through a REPLY: everybody gets his own view of the object (RFC 6638
// §3.2.2, the second table). The messages make no inbox items. Recipients who
// are not attendees, or for whom the server does not schedule, are skipped.
func RefreshFor(organizer *calendar.Object, recipients []calendar.Address, opt MessageOptions) ([]Message, error) {
	return fullRequests(organizer, recipients, KindRefreshed, opt)
}

// fullRequests makes REQUESTs with the whole view of each recipient; those
// with the same view share a message.
func fullRequests(o *calendar.Object, recipients []calendar.Address, kind Kind, opt MessageOptions) ([]Message, error) {
	from, ok := Organizer(o)
	if !ok {
		return nil, &Error{CondValidObject, "the object has no ORGANIZER"}
	}
	s := read(o)
	members := s.members()
	own := calendar.NewAddressSet(append([]calendar.Address{from}, opt.By...)...)
	var out []Message
	at := map[string]int{}
	seen := calendar.AddressSet{}
	for _, a := range recipients {
		k := a.Key()
		if k == "" || own.Has(a) || seen.Has(a) {
			continue
		}
		seen.Add(a)
		in := members[k]
		if in == "" {
			continue
		}
		if i, ok := at[in]; ok {
			out[i].Recipients = append(out[i].Recipients, a)
			continue
		}
		his := s
		if t := s.tailOf(k); t != nil {
			his = read(t.view)
		}
		m := his.tailor(func(c *calendar.Component) bool { return served(c, k) != nil })
		envelope(m, "REQUEST", opt)
		at[in] = len(out)
		out = append(out, newMessage(m, "REQUEST", from, []calendar.Address{a}, kind))
	}
	return out, nil
}

// members tells for every person which components list him for the server to
// schedule, as a text that is equal for people listed in the same ones.
func (s *series) members() map[string]string {
	out := map[string][]byte{}
	comps := s.components()
	for i, c := range comps {
		for _, p := range c.Props {
			if p.Name() != "ATTENDEE" {
				continue
			}
			k := personKey(p)
			b := out[k]
			if b == nil {
				b = make([]byte, len(comps))
				for j := range b {
					b[j] = '0'
				}
				out[k] = b
			}
			switch {
			case AgentOf(p) != AgentServer: // see served
				b[i] = '-'
			case b[i] == '0':
				b[i] = '1'
			}
		}
	}
	m := make(map[string]string, len(out))
	for k, b := range out {
		if bytes.IndexByte(b, '1') >= 0 {
			m[k] = string(bytes.ReplaceAll(b, []byte("-"), []byte("0")))
		}
	}
	return m
}
