package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// publicX are the private-looking properties that mean something to every
// reader and therefore go with an invitation.
var publicX = map[string]bool{
	"X-ALT-DESC": true, "X-APPLE-STRUCTURED-LOCATION": true, "X-MICROSOFT-CDO-ALLDAYEVENT": true,
}

// travels tells whether a property of the organizer's object is shown to
// attendees at all.
func travels(component string, p *calendar.Property) bool {
	n := p.Name()
	switch {
	case strings.HasPrefix(n, "X-"):
		return publicX[n]
	case n == "REQUEST-STATUS":
		return false
	case n == "COMPLETED" || n == "PERCENT-COMPLETE": // the organizer's own progress, RFC 5546 §3.4.3
		return component != "VTODO"
	case n == "ATTACH":
		return !localAttach(p) && !strings.EqualFold(p.Param("ENCODING"), "BASE64") && !strings.EqualFold(p.Param("VALUE"), "BINARY")
	}
	return true
}

// localAttach tells whether an attachment names a file of somebody's machine
// (abuse A55): file: URIs, UNC and drive paths.
func localAttach(p *calendar.Property) bool {
	v := strings.ToLower(strings.TrimSpace(p.Value()))
	return strings.HasPrefix(v, "file:") || strings.HasPrefix(v, `\\`) || strings.HasPrefix(v, "//") ||
		len(v) > 2 && v[1] == ':' && (v[2] == '\\' || v[2] == '/')
}

// clean is a copy of the component as others may see it: no alarms, no
// private properties, no scheduling parameters.
func clean(c *calendar.Component) *calendar.Component {
	d := &calendar.Component{Name: c.Name, Props: make([]*calendar.Property, 0, len(c.Props))}
	for _, p := range c.Props {
		if !travels(c.Name, p) {
			continue
		}
		p = p.Clone()
		cleanLine(p)
		d.Props = append(d.Props, p)
	}
	for _, k := range c.Children {
		if k.Name != "VALARM" {
			d.Children = append(d.Children, k.Clone())
		}
	}
	return d
}

// cleanLine takes SCHEDULE-* and private parameters off ORGANIZER and
// ATTENDEE (RFC 6638 §7: they never leave the server).
func cleanLine(p *calendar.Property) {
	if n := p.Name(); n != "ATTENDEE" && n != "ORGANIZER" {
		return
	}
	var drop []string
	for _, q := range p.Params() {
		if strings.HasPrefix(q.Name, "SCHEDULE-") || strings.HasPrefix(q.Name, "X-") {
			drop = append(drop, q.Name)
		}
	}
	for _, n := range drop {
		p.DelParam(n)
	}
}

// Tailor is what one attendee may see of an organizer's object (wants 4, 5):
// exactly the instances that list him. An instance of the series without him
// becomes an EXDATE; when the master does not list him, the overrides that do
// stand alone (RFC 6638 §3.2.6), but for an instance and all after it, which are a
// series of their own to him (see tail). Alarms and private data are left out. It is
// nil when nothing lists him.
func Tailor(o *calendar.Object, attendee calendar.Address) *calendar.Object {
	if o == nil {
		return nil
	}
	k := attendee.Key()
	if k == "" {
		return nil
	}
	return read(asTail(o, k)).tailor(func(c *calendar.Component) bool { return served(c, k) != nil })
}

// tailor keeps the components that in says yes to; nil when there are none.
func (s *series) tailor(in func(*calendar.Component) bool) *calendar.Object {
	var comps []*calendar.Component
	var master *calendar.Component
	if s.master != nil && in(s.master) {
		master = clean(s.master)
		comps = append(comps, master)
	}
	for _, k := range s.order {
		c := s.over[k]
		switch {
		case in(c):
			comps = append(comps, clean(c))
		case master == nil:
		case isFuture(c):
			s.truncate(master, s.ids[k])
		default:
			if _, out := s.ex[k]; !out && recurs(master) {
				s.exclude(master, s.ids[k])
			}
		}
	}
	if len(comps) == 0 {
		return nil
	}
	return s.wrap(comps)
}

// wrap puts components into a new object with the time zones they use and the
// properties of the old one that say how to read it. What names an instance gets
// the form of the series: the others need not know what is meant otherwise.
func (s *series) wrap(comps []*calendar.Component) *calendar.Object {
	o := &calendar.Object{Component: calendar.NewComponent("VCALENDAR")}
	for _, p := range s.o.Props {
		if n := p.Name(); n == "VERSION" || n == "PRODID" || n == "CALSCALE" {
			o.Add(p.Clone())
		}
	}
	if o.Prop("VERSION") == nil {
		o.Add(calendar.NewProperty("VERSION", "2.0"))
	}
	for _, c := range comps {
		s.form.write(c)
	}
	o.Children = comps
	addZones(o, s.o)
	return o
}

// addZones gives o the VTIMEZONEs that its components name and that it lacks:
// those of from, else (RFC 7809 clients leave them out) generated ones.
func addZones(o *calendar.Object, from *calendar.Object) {
	add := calendar.MissingZones(o, func(tzid string) *calendar.Component { return zoneNamed(from, tzid) })
	o.Children = slices.Insert(o.Children, 0, add...)
}

func zoneNamed(o *calendar.Object, id string) *calendar.Component {
	if o == nil {
		return nil
	}
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" && c.Value("TZID") == id {
			return c
		}
	}
	return nil
}

// dropZones removes the VTIMEZONEs nothing names any more, but only those
// that were named in before.
func dropZones(o *calendar.Object) {
	used := map[string]bool{}
	var scan func(c *calendar.Component)
	scan = func(c *calendar.Component) {
		for _, p := range c.Props {
			if id := p.Param("TZID"); id != "" {
				used[id] = true
			}
		}
		for _, k := range c.Children {
			scan(k)
		}
	}
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" {
			scan(c)
		}
	}
	o.Children = slices.DeleteFunc(o.Children, func(c *calendar.Component) bool {
		return c.Name == "VTIMEZONE" && !used[c.Value("TZID")]
	})
}
