package calendar

import "strings"

// Split takes a calendar file apart into calendar objects as RFC 4791 §4.1
// wants them: one per UID and component type, in order of appearance, each
// with the VTIMEZONEs its times refer to. Of the VCALENDAR's properties only
// VERSION, PRODID and CALSCALE are kept: METHOD and the name or colour of the
// calendar do not belong to one object.
//
// A component without a UID becomes an object of its own, for the caller to
// name. The new objects share components and properties with o: o is used up.
// The result is nil when there is nothing but time zones.
func Split(o *Object) []*Object {
	type group struct{ uid, name string }
	var (
		out   []*Object
		zones map[string]*Component
		own   = make(map[group]int)
		head  []*Property
		refs  []string
	)
	for _, p := range o.Props {
		switch p.name {
		case "VERSION", "PRODID", "CALSCALE":
			head = append(head, p)
		}
	}
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			if zones == nil {
				zones = make(map[string]*Component)
			}
			if id := tzid(c.Text("TZID")); zones[id] == nil {
				zones[id] = c
			}
			continue
		}
		g := group{c.Text("UID"), c.Name}
		i, ok := own[g]
		if !ok || g.uid == "" {
			i = len(out)
			own[g] = i
			top := &Component{Name: "VCALENDAR", Props: head[:len(head):len(head)], line: o.line}
			if o.Prop("VERSION") == nil {
				top.Add(NewProperty("VERSION", "2.0"))
			}
			out = append(out, &Object{top})
		}
		out[i].Children = append(out[i].Children, c)
	}
	for _, n := range out {
		if len(zones) == 0 {
			break
		}
		refs = refs[:0]
		need := make(map[string]struct{}, 2)
		for _, c := range n.Children {
			refs = c.zoneRefs(refs, need)
		}
		var children []*Component
		for _, id := range refs {
			if z := zones[id]; z != nil {
				children = append(children, z)
			}
		}
		n.Children = append(children, n.Children...)
	}
	return out
}

// zoneRefs appends the TZIDs that c and its children refer to and that are
// not in seen yet, in order.
func (c *Component) zoneRefs(refs []string, seen map[string]struct{}) []string {
	for _, p := range c.Props {
		for i := range p.params {
			if p.params[i].Name != "TZID" || len(p.params[i].Values) == 0 {
				continue
			}
			id := tzid(p.params[i].Values[0])
			if _, ok := seen[id]; !ok && id != "" {
				seen[id] = struct{}{}
				refs = append(refs, id)
			}
		}
	}
	for _, k := range c.Children {
		refs = k.zoneRefs(refs, seen)
	}
	return refs
}

// tzid trims what some programs put around time zone names.
func tzid(s string) string { return strings.Trim(s, "\" \t") }
