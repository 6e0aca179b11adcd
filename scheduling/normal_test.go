package scheduling_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// short reads a calendar object that is written short: without VCALENDAR, and
// without UID and DTSTAMP where they do not matter (UID:1, now). A METHOD line
// may come first.
func short(text string, now time.Time) (*calendar.Object, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.Contains(text, "BEGIN:VCALENDAR") {
		var b strings.Builder
		b.WriteString("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Client//EN\n")
		lines := strings.Split(strings.TrimSpace(text), "\n")
		for i := 0; i < len(lines); i++ {
			l := strings.TrimSpace(lines[i])
			if l == "" || strings.HasPrefix(l, "#") {
				continue
			}
			b.WriteString(l + "\n")
			if l != "BEGIN:VEVENT" && l != "BEGIN:VTODO" && l != "BEGIN:VFREEBUSY" {
				continue
			}
			uid, stamp := false, false
			for _, m := range lines[i+1:] {
				m = strings.TrimSpace(m)
				if m == "END:"+l[6:] || strings.HasPrefix(m, "BEGIN:") {
					break
				}
				uid = uid || strings.HasPrefix(m, "UID:")
				stamp = stamp || strings.HasPrefix(m, "DTSTAMP:")
			}
			if !uid {
				b.WriteString("UID:1\n")
			}
			if !stamp {
				b.WriteString("DTSTAMP:" + now.Format("20060102T150405Z") + "\n")
			}
		}
		b.WriteString("END:VCALENDAR\n")
		text = b.String()
	}
	return calendar.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), calendar.DefaultLimits())
}

// unsaid are properties that no comparison looks at.
var unsaid = map[string]bool{"DTSTAMP": true, "PRODID": true, "CALSCALE": true, "CREATED": true, "LAST-MODIFIED": true, "VERSION": true, "METHOD": true}

// normal writes an object in the short form, sorted: equal meaning is equal
// text. VTIMEZONE, stamps, UID:1 and defaults (TRANSP:OPAQUE, SEQUENCE:0,
// PARTSTAT=NEEDS-ACTION) are left out.
func normal(o *calendar.Object) string {
	if o == nil {
		return "none\n"
	}
	var comps []string
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			continue
		}
		sort := ""
		if p := c.Prop("RECURRENCE-ID"); p != nil {
			sort = p.Value()
		}
		comps = append(comps, sort+"\x00"+normalComponent(c))
	}
	slices.Sort(comps)
	var b strings.Builder
	if m := o.Method(); m != "" {
		fmt.Fprintln(&b, "METHOD:"+m)
	}
	for _, c := range comps {
		_, t, _ := strings.Cut(c, "\x00")
		b.WriteString(t)
	}
	return b.String()
}

var order = []string{"RECURRENCE-ID", "UID", "SUMMARY", "DTSTART", "DTEND", "DUE", "DURATION", "RRULE", "RDATE", "EXDATE", "LOCATION", "DESCRIPTION", "STATUS", "COMPLETED", "PERCENT-COMPLETE", "SEQUENCE", "TRANSP", "ORGANIZER", "ATTENDEE"}

func normalComponent(c *calendar.Component) string {
	var out []string
	for _, p := range c.Props {
		n, v := p.Name(), p.Value()
		if unsaid[n] || n == "TRANSP" && v == "OPAQUE" || n == "SEQUENCE" && v == "0" || n == "UID" && v == "1" {
			continue
		}
		var ps []string
		for _, q := range p.Params() {
			x := strings.Join(q.Values, ",")
			if q.Name == "PARTSTAT" && x == "NEEDS-ACTION" {
				continue
			}
			if strings.ContainsAny(x, ":;,") {
				x = `"` + x + `"`
			}
			ps = append(ps, ";"+q.Name+"="+x)
		}
		slices.Sort(ps)
		values := []string{v}
		if n == "EXDATE" {
			values = strings.Split(v, ",")
		}
		for _, v := range values {
			rank := slices.Index(order, n)
			if rank < 0 {
				rank = 15
			}
			out = append(out, fmt.Sprintf("%02d\x00%s%s:%s\n", rank, n, strings.Join(ps, ""), v))
		}
	}
	slices.Sort(out)
	var b strings.Builder
	b.WriteString("BEGIN:" + c.Name + "\n")
	for _, l := range out {
		_, t, _ := strings.Cut(l, "\x00")
		b.WriteString(t)
	}
	var kids []string
	for _, k := range c.Children {
		kids = append(kids, normalComponent(k))
	}
	slices.Sort(kids)
	b.WriteString(strings.Join(kids, ""))
	b.WriteString("END:" + c.Name + "\n")
	return b.String()
}
