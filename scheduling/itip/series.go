package itip

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// series is an object read for scheduling: its master, its overrides by
// recurrence id and its excluded dates. The key of an instance is the instant
// it names, so that two spellings of one time are one instance.
type series struct {
	o      *calendar.Object
	z      *calendar.Zones
	master *calendar.Component
	over   map[string]*calendar.Component
	ids    map[string]calendar.DateTime // of overrides and exclusions
	order  []string                     // keys of the overrides as they stand
	future []string                     // keys of RANGE=THISANDFUTURE overrides, by time
	ex     map[string]calendar.DateTime // EXDATE of the master
	form   form                         // of the master's DTSTART
	budget *calendar.Budget
	plain  *calendar.Object // the master's recurrence alone, made when first asked for
}

// read takes o apart; nil gives an empty series.
func read(o *calendar.Object) *series {
	s := &series{o: o, over: map[string]*calendar.Component{}, ids: map[string]calendar.DateTime{}, ex: map[string]calendar.DateTime{}}
	if o == nil {
		return s
	}
	s.z, s.budget = calendar.NewZones(o, nil), calendar.NewBudget()
	s.master = o.Master()
	s.form = formOf(s.master)
	for _, c := range o.Components() {
		p := c.Prop("RECURRENCE-ID")
		if p == nil {
			continue
		}
		id, _ := calendar.ParseDateTime(p)
		id = s.form.of(id)
		k := s.keyAt(c)
		if isFuture(c) {
			s.future = append(s.future, k)
		}
		if s.over[k] == nil {
			s.order = append(s.order, k)
		}
		s.over[k], s.ids[k] = c, id
	}
	slices.SortStableFunc(s.future, func(a, b string) int { return s.instant(s.ids[a]).Compare(s.instant(s.ids[b])) })
	if s.master != nil {
		for _, p := range s.master.All("EXDATE") {
			ds, err := calendar.ParseDateTimes(p)
			if err != nil {
				continue
			}
			for _, d := range ds {
				d = s.form.of(d)
				k := s.key(d)
				s.ex[k], s.ids[k] = d, d
			}
		}
	}
	return s
}

func isFuture(c *calendar.Component) bool {
	p := c.Prop("RECURRENCE-ID")
	return p != nil && strings.EqualFold(p.Param("RANGE"), "THISANDFUTURE")
}

// keyOf is the key of a time; an unreadable one keeps its text.
func (s *series) keyOf(p *calendar.Property) string {
	d, err := calendar.ParseDateTime(p)
	if err != nil {
		return "?" + p.Value()
	}
	return s.key(d)
}

// key names an instant: "D20260101" for dates, "L…" for floating times, "Z"
// and seconds for the others.
func (s *series) key(d calendar.DateTime) string {
	switch d.Kind {
	case calendar.Date:
		return "D" + d.Value()
	case calendar.Floating:
		return "L" + d.Value()
	}
	if t, err := s.z.Instant(d); err == nil {
		return "Z" + strconv.FormatInt(t.Unix(), 10)
	}
	return "?" + d.TZID + ":" + d.Value()
}

// idKey is the key of what names an instance, whatever its form.
func (s *series) idKey(d calendar.DateTime) string { return s.key(s.form.of(d)) }

func (s *series) instant(d calendar.DateTime) time.Time {
	if t, err := s.z.Instant(d); err == nil {
		return t
	}
	return d.Wall
}

// components are all of them, the master first.
func (s *series) components() []*calendar.Component {
	out := make([]*calendar.Component, 0, len(s.order)+1)
	if s.master != nil {
		out = append(out, s.master)
	}
	for _, k := range s.order {
		out = append(out, s.over[k])
	}
	return out
}

// at is the override of that key, or the master for "".
func (s *series) at(key string) *calendar.Component {
	if key == "" {
		return s.master
	}
	return s.over[key]
}

// keyAt is the key of a component as at takes it.
func (s *series) keyAt(c *calendar.Component) string {
	p := c.Prop("RECURRENCE-ID")
	if p == nil {
		return ""
	}
	k := "?" + p.Value() // what cannot be read keeps its text
	if d, err := calendar.ParseDateTime(p); err == nil {
		k = s.idKey(d)
	}
	if isFuture(c) {
		k += "+"
	}
	return k
}

