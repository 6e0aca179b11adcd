package calendar

import "strings"

// DataSpec is a CALDAV:comp inside of CALDAV:calendar-data (RFC 4791 §9.6.1):
// which properties and components of a component to return. With neither
// AllProps nor Props there are no properties, with neither AllComps nor Comps
// no components.
type DataSpec struct {
	Name     string
	AllProps bool
	Props    []PropSpec
	AllComps bool
	Comps    []DataSpec
}

// PropSpec is a CALDAV:prop (RFC 4791 §9.6.4). NoValue asks for the name and
// the parameters alone.
type PropSpec struct {
	Name    string
	NoValue bool
}

// Select cuts o down to what spec, which begins at VCALENDAR, asks for; nil
// asks for everything. The result shares what it keeps with o.
func Select(o *Object, spec *DataSpec) *Object {
	if spec == nil || !strings.EqualFold(spec.Name, o.Name) {
		return o
	}
	return &Object{selectComponent(o.Component, spec)}
}

func selectComponent(c *Component, spec *DataSpec) *Component {
	d := &Component{Name: c.Name, line: c.line}
	if spec.AllProps {
		d.Props = c.Props
	} else {
		for _, p := range c.Props {
			for i := range spec.Props {
				if !strings.EqualFold(spec.Props[i].Name, p.name) {
					continue
				}
				if spec.Props[i].NoValue {
					p = p.Clone()
					p.SetValue("")
				}
				d.Props = append(d.Props, p)
				break
			}
		}
	}
	if spec.AllComps {
		d.Children = c.Children
		return d
	}
	for _, k := range c.Children {
		for i := range spec.Comps {
			if strings.EqualFold(spec.Comps[i].Name, k.Name) {
				d.Children = append(d.Children, selectComponent(k, &spec.Comps[i]))
				break
			}
		}
	}
	return d
}
