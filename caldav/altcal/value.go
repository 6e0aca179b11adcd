package altcal

import (
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// item is one value of a property, taken apart as far as its type has parts.
type item struct {
	text  string     // of simple values
	parts []string   // GEO, REQUEST-STATUS; start and end of a period
	rule  []rulePart // recur
}

type rulePart struct {
	name   string // lower case
	values []string
}

const unknownType = "unknown" // RFC 7265 §5.1, RFC 6321 §5: the value as it stands

// defaultTypes are the value types of the registered properties, where a VALUE
// parameter says nothing else (RFC 5545 §8.3.2, RFC 7953 §3.2, RFC 7986 §5, RFC
// 9073 §6, RFC 9074).
var defaultTypes = func() map[string]string {
	m := map[string]string{}
	for typ, names := range map[string]string{
		"text": "ACTION BUSYTYPE CALSCALE CATEGORIES CLASS COLOR COMMENT CONTACT DESCRIPTION LOCATION LOCATION-TYPE METHOD NAME " +
			"PARTICIPANT-TYPE PRODID PROXIMITY RELATED-TO REQUEST-STATUS RESOURCES RESOURCE-TYPE STATUS STYLED-DESCRIPTION SUMMARY " +
			"TRANSP TZID TZID-ALIAS-OF TZNAME UID VERSION XML",
		"date-time":   "ACKNOWLEDGED COMPLETED CREATED DTEND DTSTAMP DTSTART DUE EXDATE LAST-MODIFIED RDATE RECURRENCE-ID TZUNTIL",
		"duration":    "DURATION REFRESH-INTERVAL TRIGGER",
		"cal-address": "ATTENDEE CALENDAR-ADDRESS ORGANIZER",
		"uri":         "ATTACH CONFERENCE IMAGE SOURCE STRUCTURED-DATA TZURL URL",
		"integer":     "PERCENT-COMPLETE PRIORITY REPEAT SEQUENCE",
		"period":      "FREEBUSY",
		"recur":       "EXRULE RRULE",
		"utc-offset":  "TZOFFSETFROM TZOFFSETTO",
		"float":       "GEO",
	} {
		for n := range strings.FieldsSeq(names) {
			m[n] = typ
		}
	}
	return m
}()

// typed are the properties that have no default: in iCalendar they always say their
// VALUE (RFC 7986 §5.7, §5.10, §5.11, RFC 9073 §6.5, §6.6).
var typed = map[string]bool{"REFRESH-INTERVAL": true, "IMAGE": true, "CONFERENCE": true, "STYLED-DESCRIPTION": true, "STRUCTURED-DATA": true}

// defaultType is the type of a property without VALUE; "unknown" where no
// specification tells.
func defaultType(name string) string {
	if t, ok := defaultTypes[name]; ok {
		return t
	}
	return unknownType
}

// textLists are the properties of type TEXT whose value is a list.
var textLists = map[string]bool{"CATEGORIES": true, "RESOURCES": true}

// valuesOf takes the value of a property apart.
func valuesOf(p *calendar.Property) (typ string, items []item) {
	typ = strings.ToLower(strings.TrimSpace(p.Param("VALUE")))
	if _, err := name(typ); err != nil || typ == unknownType {
		typ = defaultType(p.Name())
	}
	raw := p.Value()
	switch typ {
	case "text":
		switch {
		case p.Name() == "REQUEST-STATUS":
			var parts []string
			for _, s := range split(raw, ';', 3) {
				parts = append(parts, calendar.UnescapeText(s))
			}
			return typ, []item{{parts: parts}}
		case textLists[p.Name()]:
			for _, s := range split(raw, ',', 0) {
				items = append(items, item{text: calendar.UnescapeText(s)})
			}
			return typ, items
		}
		return typ, []item{{text: calendar.UnescapeText(raw)}}
	case "float":
		if p.Name() == "GEO" {
			if parts := strings.Split(raw, ";"); len(parts) == 2 {
				return typ, []item{{parts: parts}}
			}
		}
	case "recur":
		if r, ok := ruleOf(raw); ok {
			return typ, []item{{rule: r}}
		}
		return typ, []item{{text: raw}}
	case "date", "date-time", "time", "period", "duration", "integer", "utc-offset", "boolean":
	default: // uri, cal-address, binary, unknown, extensions: one value, commas and all
		return typ, []item{{text: raw}}
	}
	for s := range strings.SplitSeq(raw, ",") {
		items = append(items, itemOf(typ, s))
	}
	return typ, items
}

func itemOf(typ, s string) item {
	switch typ {
	case "date", "date-time":
		return item{text: extendDate(s)}
	case "time":
		return item{text: extendTime(s)}
	case "utc-offset":
		return item{text: extendOffset(s)}
	case "period":
		if from, to, ok := strings.Cut(s, "/"); ok {
			return item{parts: []string{extendDate(from), extendDate(to)}}
		}
	}
	return item{text: s}
}

// rawOf puts the value of a property together.
func rawOf(name, typ string, items []item) string {
	var b strings.Builder
	sep := ","
	for i, v := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		switch {
		case v.rule != nil:
			b.WriteString(rawRule(v.rule))
		case v.parts != nil:
			for j, s := range v.parts {
				switch {
				case j > 0 && typ == "period":
					b.WriteByte('/')
				case j > 0:
					b.WriteByte(';')
				}
				b.WriteString(rawText(typ, s))
			}
		default:
			b.WriteString(rawText(typ, v.text))
		}
	}
	return b.String()
}