// recurs tells whether the master can have more than one instance.
func recurs(c *calendar.Component) bool {
	return c != nil && (c.Prop("RRULE") != nil || c.Prop("RDATE") != nil)
}

// has tells whether the master's own recurrence set, without its overrides,
// holds id. When that cannot be found out (broken rule, budget used up), the
// answer is yes: better one instance too many than an appointment lost.
func (s *series) has(id calendar.DateTime) bool {
	if s.master == nil {
		return false
	}
	if !recurs(s.master) {
		p := s.master.Prop("DTSTART")
		_, out := s.ex[s.idKey(id)]
		return p != nil && !out && s.keyOf(p) == s.idKey(id)
	}
	if _, out := s.ex[s.idKey(id)]; out {
		return false
	}
	return s.planned(id)
}

// planned is has for what may be excluded.
func (s *series) planned(id calendar.DateTime) bool {
	if s.plain == nil { // without overrides, which HasInstance would count, and EXDATEs, which are known
		c := &calendar.Component{Name: s.master.Name}
		for _, p := range s.master.Props {
			if p.Name() != "EXDATE" {
				c.Props = append(c.Props, p)
			}
		}
		s.plain = &calendar.Object{Component: &calendar.Component{Name: "VCALENDAR", Children: append(zonesOf(s.o), c)}}
	}
	ok, err := s.plain.HasInstance(s.z, id, s.budget)
	return err != nil || ok
}

// hasRule is has for an instance that may have an override.
func (s *series) hasRule(id calendar.DateTime) bool { return recurs(s.master) && s.has(id) }

// effective is what describes the instance: its override, or a component made
// from the master (or the nearest THISANDFUTURE override), or nil when there
// is no such instance.
func (s *series) effective(key string, id calendar.DateTime) *calendar.Component {
	if c := s.over[key]; c != nil {
		return c
	}
	if !s.has(id) {
		return nil
	}
	return s.derive(id)
}

// derive makes the override for an instance that has none: the same event at
// its own time, with a RECURRENCE-ID in the form of the master's DTSTART
// (RFC 5545 §3.8.4.4). The caller knows that id is an instance.
func (s *series) derive(id calendar.DateTime) *calendar.Component {
	base, shift := s.master, time.Duration(0)
	at := s.instant(id)
	for _, k := range s.future {
		if f := s.ids[k]; !s.instant(f).After(at) {
			base = s.over[k]
			shift = 0
			if st, err := calendar.ParseDateTime(orEmpty(base.Prop("DTSTART"))); err == nil {
				shift = st.Wall.Sub(f.Wall)
			}
		}
	}
	if base == nil {
		return nil
	}
	c := base.Clone()
	c.Remove("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID")
	form := id
	if p := s.startOf(s.master); p != nil {
		if m, err := calendar.ParseDateTime(p); err == nil && (m.Kind == calendar.Date) == (id.Kind == calendar.Date) {
			if l, err := s.z.Local(at, m); err == nil && m.Kind != calendar.Date && m.Kind != calendar.Floating && id.Kind != calendar.Floating {
				form = l
			}
		}
	}
	c.Add(form.Property("RECURRENCE-ID"))
	s.moveTo(c, base, form, shift)
	if base == s.master {
		s.ownLength(c, form)
	}
	return c
}

// ownLength gives c, the instance form, the length that a PERIOD of RDATE gives
// to it (RFC 5545 §3.8.5.2).
func (s *series) ownLength(c *calendar.Component, form calendar.DateTime) {
	for _, p := range s.master.All("RDATE") {
		ps, err := calendar.ParsePeriods(p)
		if err != nil {
			continue
		}
		for _, v := range ps {
			if !v.Period || s.key(v.Start) != s.key(form) {
				continue
			}
			end := v.End
			if end.IsZero() {
				t, err := s.z.Add(v.Start, v.Duration)
				if err != nil {
					return
				}
				end = form
				if form.Kind == calendar.Floating {
					end.Wall = t.UTC()
				} else if end, err = s.z.Local(t, form); err != nil {
					return
				}
			}
			c.Remove("DURATION")
			setTime(c, "DTEND", end)
			return
		}
	}
}

