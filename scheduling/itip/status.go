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
	if o == nil || len(status) == 0 {
		return false
	}
	changed := false
	set := func(p *calendar.Property, v string) {
		code, _, _ := strings.Cut(v, ";")
		if code = strings.TrimSpace(code); AgentOf(p) != AgentServer || p.Param("SCHEDULE-STATUS") == code {
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
