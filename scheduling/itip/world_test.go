package itip

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// world is a server with some users, as small as scheduling allows: what one
// user does reaches the others at once, answers refresh everybody, delivery
// states are written back. It stands for package scheduling in these tests.
type world struct {
	now     time.Time
	users   map[string]*user
	err     error
	status  string    // of the last received message
	sent    []Message // by the last command, refreshes left out
	rewrite bool
	newTag  bool
	hold    bool // messages stay in held instead of being delivered
	held    []Message
}

type user struct {
	name      string
	addresses []calendar.Address
	copy      *calendar.Object
	inbox     []*calendar.Object
	kinds     []Kind
	server    bool
	transp    string
	replies   map[string]Stamp
	forgotten *Stamp
	drop      bool
	tags      int
}

const domain = "example.com"

func newWorld() *world {
	return &world{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), users: map[string]*user{}}
}

// user gives the account of that name; it has two addresses.
func (w *world) user(name string) *user {
	u := w.users[name]
	if u == nil {
		u = &user{name: name, replies: map[string]Stamp{}, addresses: []calendar.Address{
			calendar.Address("mailto:" + name + "@" + domain), calendar.Address("mailto:" + name + ".alias@" + domain)}}
		w.users[name] = u
	}
	return u
}

func (w *world) owner(a calendar.Address) *user {
	for _, n := range sortedUsers(w.users) {
		if slices.ContainsFunc(w.users[n].addresses, a.Equal) {
			return w.users[n]
		}
	}
	if a.Domain() != domain {
		return nil
	}
	name, _, _ := strings.Cut(a.Email(), "@")
	return w.user(strings.TrimSuffix(name, ".alias"))
}

func sortedUsers(m map[string]*user) []string {
	var out []string
	for n := range m {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

type putOptions struct{ silent, force, keepTag bool }

// put is a PUT (o) or DELETE (nil) by that user.
func (w *world) put(name string, o *calendar.Object, opt putOptions) {
	u := w.user(name)
	w.err, w.status, w.sent = nil, "", nil
	p, err := PlanChange(Change{Old: u.copy, New: o, By: u.addresses, Now: w.now, Silent: opt.silent, Force: opt.force,
		ProdID: "-//Kalends//Test//EN", ServerTransp: u.server, OrganizerTransp: u.transp, AllowReset: !opt.keepTag})
	if err != nil {
		w.err = err
		return
	}
	w.rewrite, w.newTag = p.Rewritten, p.NewTag
	if p.NewTag {
		u.tags++
	}
	if o == nil {
		p.Store, u.replies = nil, map[string]Stamp{}
		if p.Forget != nil {
			u.forgotten = p.Forget
		}
	}
	u.copy, u.server, u.transp = p.Store, p.ServerTransp, p.OrganizerTransp
	w.sent = p.Messages
	w.send(u, p.Messages)
}

// send delivers messages and writes back what became of them.
func (w *world) send(from *user, msgs []Message) {
	if w.hold {
		w.held = append(w.held, msgs...)
		return
	}
	status := map[string]string{}
	for _, m := range msgs {
		for _, a := range m.Recipients {
			st := "5.2"
			if u := w.owner(a); u != nil {
				out := w.receive(u, m.Object, "", false)
				if st = out.Status; strings.HasPrefix(st, "2.0") {
					st = "1.2"
				}
			}
			status[a.Key()] = st
		}
	}
	if from != nil && from.copy != nil {
		from.copy = from.copy.Clone()
		ApplyStatus(from.copy, status)
	}
}

// receive hands a message to one user.
func (w *world) receive(u *user, m *calendar.Object, sender calendar.Address, outside bool) Outcome {
	out, err := Process(m, u.copy, Policy{Self: u.addresses, Now: w.now, ServerTransp: u.server, OrganizerTransp: u.transp,
		Sender: sender, ProdID: "-//Kalends//Test//EN", Forgotten: u.forgotten, LastReply: u.replies, Outside: outside, DropCancelled: u.drop})
	if err != nil {
		w.err = err
		return out
	}
	w.status = out.Status
	switch {
	case out.Remove:
		u.copy = nil
	case out.Store != nil:
		u.copy, u.server, u.transp = out.Store, out.ServerTransp, out.OrganizerTransp
	}
	if out.NewTag {
		u.tags++
	}
	for k, v := range out.ReplyStamps {
		u.replies[k] = v
	}
	if out.Inbox != nil {
		u.inbox, u.kinds = append(u.inbox, out.Inbox), append(u.kinds, out.Kind)
	}
	if out.Refresh {
		var to []calendar.Address
		for _, a := range Attendees(u.copy) {
			if !a.Equal(out.Replier) {
				to = append(to, a)
			}
		}
		msgs, err := RefreshFor(u.copy, to, MessageOptions{By: u.addresses, Now: w.now, ProdID: "x"})
		if err != nil {
			w.err = err
		}
		for _, r := range msgs {
			for _, a := range r.Recipients {
				if v := w.owner(a); v != nil {
					w.receive(v, r.Object, "", false)
				}
			}
		}
		w.status = out.Status
	}
	w.sent = append(w.sent, out.Messages...)
	w.send(nil, out.Messages)
	return out
}

// condition names the precondition of the last refusal.
func (w *world) condition() string {
	var e *Error
	if errors.As(w.err, &e) {
		return string(e.Condition)
	}
	if w.err != nil {
		return w.err.Error()
	}
	return ""
}

// ics reads a calendar object written short: without VCALENDAR, UID and
// DTSTAMP when they do not matter.
func (w *world) ics(text string) (*calendar.Object, error) {
	var b strings.Builder
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.Contains(text, "BEGIN:VCALENDAR") {
		b.WriteString("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Client//EN\n")
		if strings.HasPrefix(text, "METHOD:") {
			line, rest, _ := strings.Cut(text, "\n")
			b.WriteString(line + "\n")
			text = rest
		}
		for _, c := range strings.Split(text, "BEGIN:V")[1:] {
			name, body, _ := strings.Cut(c, "\n")
			b.WriteString("BEGIN:V" + name + "\n")
			if name == "EVENT" || name == "TODO" {
				if !strings.Contains(body, "\nUID:") && !strings.HasPrefix(body, "UID:") {
					b.WriteString("UID:1\n")
				}
				if !strings.Contains(body, "DTSTAMP:") {
					b.WriteString("DTSTAMP:" + w.now.Format("20060102T150405Z") + "\n")
				}
			}
			b.WriteString(body)
		}
		b.WriteString("END:VCALENDAR\n")
		text = b.String()
	}
	return calendar.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), calendar.DefaultLimits())
}

