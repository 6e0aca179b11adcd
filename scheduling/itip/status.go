package itip

import (
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// ApplyStatus writes delivery results back (RFC 6638 §7.3): status maps an
// address key to a request status such as "1.2" or "5.1;Service unavailable",
// of which the code is kept; "" takes the parameter away. A key that is the
// ORGANIZER's goes to that line of every component (the attendee's copy), any
// other to the ATTENDEE lines (the organizer's copy). People for whom the
// server does not schedule are left alone. o itself is changed; the answer
// tells whether it was. The caller gives an object that nobody else reads.
func ApplyStatus(o *calendar.Object, status map[string]string) bool {
	return applyStatus(o, status, func(*calendar.Property) bool { return true })
}

// CompleteStatus is ApplyStatus for lines that wait for the outcome of a
// delivery: without a status, with 1.0 (pending), or with the failure of an
// attempt that was repeated. What stands there otherwise is newer, for an answer
// may come before the outcome of the message it answers. Nobody answers an
// attendee's REPLY, so his ORGANIZER line says what became of the last one.
func CompleteStatus(o *calendar.Object, status map[string]string) bool {
	return applyStatus(o, status, func(p *calendar.Property) bool {
		has := p.Param("SCHEDULE-STATUS")
		return p.Name() == "ORGANIZER" || has == "" || has == "1.0" || has[0] == '3' || has[0] == '5'
	})
}

func applyStatus(o *calendar.Object, status map[string]string, may func(*calendar.Property) bool) bool {
	if o == nil || len(status) == 0 {
		return false
	}
	changed := false
	set := func(p *calendar.Property, v string) {
		code, _, _ := strings.Cut(v, ";")
		if code = strings.TrimSpace(code); AgentOf(p) != AgentServer || p.Param("SCHEDULE-STATUS") == code || !may(p) {
			return
		}
		if code == "" {
			p.DelParam("SCHEDULE-STATUS")
		} else {
			p.SetParam("SCHEDULE-STATUS", code)
		}
		changed = true
	}
	for _, c := range o.Components() {
		org := personKey(c.Prop("ORGANIZER"))
		for _, p := range c.Props {
			n := p.Name()
			if n != "ORGANIZER" && n != "ATTENDEE" {
				continue
			}
			k := personKey(p)
			if v, ok := status[k]; ok && (n == "ORGANIZER") == (k == org) {
				set(p, v)
			}
		}
	}
	return changed
}
