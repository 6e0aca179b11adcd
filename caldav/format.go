package caldav

import (
	"mime"
	"strconv"
	"strings"

	"github.com/kalends/kalends/caldav/altcal"
	"github.com/kalends/kalends/caldav/calendar"
)

// format is a notation of calendar data. What is stored is text/calendar; the
// others are made when they are asked for. The ETag names the object in every
// notation, so that a PUT may be made on the condition of what was read in any of
// them; answers to GET say Vary: Accept for the caches between.
type format uint8

const (
	formatText format = iota
	formatJSON        // RFC 7265
	formatXML         // RFC 6321
)

var formatTypes = [...]string{"text/calendar", altcal.JSONType, altcal.XMLType}

// varyData is the Vary of calendar data.
const varyData = "Accept, CalDAV-Timezones"

// mediaType is a Content-Type without parameters.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.TrimSpace(t)
}

// formatOf knows a media type without parameters.
func formatOf(mediaType string) (format, bool) {
	for f, t := range formatTypes {
		if strings.EqualFold(mediaType, t) {
			return format(f), true
		}
	}
	return formatText, false
}

// contentType names the component, as clients like it (clients.md 0).
func (f format) contentType(component string) string {
	if f == formatText {
		return contentType(component)
	}
	t := formatTypes[f] + "; charset=utf-8"
	if component != "" {
		t += "; component=" + component
	}
	return t
}

// accepted is the notation that an Accept header likes best (RFC 9110 §12.5.1).
// text/calendar it is where nothing else is named, and where nothing would do:
// programs exist that accept what they never read.
func (q *request) accepted() format { return q.acceptedOr(formatText) }

// acceptedOr is accepted with another notation for who says nothing.
func (q *request) acceptedOr(best format) format {
	if q.r.Header.Get("Accept") != "" {
		best = formatText
	}
	quality := 0.0
	for _, line := range q.r.Header.Values("Accept") {
		if !strings.Contains(line, "calendar+") { // almost always: nothing to weigh
			continue
		}
		for part := range strings.SplitSeq(line, ",") {
			t, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			f, ok := formatOf(t)
			if !ok {
				continue
			}
			v := 1.0
			if s := params["q"]; s != "" {
				if v, err = strconv.ParseFloat(s, 64); err != nil {
					continue
				}
			}
			if v > quality {
				best, quality = f, v
			}
		}
	}
	return best
}

// write gives calendar data in the notation f.
func (f format) write(o *calendar.Object) string {
	switch f {
	case formatJSON:
		return string(altcal.ToJSON(o))
	case formatXML:
		return string(altcal.ToXML(o))
	}
	return string(o.Bytes())
}

// convert gives stored text in the notation f, with the time zones that the
// request wants. Without wishes it is the text as stored.
func (q *request) convert(f format, text string) (string, error) {
	zones := q.wantedZones()
	if f == formatText && zones == nil {
		return text, nil
	}
	o, err := calendar.Parse([]byte(text), q.h.cfg.Limits)
	if err != nil {
		return "", err
	}
	if zones != nil {
		o = zones(o)
	}
	return f.write(o), nil
}

// wantedZones is what the CalDAV-Timezones header asks for (RFC 7809 §3.1.3,
// §6.1): VTIMEZONEs for all zones, or none for those that are known by name; nil:
// those that came with the object.
func (q *request) wantedZones() func(*calendar.Object) *calendar.Object {
	switch strings.ToUpper(strings.TrimSpace(q.r.Header.Get("CalDAV-Timezones"))) {
	case "T":
		return calendar.WithZones
	case "F":
		return calendar.WithoutZones
	}
	return nil
}

// read gives the text/calendar of a body in the notation f.
func (q *request) read(f format, body []byte) ([]byte, error) {
	from := altcal.FromJSON
	switch f {
	case formatText:
		return body, nil
	case formatXML:
		from = altcal.FromXML
	}
	o, err := from(body, q.h.cfg.Limits)
	if err != nil {
		return nil, err
	}
	return o.Bytes(), nil
}
