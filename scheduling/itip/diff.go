package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// field is one property in a form in which equal meaning is equal text.
type field struct{ name, value string }

// bookkeeping are properties whose change nobody needs to hear about.
var bookkeeping = map[string]bool{
	"DTSTAMP": true, "LAST-MODIFIED": true, "CREATED": true, "SEQUENCE": true, "UID": true,
	"RECURRENCE-ID": true, "EXDATE": true, "REQUEST-STATUS": true,
}

// defaults are values that mean the same as no property.
var defaults = map[string]string{"STATUS": "CONFIRMED", "TRANSP": "OPAQUE", "CLASS": "PUBLIC", "PRIORITY": "0", "PERCENT-COMPLETE": "0"}

// timeNames are properties that say when something takes place.
var timeNames = map[string]bool{"DTSTART": true, "DTEND": true, "DURATION": true, "DUE": true, "RRULE": true, "RDATE": true, "EXRULE": true}

// canon is the meaning of a component as those invited to it see it, sorted:
// bookkeeping, private data, alarms and the order of properties do not count.
// EXDATE is compared by the caller, instance by instance.
func (s *series) canon(c *calendar.Component) []field {
	if c == nil {
		return nil
	}
	out := []field{{"DTSTART", s.timing(c)}}
	lists := map[string][]string{}
	for _, p := range c.Props {
		n := p.Name()
		switch {
		case bookkeeping[n] || !travels(c.Name, p):
		case n == "DTSTART" || n == "DTEND" || n == "DURATION" || n == "DUE":
		case n == "RRULE" || n == "EXRULE":
			out = append(out, field{n, s.ruleText(c, p)})
		case n == "RDATE":
			lists[n] = append(lists[n], s.dates(p)...)
		case n == "CATEGORIES" || n == "RESOURCES":
			lists[n] = append(lists[n], splitText(p.Value())...)
		case n == "ATTENDEE":
			out = append(out, field{n, personText(p)})
		case n == "ORGANIZER":
			out = append(out, field{n, personKey(p)})
		default:
			v := strings.TrimSpace(p.Text())
			if d, ok := defaults[n]; ok {
				if v = strings.ToUpper(v); v == d {
					continue
				}
			}
			if v != "" {
				out = append(out, field{n, v})
			}
		}
	}
	for n, vs := range lists {
		slices.Sort(vs)
		out = append(out, field{n, strings.Join(slices.Compact(vs), ",")})
	}
	slices.SortFunc(out, func(a, b field) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return strings.Compare(a.value, b.value)
	})
	return slices.Compact(out)
}

// personText is what an ATTENDEE line says about a person; CN, RSVP and other
// decoration do not count.
func personText(p *calendar.Property) string {
	or := func(name, def string) string {
		if v := strings.ToUpper(p.Param(name)); v != "" {
			return v
		}
		return def
	}
	t := personKey(p) + "|" + partstat(p) + "|" + or("ROLE", "REQ-PARTICIPANT") + "|" + or("CUTYPE", "INDIVIDUAL")
	for _, n := range []string{"DELEGATED-TO", "DELEGATED-FROM"} {
		ks := paramKeys(p, n)
		slices.Sort(ks)
		t += "|" + strings.Join(ks, ",")
	}
	return t
}

// withoutAnswers drops what other people's answers do to a list of fields.
func withoutAnswers(fs []field) []field {
	out := make([]field, 0, len(fs))
	for _, f := range fs {
		if f.name == "ATTENDEE" {
			parts := strings.Split(f.value, "|")
			if len(parts) == 6 {
				f.value = parts[0] + "|" + parts[2] + "|" + parts[3]
			}
		}
		out = append(out, f)
	}
	return out
}

