package calendar

import (
	"slices"
	"strings"
	"time"
)

// WithoutZones is o without the VTIMEZONEs that everybody knows by their names
// (RFC 7809 §3.1.2); those whose TZID is no known name stay. The result shares
// components with o.
func WithoutZones(o *Object) *Object {
	out := &Object{&Component{Name: o.Name, Props: o.Props}}
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" || !KnownZone(strings.Trim(c.Text("TZID"), "\" \t")) {
			out.Children = append(out.Children, c)
		}
	}
	return out
}

// WithZones is o with a VTIMEZONE for every TZID in use (RFC 7809 §3.1.2): those
// it came with stay as they are, and what is missing is made of our own data. The
// result shares components with o.
func WithZones(o *Object) *Object {
	return &Object{&Component{Name: o.Name, Props: o.Props, Children: slices.Concat(MissingZones(o, nil), o.Children)}}
}

// MissingZones are VTIMEZONEs for the TZIDs that o uses without having one: a copy
// of what known gives, else made of our own data.
func MissingZones(o *Object, known func(tzid string) *Component) []*Component {
	have := map[string]bool{}
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			have[strings.Trim(c.Text("TZID"), "\" \t")] = true
		}
	}
	var add []*Component
	var scan func(c *Component)
	scan = func(c *Component) {
		for _, p := range c.Props {
			id := p.Param("TZID")
			if id == "" || have[id] || len(have) > maxZones {
				continue
			}
			have[id] = true
			if known != nil {
				if z := known(id); z != nil {
					add = append(add, z.Clone())
					continue
				}
			}
			at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			if d, err := ParseDateTime(p); err == nil && d.Wall.Year() > 1970 && d.Wall.Year() < 2200 {
				at = d.Wall
			}
			if z, err := VTimezone(id, at); err == nil {
				add = append(add, z)
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
	return add
}
