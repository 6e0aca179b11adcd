package web

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/kalends/kalends/caldav/calendar"
)

// safeLink gives back an address that may become a link: http, https, mailto
// or tel (A37); "" for any other.
func safeLink(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }) {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		if u.Host == "" || u.User != nil { // user@host hides where a link leads
			return ""
		}
	case "mailto", "tel":
		if u.Opaque == "" {
			return ""
		}
	default:
		return ""
	}
	return text
}

// span is a piece of plain text, a link when Href is set.
type span struct {
	Text, Href string
}

// maxSpans bounds how many links are made of one text.
const maxSpans = 200

// linked splits plain text at web addresses, so that they can be followed. The
// pieces joined are always the text itself.
func linked(text string) []span {
	var out []span
	add := func(t, href string) {
		if t != "" {
			out = append(out, span{t, href})
		}
	}
	rest := text
	for len(out) < maxSpans {
		lower := strings.ToLower(rest)
		at := -1
		if len(lower) != len(rest) { // a letter whose lower form is longer: positions would not agree
			break
		}
		for _, scheme := range []string{"https://", "http://"} {
			if i := strings.Index(lower, scheme); i >= 0 && (at < 0 || i < at) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		end := strings.IndexFunc(rest[at:], func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>\"“”«»", r)
		})
		if end < 0 {
			end = len(rest) - at
		}
		link := strings.TrimRight(rest[at:at+end], ".,;:!?'")
		if strings.HasSuffix(link, ")") && !strings.Contains(link, "(") {
			link = strings.TrimRight(link, ")")
		}
		href := safeLink(link)
		add(rest[:at], "")
		add(link, href)
		rest = rest[at+len(link):]
	}
	add(rest, "")
	return out
}

// oneLine makes foreign text fit for a heading: no control characters, no
// marks that turn the direction of writing, bounded length.
func oneLine(text string, max int) string {
	text = strings.Join(strings.Fields(strings.Map(visible, text)), " ")
	if r := []rune(text); len(r) > max {
		return string(r[:max-1]) + "…"
	}
	return text
}

// lines is oneLine for longer text, which keeps its lines.
func lines(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visible(r)
	}, strings.ReplaceAll(text, "\r\n", "\n"))
	if r := []rune(text); len(r) > max {
		return string(r[:max-1]) + "…"
	}
	return strings.TrimSpace(text)
}

func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t', r == '\r':
		return ' '
	case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f:
		return -1
	}
	return r
}

// summaryOf is the title of an event.
func summaryOf(c *calendar.Component) string {
	if c != nil {
		if t := oneLine(c.Text("SUMMARY"), 300); t != "" {
			return t
		}
	}
	return "(no title)"
}

// addressText is how a calendar user is shown: common name and address.
func addressText(p *calendar.Property) (name, address string) {
	a := calendar.Address(p.Value())
	address = a.Email()
	if address == "" {
		address = oneLine(p.Value(), 200)
	}
	name = strings.TrimSpace(oneLine(p.Param("CN"), 200))
	if name == "" || strings.EqualFold(name, address) {
		return address, ""
	}
	return name, oneLine(address, 200)
}

// answerWords say what an attendee answered (RFC 5545 §3.2.12).
var answerWords = map[string]string{
	"NEEDS-ACTION": "no answer yet",
	"ACCEPTED":     "accepted",
	"DECLINED":     "declined",
	"TENTATIVE":    "maybe",
	"DELEGATED":    "sent somebody else",
	"COMPLETED":    "done",
	"IN-PROCESS":   "in progress",
}

func answerText(partstat string) string {
	if w, ok := answerWords[partstat]; ok {
		return w
	}
	return "unknown answer (" + oneLine(partstat, 40) + ")"
}

// whenText says when an event takes place, in the reader's zone. allDay ends
// are exclusive.
func whenText(start, end time.Time, allDay bool, zone *time.Location) string {
	start, end = start.In(zone), end.In(zone)
	const day, clock = "Mon 2 Jan 2006", "15:04"
	if allDay {
		last := end.Add(-time.Second)
		if !last.After(start) || sameDay(start, last) {
			return start.Format(day) + ", all day"
		}
		return start.Format(day) + " – " + last.Format(day) + ", all day"
	}
	switch {
	case !end.After(start):
		return start.Format(day + ", " + clock)
	case sameDay(start, end):
		return start.Format(day+", "+clock) + " – " + end.Format(clock)
	}
	return start.Format(day+", "+clock) + " – " + end.Format(day+", "+clock)
}

func sameDay(a, b time.Time) bool {
	y, m, d := a.Date()
	y2, m2, d2 := b.Date()
	return y == y2 && m == m2 && d == d2
}

// zoneText names a zone as of a time: "Europe/Berlin (CET, UTC+01:00)".
func zoneText(zone *time.Location, at time.Time) string {
	name, _ := at.In(zone).Zone()
	offset := "UTC" + at.In(zone).Format("-07:00")
	if offset == "UTC+00:00" {
		offset = "UTC"
	}
	title := strings.ReplaceAll(zone.String(), "_", " ")
	if title == offset {
		return title
	}
	if name == "" || name == offset || strings.ContainsAny(name, "+-0123456789") {
		return fmt.Sprintf("%s (%s)", title, offset)
	}
	return fmt.Sprintf("%s (%s, %s)", title, name, offset)
}

// agoText says how long ago something was.
func agoText(at, now time.Time) string {
	d := now.Sub(at)
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour") + " ago"
	}
	return plural(int(d/(24*time.Hour)), "day") + " ago"
}

// inText says how long until something.
func inText(at, now time.Time) string {
	d := at.Sub(now)
	switch {
	case d <= 2*time.Second:
		return "now"
	case d < time.Minute:
		return "in " + plural(int(d/time.Second), "second")
	case d < time.Hour:
		return "in " + plural(int((d+30*time.Second)/time.Minute), "minute")
	case d < 48*time.Hour:
		return "in " + plural(int((d+30*time.Minute)/time.Hour), "hour")
	}
	return "in " + plural(int(d/(24*time.Hour)), "day")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