// timing is start and end as instants. A recurring component keeps its zone,
// since the same instant in another zone moves the later instances.
func (s *series) timing(c *calendar.Component) string {
	var b strings.Builder
	sp := c.Prop("DTSTART")
	var start calendar.DateTime
	var known bool
	if sp != nil {
		d, err := calendar.ParseDateTime(sp)
		if err != nil {
			b.WriteString("?" + sp.Value())
		} else {
			start, known = d, true
			b.WriteString(s.key(d))
			if recurs(c) && d.Kind == calendar.Zoned {
				zone := calendar.ZoneName(d.TZID)
				if zone == "" {
					zone = d.TZID
				}
				b.WriteString("@" + zone)
			}
		}
	}
	b.WriteByte('/')
	switch {
	case c.Prop("DTEND") != nil:
		b.WriteString(s.keyOf(c.Prop("DTEND")))
	case c.Prop("DUE") != nil:
		b.WriteString(s.keyOf(c.Prop("DUE")))
	case c.Prop("DURATION") != nil:
		d, err := calendar.ParseDuration(strings.TrimSpace(c.Value("DURATION")))
		switch {
		case err != nil || !known:
			b.WriteString("?" + c.Value("DURATION"))
		default:
			t, err := s.z.Add(start, d)
			if err != nil {
				b.WriteString("?" + c.Value("DURATION"))
				break
			}
			e := calendar.UTCDateTime(t)
			if start.Kind == calendar.Date || start.Kind == calendar.Floating {
				e = start
				e.Wall = t.UTC()
			}
			b.WriteString(s.key(e))
		}
	case known && c.Name == "VEVENT" && start.Kind == calendar.Date: // RFC 5545 §3.6.1
		e := start
		e.Wall = e.Wall.AddDate(0, 0, 1)
		b.WriteString(s.key(e))
	case known && c.Name == "VEVENT":
		b.WriteString(s.key(start))
	}
	return b.String()
}

// dates are the keys of an RDATE; a period keeps its end as written.
func (s *series) dates(p *calendar.Property) []string {
	ps, err := calendar.ParsePeriods(p)
	if err != nil {
		return []string{"?" + p.Value()}
	}
	var out []string
	for _, d := range ps {
		k := s.key(d.Start)
		if d.Period {
			if d.End.IsZero() {
				k += "/" + d.Duration.String()
			} else {
				k += "/" + s.key(d.End)
			}
		}
		out = append(out, k)
	}
	return out
}

// splitText takes a TEXT list apart at its commas (RFC 5545 §3.3.11).
func splitText(v string) []string {
	var out []string
	start := 0
	for i := 0; i <= len(v); i++ {
		switch {
		case i == len(v) || v[i] == ',':
			if t := strings.TrimSpace(calendar.UnescapeText(v[start:min(i, len(v))])); t != "" {
				out = append(out, t)
			}
			start = i + 1
		case v[i] == '\\':
			i++
			if i >= len(v) {
				i = len(v) - 1
			}
		}
	}
	return out
}

// sameMeaning compares two components, possibly of two objects.
func sameMeaning(a *series, ac *calendar.Component, b *series, bc *calendar.Component) bool {
	return slices.Equal(a.canon(ac), b.canon(bc))
}

// Unchanged tells whether two objects say the same in every component, what
// people answered and SEQUENCE included.
func Unchanged(old, new *calendar.Object) bool {
	a, b := read(old), read(new)
	if (a.master == nil) != (b.master == nil) || len(a.order) != len(b.order) || len(a.ex) != len(b.ex) {
		return false
	}
	for k := range a.ex {
		if _, ok := b.ex[k]; !ok {
			return false
		}
	}
	for _, c := range a.components() {
		n := b.at(a.keyAt(c))
		if n == nil || sequenceOf(c) != sequenceOf(n) || !sameMeaning(a, c, b, n) {
			return false
		}
	}
	return true
}

