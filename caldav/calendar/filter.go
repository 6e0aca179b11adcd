package calendar

import (
	"slices"
	"strings"
	"time"
)

// TimeRange is a CALDAV:time-range (RFC 4791 §9.9): Start is inclusive, End
// exclusive; a zero time leaves that side open.
type TimeRange struct{ Start, End time.Time }

// CompFilter is a CALDAV:comp-filter (RFC 4791 §9.7.1). All conditions must
// hold, or any of them with AnyOf.
type CompFilter struct {
	Name         string
	IsNotDefined bool
	Range        *TimeRange
	Props        []PropFilter
	Comps        []CompFilter
	AnyOf        bool
}

// PropFilter is a CALDAV:prop-filter (RFC 4791 §9.7.2).
type PropFilter struct {
	Name         string
	IsNotDefined bool
	Range        *TimeRange
	Text         *TextMatch
	Params       []ParamFilter
	AnyOf        bool
}

// ParamFilter is a CALDAV:param-filter (RFC 4791 §9.7.3).
type ParamFilter struct {
	Name         string
	IsNotDefined bool
	Text         *TextMatch
}

// TextMatch is a CALDAV:text-match (RFC 4791 §9.7.5).
type TextMatch struct {
	Text      string
	Collation string // i;ascii-casemap (also ""), i;octet or i;unicode-casemap
	Negate    bool
	MatchType string // contains (also ""), equals, starts-with, ends-with
}

// Limits of a filter (abuse case A14).
const (
	maxFilterDepth = 6 // VCALENDAR, VEVENT, VALARM and room for more
	maxFilterNodes = 200
)

// Check finds what is wrong with a filter before it meets any object: it must
// begin at VCALENDAR and not be too large (CodeInvalidFilter), ask for time
// ranges only where RFC 4791 §9.9 and RFC 7953 §4 define them or where any
// component is meant, on VCALENDAR (CodeUnsupportedFilter), and use known
// collations (CodeUnsupportedCollation).
func (f *CompFilter) Check() error {
	if !strings.EqualFold(f.Name, "VCALENDAR") {
		return fail(CodeInvalidFilter, 0, "a filter begins with the component VCALENDAR")
	}
	nodes := 0
	return f.check(1, &nodes)
}

func (f *CompFilter) check(depth int, nodes *int) error {
	if *nodes++; depth > maxFilterDepth || *nodes > maxFilterNodes {
		return fail(CodeInvalidFilter, 0, "the filter is too large")
	}
	if f.Name == "" {
		return fail(CodeInvalidFilter, 0, "a component filter without a name")
	}
	if f.IsNotDefined && (f.Range != nil || len(f.Props)+len(f.Comps) > 0) {
		return fail(CodeInvalidFilter, 0, "is-not-defined stands alone in a filter")
	}
	if f.Range != nil {
		switch strings.ToUpper(f.Name) {
		case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VALARM", "VAVAILABILITY", "AVAILABLE":
		case "VCALENDAR": // any of them
		default:
			return fail(CodeUnsupportedFilter, 0, "a time range of %s has no meaning", clip(f.Name))
		}
		if err := f.Range.check(); err != nil {
			return err
		}
	}
	for i := range f.Props {
		if err := f.Props[i].check(nodes); err != nil {
			return err
		}
	}
	for i := range f.Comps {
		if err := f.Comps[i].check(depth+1, nodes); err != nil {
			return err
		}
	}
	return nil
}

func (r *TimeRange) check() error {
	if r.Start.IsZero() && r.End.IsZero() {
		return fail(CodeInvalidFilter, 0, "a time range needs a start or an end")
	}
	if !r.Start.IsZero() && !r.End.IsZero() && r.End.Before(r.Start) {
		return fail(CodeInvalidFilter, 0, "a time range ends before it starts")
	}
	return nil
}

