package calendar

import "strings"

// veiled are the properties that tell no more than that time is taken.
var veiled = map[string]bool{
	"UID": true, "DTSTAMP": true, "CREATED": true, "LAST-MODIFIED": true, "SEQUENCE": true, "CLASS": true, "TRANSP": true,
	"DTSTART": true, "DTEND": true, "DUE": true, "DURATION": true,
	"RECURRENCE-ID": true, "RRULE": true, "RDATE": true, "EXDATE": true, "EXRULE": true,
}

// Veil is an object as somebody sees it who may know when its owner is busy, but not
// with what: its times, and "Busy" where the title was. Alarms, people, places and
// whatever else there is are left out. o stays as it is.
func Veil(o *Object) *Object {
	out := NewObject("-//Kalends//Kalends//EN")
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			out.Children = append(out.Children, c)
			continue
		}
		if strings.HasPrefix(c.Name, "X-") {
			continue
		}
		v := &Component{Name: c.Name}
		for _, p := range c.Props {
			if !veiled[p.Name()] {
				continue
			}
			q := p.Clone()
			for _, x := range p.Params() {
				switch x.Name {
				case "TZID", "VALUE", "RANGE":
				default:
					q.DelParam(x.Name)
				}
			}
			v.Props = append(v.Props, q)
		}
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL":
			v.Props = append(v.Props, NewProperty("SUMMARY", "Busy"))
		}
		out.Children = append(out.Children, v)
	}
	return out
}
