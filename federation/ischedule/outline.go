package ischedule

import (
	"errors"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// DefaultMaxInstances is how many instances of a finite recurrence a message
// may hold.
const DefaultMaxInstances = 1000

// MaxFreeBusyRange is the longest span one free-busy question may cover.
const MaxFreeBusyRange = 62 * 24 * time.Hour

// outlineOf measures a message for comparison with capabilities. Instances of
// a finite recurrence set are counted, up to limit+1 (limit 0: not at all); an
// endless set has no number, since receivers look at it through a window. What
// was found before an error is returned with it.
func outlineOf(o *calendar.Object, size, limit int) (Outline, error) {
	out := Outline{Component: o.Kind(), Method: o.Method(), Size: int64(size)}
	for _, c := range o.Components() {
		scan(c, &out)
	}
	var err error
	if out.Component == "VFREEBUSY" {
		out.Start, out.End, err = freeBusyRange(o)
		return out, err
	}
	if out.Start, out.End, _, err = calendar.Bounds(o); err != nil || limit <= 0 || endless(o) {
		return out, err
	}
	budget := calendar.NewBudget()
	budget.Instances = limit + 1
	for _, err := range o.Instances(calendar.NewZones(o, nil), time.Time{}, time.Time{}, budget) {
		if c := calendar.CodeOf(err); c == calendar.CodeMaxInstances || c == calendar.CodeBudget {
			// To run out is the answer, not a failure.
			out.Instances = limit + 1
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out.Instances++; out.Instances > limit {
			break
		}
	}
	return out, nil
}

// endless tells whether a rule of o has neither COUNT nor UNTIL.
func endless(o *calendar.Object) bool {
	for _, c := range o.Components() {
		for _, p := range c.All("RRULE") {
			if v := strings.ToUpper(p.Value()); !strings.Contains(v, "COUNT=") && !strings.Contains(v, "UNTIL=") {
				return true
			}
		}
	}
	return false
}

// scan looks for attachments and calendar scales in a component and those
// inside of it.
func scan(c *calendar.Component, out *Outline) {
	for _, p := range c.Props {
		switch p.Name() {
		case "ATTACH":
			// RFC 5545 §3.8.1.1; a data: URI is the content as well.
			if strings.EqualFold(p.Param("VALUE"), "BINARY") || strings.EqualFold(p.Param("ENCODING"), "BASE64") ||
				len(p.Value()) > 5 && strings.EqualFold(p.Value()[:5], "data:") {
				out.Inline = true
			} else {
				out.External = true
			}
		case "RRULE":
			for part := range strings.SplitSeq(p.Value(), ";") {
				if name, v, _ := strings.Cut(part, "="); strings.EqualFold(name, "RSCALE") {
					out.RScale = strings.ToUpper(v)
				}
			}
		}
	}
	for _, k := range c.Children {
		scan(k, out)
	}
}

var errFreeBusyRange = errors.New("a free-busy question needs DTSTART and a later DTEND in UTC")

// freeBusyRange is the span of a free-busy question; both ends must be UTC.
func freeBusyRange(o *calendar.Object) (start, end time.Time, err error) {
	c := o.Master()
	if c == nil || c.Prop("DTSTART") == nil || c.Prop("DTEND") == nil {
		return start, end, errFreeBusyRange
	}
	from, err := calendar.ParseDateTime(c.Prop("DTSTART"))
	if err != nil {
		return start, end, err
	}
	to, err := calendar.ParseDateTime(c.Prop("DTEND"))
	if err != nil {
		return start, end, err
	}
	if from.Kind != calendar.UTC || to.Kind != calendar.UTC || !to.Wall.After(from.Wall) {
		return start, end, errFreeBusyRange
	}
	return from.Wall, to.Wall, nil
}