func (f *PropFilter) check(nodes *int) error {
	if *nodes++; *nodes > maxFilterNodes {
		return fail(CodeInvalidFilter, 0, "the filter is too large")
	}
	if f.Name == "" {
		return fail(CodeInvalidFilter, 0, "a property filter without a name")
	}
	if f.IsNotDefined && (f.Range != nil || f.Text != nil || len(f.Params) > 0) {
		return fail(CodeInvalidFilter, 0, "is-not-defined stands alone in a filter")
	}
	if f.Range != nil {
		if err := f.Range.check(); err != nil {
			return err
		}
	}
	if err := f.Text.check(); err != nil {
		return err
	}
	for i := range f.Params {
		p := &f.Params[i]
		if *nodes++; *nodes > maxFilterNodes {
			return fail(CodeInvalidFilter, 0, "the filter is too large")
		}
		if p.Name == "" || p.IsNotDefined && p.Text != nil {
			return fail(CodeInvalidFilter, 0, "a parameter filter without a name, or with is-not-defined and more")
		}
		if err := p.Text.check(); err != nil {
			return err
		}
	}
	return nil
}

// Match reports whether o passes the filter (RFC 4791 §9.7). f is the
// VCALENDAR filter, z reads floating times (nil: in UTC). A time range on a
// recurring component asks for an instance of that very component: text
// conditions beside it must hold for the master or override that describes the
// instance. Errors: those of Check, broken values in o, and b used up.
func (f *CompFilter) Match(o *Object, z *Zones, b *Budget) (bool, error) {
	if err := f.Check(); err != nil {
		return false, err
	}
	if f.IsNotDefined {
		return false, nil
	}
	if z == nil {
		z = NewZones(o, nil)
	}
	if b == nil {
		b = NewBudget()
	}
	m := matcher{o: o, z: z, b: b}
	return m.component(f, o.Component, nil, nil)
}

type matcher struct {
	o   *Object
	z   *Zones
	b   *Budget
	set *set
}

// verdict joins conditions by AND, or by OR with any.
type verdict struct {
	any, seen, result bool
}

// add takes one condition's outcome; true: the rest cannot change the result.
func (v *verdict) add(ok bool) bool {
	if !v.seen {
		v.seen, v.result = true, !v.any
	}
	if ok == v.any {
		v.result = ok
		return true
	}
	return false
}

func (v *verdict) final() bool { return !v.seen || v.result }

// component tests c itself against f. owner is the component that holds c.
// ranged, when not nil, answers f's time range in advance.
func (m *matcher) component(f *CompFilter, c, owner *Component, ranged *bool) (bool, error) {
	v := verdict{any: f.AnyOf}
	if f.Range != nil {
		ok := false
		if ranged != nil {
			ok = *ranged
		} else {
			from, to := unixRange(f.Range.Start, f.Range.End)
			var err error
			switch c.Name {
			case "VALARM":
				ok, err = m.alarm(c, owner, from, to)
			case "VFREEBUSY":
				ok, err = freeBusyOverlaps(c, m.z, from, to)
			case "VCALENDAR":
				ok, err = m.anything(f.Range)
			case "VAVAILABILITY", "AVAILABLE":
				ok, err = availabilityOverlaps(c, m.z, from, to, m.b)
			}
			if err != nil {
				return false, err
			}
		}
		if v.add(ok) {
			return v.final(), nil
		}
	}
	for i := range f.Props {
		ok, err := m.property(&f.Props[i], c)
		if err != nil {
			return false, err
		}
		if v.add(ok) {
			return v.final(), nil
		}
	}
	for i := range f.Comps {
		ok, err := m.anyChild(&f.Comps[i], c)
		if err != nil {
			return false, err
		}
		if v.add(ok) {
			return v.final(), nil
		}
	}
	return v.final(), nil
}

