package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// answerOnly tells whether an attendee's PUT changed nothing but his own answer.
// Then his Schedule-Tag stays (clients.md 3): his other programs may go on with
// what they know. serverTransp: a TRANSP that follows from the answer is the
// server's doing.
func answerOnly(old, store *calendar.Object, by calendar.AddressSet, serverTransp bool) bool {
	return slices.Equal(linesBesidesAnswer(old, by, serverTransp), linesBesidesAnswer(store, by, serverTransp))
}

// linesBesidesAnswer are the lines of all components, each group sorted, without
// what an answer changes and what programs count along with it.
func linesBesidesAnswer(o *calendar.Object, by calendar.AddressSet, serverTransp bool) []string {
	var all []string
	for _, c := range o.Components() {
		lines := []string{"\x00" + c.Value("RECURRENCE-ID")}
		for _, p := range c.Props {
			switch p.Name() {
			case "DTSTAMP", "LAST-MODIFIED", "CREATED", "SEQUENCE", "REQUEST-STATUS":
				continue
			case "TRANSP":
				if serverTransp {
					continue
				}
			}
			lines = append(lines, lineBesidesAnswer(p, by))
		}
		for _, k := range c.Children {
			lines = append(lines, string(k.Append(nil)))
		}
		slices.Sort(lines)
		all = append(all, strings.Join(lines, "\n"))
	}
	slices.Sort(all)
	return all
}

func lineBesidesAnswer(p *calendar.Property, by calendar.AddressSet) string {
	own := p.Name() == "ATTENDEE" && by.Has(calendar.Address(p.Value()))
	var params []string
	for _, q := range p.Params() {
		switch q.Name {
		case "SCHEDULE-STATUS", "SCHEDULE-FORCE-SEND":
			continue
		case "PARTSTAT", "RSVP":
			if own {
				continue
			}
		}
		params = append(params, q.Name+"="+strings.Join(q.Values, ","))
	}
	slices.Sort(params)
	return p.Name() + ";" + strings.Join(params, ";") + ":" + p.Value()
}