// startOf is DTSTART, or DUE for a to-do that has none.
func (s *series) startOf(c *calendar.Component) *calendar.Property {
	if c == nil {
		return nil
	}
	if p := c.Prop("DTSTART"); p != nil {
		return p
	}
	return c.Prop("DUE")
}

func orEmpty(p *calendar.Property) *calendar.Property {
	if p == nil {
		return calendar.NewProperty("X", "")
	}
	return p
}

// moveTo gives c the times of base moved to start at form (plus shift).
func (s *series) moveTo(c, base *calendar.Component, form calendar.DateTime, shift time.Duration) {
	sp := s.startOf(base)
	if sp == nil {
		return
	}
	from, err := calendar.ParseDateTime(sp)
	if err != nil {
		return
	}
	start := form
	start.Wall = start.Wall.Add(shift)
	setTime(c, sp.Name(), start)
	for _, name := range []string{"DTEND", "DUE"} {
		p := base.Prop(name)
		if p == nil || p.Name() == sp.Name() {
			continue
		}
		to, err := calendar.ParseDateTime(p)
		if err != nil {
			continue
		}
		// RFC 5545 §3.8.5.3: the exact duration applies to all instances.
		end := to
		if to.Kind == calendar.Date || to.Kind == calendar.Floating {
			end.Wall = start.Wall.Add(to.Wall.Sub(from.Wall))
		} else if l, err := s.z.Local(s.instant(start).Add(s.instant(to).Sub(s.instant(from))), to); err == nil {
			end = l
		}
		setTime(c, name, end)
	}
}

// setTime replaces a time but keeps the parameters that do not belong to it.
func setTime(c *calendar.Component, name string, d calendar.DateTime) {
	p := d.Property(name)
	if old := c.Prop(name); old != nil {
		for _, q := range old.Params() {
			if q.Name != "TZID" && q.Name != "VALUE" {
				p.SetParam(q.Name, q.Values...)
			}
		}
	}
	c.Set(p)
}

// exclude takes an instance out of c by EXDATE, in the form of its DTSTART.
func (s *series) exclude(c *calendar.Component, id calendar.DateTime) {
	if p := s.startOf(c); p != nil {
		if m, err := calendar.ParseDateTime(p); err == nil && m.Kind != calendar.Date && m.Kind != calendar.Floating &&
			id.Kind != calendar.Date && id.Kind != calendar.Floating {
			if l, err := s.z.Local(s.instant(id), m); err == nil {
				id = l
			}
		}
	}
	c.Add(id.Property("EXDATE"))
	if c == s.master {
		s.ex[s.idKey(id)] = id
	}
}

// include takes the EXDATEs of instances out of c again.
func (s *series) include(c *calendar.Component, keys ...string) {
	if len(keys) == 0 {
		return
	}
	in := map[string]bool{}
	for _, k := range keys {
		in[k] = true
		if c == s.master {
			delete(s.ex, k)
		}
	}
	kept := c.Props[:0:0]
	for _, p := range c.Props {
		if p.Name() == "EXDATE" {
			ds, err := calendar.ParseDateTimes(p)
			if err == nil {
				var left []string
				for _, d := range ds {
					if !in[s.idKey(d)] {
						left = append(left, d.Value())
					}
				}
				if len(left) == 0 && len(ds) > 0 {
					continue
				}
				if len(left) < len(ds) {
					p = p.Clone()
					p.SetValue(strings.Join(left, ","))
				}
			}
		}
		kept = append(kept, p)
	}
	c.Props = kept
}