// anything reports whether the object has a component of any kind in the range,
// each by the rule of its kind. RFC 4791 §9.9 says nothing of a time range on
// VCALENDAR; clients that do not name a component ask so.
func (m *matcher) anything(r *TimeRange) (bool, error) {
	for _, kind := range [...]string{"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY"} {
		ok, err := m.anyChild(&CompFilter{Name: kind, Range: r}, m.o.Component)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// anyChild reports whether some component within parent passes f.
func (m *matcher) anyChild(f *CompFilter, parent *Component) (bool, error) {
	var few [4]*Component
	named := few[:0]
	for _, c := range parent.Children {
		if strings.EqualFold(c.Name, f.Name) {
			named = append(named, c)
		}
	}
	if f.IsNotDefined {
		return len(named) == 0, nil
	}
	if len(named) == 0 {
		return false, nil
	}
	if f.Range != nil && parent == m.o.Component && named[0].Name != "VFREEBUSY" && named[0].Name != "VAVAILABILITY" {
		return m.recurring(f, named)
	}
	for _, c := range named {
		ok, err := m.component(f, c, parent, nil)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// recurring tests f, which has a time range, against the master and overrides
// of the object.
func (m *matcher) recurring(f *CompFilter, named []*Component) (bool, error) {
	from, to := unixRange(f.Range.Start, f.Range.End)
	if len(named) == 1 && !recurs(named[0]) {
		in, err := singleOverlaps(named[0], m.z, from, to)
		if err != nil {
			return false, err
		}
		return m.component(f, named[0], m.o.Component, &in)
	}
	// Those that pass when an instance of theirs is in the range, and those
	// that need none.
	passing := named[:0]
	for _, c := range named {
		in := false
		ok, err := m.component(f, c, m.o.Component, &in)
		if ok || err != nil {
			return ok, err
		}
		in = true
		if ok, err = m.component(f, c, m.o.Component, &in); err != nil {
			return false, err
		}
		if ok {
			passing = append(passing, c)
		}
	}
	if len(passing) == 0 {
		return false, nil
	}
	found := false
	err := m.walk(from, to, false, func(i *Instance) bool {
		found = slices.Contains(passing, i.Component)
		return !found
	})
	if err != nil || found || m.set.master == nil || m.set.timing.hasStart || !slices.Contains(passing, m.set.master) {
		return found, err
	}
	return singleOverlaps(m.set.master, m.z, from, to)
}

// walk is set.walk on the object's recurrence set, which is prepared once.
func (m *matcher) walk(from, to int64, loose bool, yield func(*Instance) bool) (err error) {
	if m.set == nil {
		if m.set, err = newSet(m.o, m.z, m.b); err != nil {
			return err
		}
	}
	if err = m.set.walk(from, to, loose, yield); err == errStopped {
		return nil
	}
	return err
}

// recurs reports whether c may have other instances than the one its own
// properties describe.
func recurs(c *Component) bool {
	for _, p := range c.Props {
		switch p.name {
		case "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID":
			return true
		}
	}
	return false
}

// singleOverlaps is RFC 4791 §9.9 for a component that does not recur.
func singleOverlaps(c *Component, z *Zones, from, to int64) (bool, error) {
	t, err := timingOf(c)
	if err != nil {
		return false, err
	}
	if !t.hasStart {
		if c.Name != "VTODO" {
			return false, nil
		}
		return todoOverlaps(c, z, &t, from, to)
	}
	l, err := lengthOf(z, c.Name, &t)
	if err != nil {
		return false, err
	}
	zn, err := z.zoneOf(t.start)
	if err != nil {
		return false, err
	}
	w := t.start.Wall.Unix()
	s, _ := zn.instant(w)
	return overlaps(c.Name, &t, &l, s, l.end(zn, w, s), from, to), nil
}

// freeBusyOverlaps is the VFREEBUSY table of RFC 4791 §9.9.
func freeBusyOverlaps(c *Component, z *Zones, from, to int64) (bool, error) {
	t, err := timingOf(c)
	if err != nil {
		return false, err
	}
	if t.hasStart && t.hasEnd {
		s, err := z.unix(t.start)
		if err != nil {
			return false, err
		}
		e, err := z.unix(t.end)
		return from <= e && to > s, err
	}
	for _, p := range c.Props {
		if p.name != "FREEBUSY" {
			continue
		}
		values, err := ParsePeriods(p)
		if err != nil {
			return false, err
		}
		for i := range values {
			s, e, err := z.period(&values[i])
			if err != nil {
				return false, err
			}
			if from < e && to > s {
				return true, nil
			}
		}
	}
	return false, nil
}

// property reports whether c has a property that passes f (RFC 4791 §9.7.2).
func (m *matcher) property(f *PropFilter, c *Component) (bool, error) {
	for _, p := range c.Props {
		if !strings.EqualFold(p.name, f.Name) {
			continue
		}
		if f.IsNotDefined {
			return false, nil
		}
		v := verdict{any: f.AnyOf}
		if f.Range != nil {
			ok, err := m.propertyInRange(p, f.Range)
			if err != nil {
				return false, err
			}
			v.add(ok)
		}
		if f.Text != nil {
			v.add(f.Text.matchProperty(p))
		}
		for i := range f.Params {
			v.add(f.Params[i].match(p))
		}
		if v.final() {
			return true, nil
		}
	}
	return f.IsNotDefined, nil
}

// propertyInRange is RFC 4791 §9.9 for properties: a date or time in the range,
// a period that overlaps it.
func (m *matcher) propertyInRange(p *Property, r *TimeRange) (bool, error) {
	from, to := unixRange(r.Start, r.End)
	values, err := ParsePeriods(p)
	if err != nil {
		return false, nil // not a date: it lies in no range
	}
	for i := range values {
		if values[i].Period {
			s, e, err := m.z.period(&values[i])
			if err != nil {
				return false, err
			}
			if from < e && to > s {
				return true, nil
			}
			continue
		}
		at, err := m.z.unix(values[i].Start)
		if err != nil {
			return false, err
		}
		if from <= at && to > at {
			return true, nil
		}
	}
	return false, nil
}

func (f *ParamFilter) match(p *Property) bool {
	for i := range p.params {
		if !strings.EqualFold(p.params[i].Name, f.Name) {
			continue
		}
		if f.IsNotDefined {
			return false
		}
		return f.Text == nil || f.Text.matchAny(p.params[i].Values)
	}
	return f.IsNotDefined
}

// Window is what an index can select in advance for a filter.
type Window struct {
	Component string     // asked for; "" is any
	UID       *TextMatch // asked of the UID, never negated; nil: nothing
	Range     TimeRange  // asked of the component; zero: all times

	// OK: what the fields above leave out cannot match. Sufficient: the filter
	// says nothing else, so what they select by exact values needs no Match.
	OK, Sufficient bool
}

// Ranged reports whether the window has a time range.
func (w *Window) Ranged() bool { return !w.Range.Start.IsZero() || !w.Range.End.IsZero() }

// Matcher gives a function that reports whether a value, unescaped, passes t; it
// is for many values and for one goroutine.
func (t *TextMatch) Matcher() func(value string) bool {
	matches := t.matcher()
	return func(value string) bool { return matches(value) != t.Negate }
}

// Window says what an index can select in advance.
func (f *CompFilter) Window() (w Window) {
	if !strings.EqualFold(f.Name, "VCALENDAR") || f.IsNotDefined || f.AnyOf && len(f.Comps)+len(f.Props) > 1 {
		return w
	}
	if f.AnyOf && f.Range != nil && len(f.Comps)+len(f.Props) > 0 {
		return w
	}
	w.Sufficient = len(f.Props) == 0
	if f.Range != nil {
		w.Range = *f.Range
	}
	if len(f.Comps) == 0 {
		w.OK = true
		return w
	}
	w.Sufficient = w.Sufficient && len(f.Comps) == 1 && f.Range == nil
	for i := range f.Comps {
		g := &f.Comps[i]
		if g.IsNotDefined || w.Component != "" {
			w.Sufficient = false
			continue
		}
		w.Component = strings.ToUpper(g.Name)
		if g.AnyOf && len(g.Props)+len(g.Comps) > 0 {
			w.Sufficient = false
			continue
		}
		if g.Range != nil && f.Range == nil {
			w.Range = *g.Range
		}
		if len(g.Comps) > 0 {
			w.Sufficient = false
		}
		for j := range g.Props {
			p := &g.Props[j]
			if w.UID == nil && strings.EqualFold(p.Name, "UID") && p.Text != nil && p.Text.Text != "" && !p.Text.Negate && p.Range == nil && (!p.AnyOf || len(p.Params) == 0) {
				w.UID = p.Text
				if len(p.Params) == 0 {
					continue
				}
			}
			w.Sufficient = false
		}
	}
	w.OK = w.Component != "" || w.Ranged()
	return w
}