// Significant tells whether new reschedules old (RFC 5546 §2.1.4, RFC 6638
// §3.2.8): some component both have got another time or recurrence, or an
// instance takes place at another time than before. EXDATE, a cancelled or a
// cut-off instance is a cancellation, not a reschedule.
func Significant(old, new *calendar.Object) bool {
	if old == nil || new == nil {
		return false
	}
	a, b := read(old), read(new)
	if a.master != nil && b.master != nil && rescheduled(a, a.master, b, b.master) {
		return true
	}
	for _, k := range b.order {
		if oc := a.effective(k, b.ids[k]); oc != nil && rescheduled(a, oc, b, b.over[k]) {
			return true
		}
	}
	for _, k := range a.order {
		if b.over[k] == nil && b.master != nil && !isCancelled(a.over[k]) {
			if nc := b.effective(k, a.ids[k]); nc != nil && rescheduled(a, a.over[k], b, nc) {
				return true
			}
		}
	}
	return false
}

// rescheduled compares the times of two components.
func rescheduled(a *series, ac *calendar.Component, b *series, bc *calendar.Component) bool {
	if ac == nil || bc == nil {
		return false
	}
	at, bt := a.timing(ac), b.timing(bc)
	if recurs(ac) != recurs(bc) { // the zone of a single event does not count
		return true
	}
	if at != bt {
		return true
	}
	ar, br := ac.All("RRULE"), bc.All("RRULE")
	if len(ar) != len(br) {
		return true
	}
	for i := range ar {
		if a.ruleText(ac, ar[i]) != b.ruleText(bc, br[i]) && !a.cutsShort(ac, ar[i], br[i]) {
			return true
		}
	}
	old := extraDates(a, ac)
	for _, d := range extraDates(b, bc) {
		if !slices.Contains(old, d) {
			return true
		}
	}
	return false
}

func zonesOf(o *calendar.Object) []*calendar.Component {
	var out []*calendar.Component
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			out = append(out, c)
		}
	}
	return out
}

// maxChanges bounds the list for humans.
const maxChanges = 50

// fieldChanges lists what differs between two components, for a mail or a
// notice. Values are those of the wire, texts are unescaped.
func fieldChanges(instance string, a *series, ac *calendar.Component, b *series, bc *calendar.Component, into []FieldChange) []FieldChange {
	before, after := group(withoutAnswers(a.canon(ac))), group(withoutAnswers(b.canon(bc)))
	names := map[string]bool{}
	for n := range before {
		names[n] = true
	}
	for n := range after {
		names[n] = true
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for _, n := range sorted {
		if before[n] == after[n] || len(into) >= maxChanges {
			continue
		}
		fc := FieldChange{Instance: instance, Field: strings.ToLower(n), Old: shown(ac, n), New: shown(bc, n)}
		if n == "RRULE" && fc.Old == fc.New { // it means other days since DTSTART is another
			continue
		}
		if n == "DTSTART" && fc.Old == fc.New { // the end moved
			fc.Field = "dtend"
			for _, e := range []string{"DTEND", "DURATION", "DUE"} {
				if fc.Old == "" || ac.Prop(e) != nil {
					fc.Old = shown(ac, e)
				}
				if bc.Prop(e) != nil {
					fc.New = shown(bc, e)
				}
			}
		}
		into = append(into, fc)
	}
	return into
}

func group(fs []field) map[string]string {
	m := map[string]string{}
	for _, f := range fs {
		m[f.name] += f.value + "\n"
	}
	return m
}

// shown is the text of a property for people.
func shown(c *calendar.Component, name string) string {
	if c == nil {
		return ""
	}
	var out []string
	for _, p := range c.All(name) {
		switch {
		case name == "ATTENDEE" || name == "ORGANIZER":
			a := calendar.Address(p.Value())
			if e := a.Email(); e != "" {
				out = append(out, e)
			} else {
				out = append(out, p.Value())
			}
		case timeNames[name] || name == "GEO":
			v := p.Value()
			if z := p.Param("TZID"); z != "" {
				v += " " + z
			}
			out = append(out, v)
		default:
			out = append(out, p.Text())
		}
	}
	return strings.Join(out, ", ")
}