// truncate ends the recurrence of c right before id (a THISANDFUTURE cut).
func (s *series) truncate(c *calendar.Component, id calendar.DateTime) {
	last := id
	switch id.Kind {
	case calendar.Date:
		last.Wall = id.Wall.AddDate(0, 0, -1)
	case calendar.Floating:
		last.Wall = id.Wall.Add(-time.Second)
	default:
		last = calendar.UTCDateTime(s.instant(id).Add(-time.Second))
	}
	for i, p := range c.Props {
		if p.Name() != "RRULE" {
			continue
		}
		var parts []string
		for _, part := range strings.Split(p.Value(), ";") {
			name, _, _ := strings.Cut(part, "=")
			if n := strings.ToUpper(strings.TrimSpace(name)); n != "COUNT" && n != "UNTIL" && n != "" {
				parts = append(parts, part)
			}
		}
		q := p.Clone()
		q.SetValue(strings.Join(append(parts, "UNTIL="+last.Value()), ";"))
		c.Props[i] = q
	}
	if c == s.master {
		s.plain = nil
	}
	at := s.instant(id)
	c.Props = slices.DeleteFunc(c.Props, func(p *calendar.Property) bool {
		if p.Name() != "RDATE" {
			return false
		}
		ps, err := calendar.ParsePeriods(p)
		if err != nil {
			return false
		}
		var left []string
		for i, v := range strings.Split(p.Value(), ",") {
			if i < len(ps) && s.instant(ps[i].Start).Before(at) {
				left = append(left, v)
			}
		}
		if len(left) > 0 && len(left) < len(ps) {
			p.SetValue(strings.Join(left, ","))
		}
		return len(left) == 0
	})
}

// cancelledWhole tells whether the organizer called the whole off: the master
// speaks for it, or all the single instances do.
func (s *series) cancelledWhole() bool {
	if s.master != nil {
		return isCancelled(s.master)
	}
	for _, k := range s.order {
		if !isCancelled(s.over[k]) {
			return false
		}
	}
	return len(s.order) > 0
}

// dead tells whether every single component is cancelled.
func (s *series) dead() bool {
	for _, c := range s.components() {
		if !isCancelled(c) {
			return false
		}
	}
	return s.master != nil || len(s.order) > 0
}

// sequenceOf is SEQUENCE, 0 when absent or broken (RFC 5545 §3.8.7.4).
func sequenceOf(c *calendar.Component) int {
	if c == nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(c.Value("SEQUENCE")))
	if err != nil || n < 0 || n > maxSequence {
		return 0
	}
	return n
}

// maxSequence bounds SEQUENCE (RFC 5545 §3.3.8: a signed 32 bit integer).
const maxSequence = 1<<31 - 1

func (s *series) maxSequence() int {
	n := 0
	for _, c := range s.components() {
		n = max(n, sequenceOf(c))
	}
	return n
}

// minSequence is the lowest SEQUENCE; 0 when there are no components.
func (s *series) minSequence() int {
	n := s.maxSequence()
	for _, c := range s.components() {
		n = min(n, sequenceOf(c))
	}
	return n
}

func setSequence(c *calendar.Component, n int) {
	c.SetValue("SEQUENCE", strconv.Itoa(min(n, maxSequence)))
}

func setStamp(c *calendar.Component, now time.Time) {
	c.Set(calendar.NewProperty("DTSTAMP", calendar.UTCDateTime(now).Value()))
}

// stampOf reads SEQUENCE and DTSTAMP of a component. A DTSTAMP from the
// future counts as now at most, so that a wrong clock cannot freeze an event
// (abuse A52); a zero now leaves it.
func stampOf(c *calendar.Component, now time.Time) Stamp {
	st := Stamp{Sequence: sequenceOf(c)}
	if p := c.Prop("DTSTAMP"); p != nil {
		if d, err := calendar.ParseDateTime(p); err == nil {
			st.DTStamp = d.Wall
		}
	}
	return st.upTo(now)
}

// upTo is s, or now where s is later: a sender's clock is ahead, or ours was set
// back since we took s from it (abuse A52).
func (s Stamp) upTo(now time.Time) Stamp {
	if !now.IsZero() && s.DTStamp.After(now) {
		s.DTStamp = now.UTC().Truncate(time.Second)
	}
	return s
}

// Compare orders stamps (RFC 5546 §2.1.5): -1 when s is older than t.
func (s Stamp) Compare(t Stamp) int {
	if s.Sequence != t.Sequence {
		if s.Sequence < t.Sequence {
			return -1
		}
		return 1
	}
	return s.DTStamp.Truncate(time.Second).Compare(t.DTStamp.Truncate(time.Second))
}

// StampOf is the newest stamp among the components of o.
func StampOf(o *calendar.Object) Stamp {
	var st Stamp
	if o == nil {
		return st
	}
	for _, c := range o.Components() {
		if t := stampOf(c, time.Time{}); t.Compare(st) > 0 {
			st = t
		}
	}
	return st
}
