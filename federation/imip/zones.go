package imip

import (
	"slices"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// withZones gives the object the VTIMEZONEs that mail programs need: for every
// zone it names that we know, our own plain yearly rules in the place of what
// the writer's program put there (Outlook and Google stumble over tables of
// past changes, want 28); a zone that only its VTIMEZONE explains keeps it;
// zones nobody names are left out.
func withZones(o *calendar.Object, at time.Time) *calendar.Object {
	var used []string
	for _, c := range o.Components() {
		if d, ok := dateOf(c, "DTSTART"); ok && d.Wall.After(at) {
			at = d.Wall
		}
		used = zonesOf(c, used)
	}
	if len(used) == 0 && len(o.ChildrenNamed("VTIMEZONE")) == 0 {
		return o
	}
	var zones []*calendar.Component
	for _, id := range used {
		if z, err := calendar.VTimezone(id, at); err == nil {
			zones = append(zones, z)
			continue
		}
		for _, z := range o.ChildrenNamed("VTIMEZONE") {
			if z.Text("TZID") == id {
				zones = append(zones, z)
				break
			}
		}
	}
	out := &calendar.Component{Name: o.Name, Props: o.Props}
	out.Children = append(zones, o.Components()...)
	return &calendar.Object{Component: out}
}

// zonesOf adds the TZIDs that a component and its children name, in order.
func zonesOf(c *calendar.Component, used []string) []string {
	for _, p := range c.Props {
		if id := p.Param("TZID"); id != "" && !slices.Contains(used, id) && len(used) < 50 {
			used = append(used, id)
		}
	}
	for _, k := range c.Children {
		used = zonesOf(k, used)
	}
	return used
}