func rawText(typ, s string) string {
	switch typ {
	case "text":
		return calendar.EscapeText(s)
	case "date", "date-time", "period":
		return basicDate(s)
	case "time":
		return basicTime(s)
	case "utc-offset":
		return basicOffset(s)
	case "boolean":
		return strings.ToUpper(s)
	}
	return s
}

// split cuts s at sep where no backslash stands before it; most > 0: into so many
// parts at most.
func split(s string, sep byte, most int) (out []string) {
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == sep && (most == 0 || len(out) < most-1):
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// ruleOf takes a recurrence rule apart; ok is false for what would not come back.
func ruleOf(raw string) (rule []rulePart, ok bool) {
	for part := range strings.SplitSeq(raw, ";") {
		n, v, found := strings.Cut(part, "=")
		if _, err := name(n); err != nil || !found || strings.ContainsAny(v, "=\r\n") {
			return nil, false
		}
		n = strings.ToLower(n)
		for i := range rule {
			if rule[i].name == n {
				return nil, false
			}
		}
		p := rulePart{name: n}
		for s := range strings.SplitSeq(v, ",") {
			if s == "" || s != strings.TrimSpace(s) {
				return nil, false
			}
			if n == "until" {
				s = extendDate(s)
			}
			p.values = append(p.values, s)
		}
		rule = append(rule, p)
	}
	return rule, true
}

func rawRule(rule []rulePart) string {
	var b strings.Builder
	for _, p := range rule {
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(strings.ToUpper(p.name))
		b.WriteByte('=')
		for i, v := range p.values {
			if i > 0 {
				b.WriteByte(',')
			}
			if p.name == "until" {
				v = basicDate(v)
			}
			b.WriteString(v)
		}
	}
	return b.String()
}

// shape reports whether s looks like pattern: 0 stands for any digit, + for a
// sign, everything else for itself.
func shape(s, pattern string) bool {
	if len(s) != len(pattern) {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch pattern[i] {
		case '0':
			if s[i] < '0' || s[i] > '9' {
				return false
			}
		case '+':
			if s[i] != '+' && s[i] != '-' {
				return false
			}
		default:
			if s[i] != pattern[i] {
				return false
			}
		}
	}
	return true
}

// The forms of dates and times: RFC 5545 writes the basic one, RFC 6321 §3.3 and
// RFC 7265 §3.6 the extended one. What has neither form stays as it is.

func extendDate(s string) string {
	switch {
	case shape(s, "00000000"):
		return s[:4] + "-" + s[4:6] + "-" + s[6:]
	case shape(s, "00000000T000000"), shape(s, "00000000T000000Z"):
		return extendDate(s[:8]) + "T" + extendTime(s[9:])
	}
	return s
}

func basicDate(s string) string {
	switch {
	case shape(s, "0000-00-00"), shape(s, "0000-00-00T00:00:00"), shape(s, "0000-00-00T00:00:00Z"):
		return strings.NewReplacer("-", "", ":", "").Replace(s)
	}
	return s
}

func extendTime(s string) string {
	if shape(s, "000000") || shape(s, "000000Z") {
		return s[:2] + ":" + s[2:4] + ":" + s[4:]
	}
	return s
}

func basicTime(s string) string {
	if shape(s, "00:00:00") || shape(s, "00:00:00Z") {
		return strings.ReplaceAll(s, ":", "")
	}
	return s
}

func extendOffset(s string) string {
	switch {
	case shape(s, "+0000"):
		return s[:3] + ":" + s[3:]
	case shape(s, "+000000"):
		return s[:3] + ":" + s[3:5] + ":" + s[5:]
	}
	return s
}

func basicOffset(s string) string {
	if shape(s, "+00:00") || shape(s, "+00:00:00") {
		return strings.ReplaceAll(s, ":", "")
	}
	return s
}