// dropped are properties no comparison looks at.
var dropped = map[string]bool{"DTSTAMP": true, "PRODID": true, "CALSCALE": true, "CREATED": true, "LAST-MODIFIED": true, "VERSION": true, "UID": true}

// normal writes an object so that equal meaning is equal text: sorted, and
// without stamps and defaults.
func normal(o *calendar.Object) string {
	if o == nil {
		return "(none)\n"
	}
	s := read(o)
	var comps []string
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			continue
		}
		id := s.keyAt(c)
		if id == "" {
			id = " "
		}
		comps = append(comps, id+"\x00"+normalComponent(s, c, ""))
	}
	sort.Strings(comps)
	var b strings.Builder
	if m := o.Method(); m != "" {
		fmt.Fprintln(&b, "METHOD:"+m)
	}
	for _, c := range comps {
		_, t, _ := strings.Cut(c, "\x00")
		b.WriteString(t)
	}
	return b.String()
}

func normalComponent(s *series, c *calendar.Component, indent string) string {
	var out []string
	for _, p := range c.Props {
		n := p.Name()
		if dropped[n] || n == "TRANSP" && p.Value() == "OPAQUE" {
			continue
		}
		v := p.Value()
		switch n {
		case "DTSTART", "DTEND", "DUE", "RECURRENCE-ID":
			v = s.keyOf(p)
			if d, err := calendar.ParseDateTime(p); err == nil {
				v = d.Value() + " " + d.TZID
			}
		case "EXDATE":
			ds, _ := calendar.ParseDateTimes(p)
			for _, d := range ds {
				out = append(out, "EXDATE:"+s.instant(d).Format("20060102T150405Z"))
			}
			continue
		case "RRULE":
			v = read(nil).ruleText(nil, p)
		}
		var ps []string
		for _, q := range p.Params() {
			if q.Name == "TZID" || q.Name == "VALUE" || q.Name == "PARTSTAT" && strings.Join(q.Values, "") == "NEEDS-ACTION" {
				continue
			}
			ps = append(ps, q.Name+"="+strings.Join(q.Values, ","))
		}
		sort.Strings(ps)
		out = append(out, n+strings.Join(append([]string{""}, ps...), ";")+":"+v)
	}
	sort.Strings(out)
	var kids []string
	for _, k := range c.Children {
		kids = append(kids, normalComponent(s, k, indent+"  "))
	}
	sort.Strings(kids)
	return indent + "BEGIN:" + c.Name + "\n" + indent + "  " + strings.Join(out, "\n"+indent+"  ") + "\n" + strings.Join(kids, "") + indent + "END\n"
}
