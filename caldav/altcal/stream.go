package altcal

import "github.com/kalends/kalends/caldav/calendar"

// Stream writes a calendar whose components come one by one, so that an export
// needs no more memory than its largest component: Begin, Component as often as
// wanted, End. Each appends to b. The zero value writes jCal.
type Stream struct {
	XML  bool
	some bool
}

// Begin writes what stands before the components: the properties of o.
func (s *Stream) Begin(b []byte, o *calendar.Object) []byte {
	head := &calendar.Object{Component: &calendar.Component{Name: o.Name, Props: o.Props}}
	if !s.XML {
		whole := ToJSON(head)
		return append(b, whole[:len(whole)-len("]]")]...)
	}
	whole := ToXML(head)
	b = append(b, whole[:len(whole)-len(streamEnd)]...)
	return append(b, "<components>"...)
}

// streamEnd is what ToXML ends with.
const streamEnd = "</vcalendar></icalendar>\n"

// Component writes one component.
func (s *Stream) Component(b []byte, c *calendar.Component) []byte {
	if s.XML {
		w := xmlWriter{b: b}
		w.component(c)
		return w.b
	}
	if s.some {
		b = append(b, ',')
	}
	s.some = true
	return appendComponent(b, c)
}

// End writes what stands after the components.
func (s *Stream) End(b []byte) []byte {
	if s.XML {
		return append(append(b, "</components>"...), streamEnd...)
	}
	return append(b, "]]"...)
}
