package caldav

import (
	"net/http"
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
)

// abortHandler is what net/http takes as "cut the connection, log nothing".
var abortHandler = http.ErrAbortHandler

// compFilter turns the filter of a request into the calendar package's: one
// filter on VCALENDAR.
func compFilter(f *davxml.Filter) (*calendar.CompFilter, error) {
	if len(f.Comps) == 1 && f.Comps[0].Name == "VCALENDAR" {
		c := oneComp(&f.Comps[0])
		return &c, nil
	}
	out := &calendar.CompFilter{Name: "VCALENDAR", AnyOf: f.AnyOf}
	for i := range f.Comps {
		c := &f.Comps[i]
		if c.Name != "VCALENDAR" {
			return nil, precondition(davxml.CValidFilter, "the outermost comp-filter is VCALENDAR")
		}
		for j := range c.Comps {
			out.Comps = append(out.Comps, oneComp(&c.Comps[j]))
		}
		for j := range c.Props {
			out.Props = append(out.Props, oneProp(&c.Props[j]))
		}
	}
	return out, nil
}

// alternatives splits the filter of a query for several kinds of components into
// one filter for each kind, so that each is answered from the index: with
// test="anyof", and where <VEVENT/><VTODO/> stand side by side and ask for no
// more than times. By the letter of RFC 4791 §9.7.1 the latter would all have to
// match, which no object does, since it has components of one kind (§4.1); who
// lists everything in a span of time so wants either.
func alternatives(f *calendar.CompFilter) []*calendar.CompFilter {
	whole := []*calendar.CompFilter{f}
	if f.IsNotDefined || len(f.Comps) < 2 || len(f.Props) > 0 {
		return whole
	}
	var parts []*calendar.CompFilter
	for _, c := range f.Comps {
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY", "VPOLL":
		default:
			return whole
		}
		if c.IsNotDefined || !f.AnyOf && len(c.Props)+len(c.Comps) > 0 {
			return whole
		}
		i := slices.IndexFunc(parts, func(p *calendar.CompFilter) bool { return p.Comps[0].Name == c.Name })
		if i < 0 {
			part := *f
			part.Comps = nil
			parts = append(parts, &part)
			i = len(parts) - 1
		}
		parts[i].Comps = append(parts[i].Comps, c)
	}
	return parts
}

func timeRange(t *davxml.TimeRange) *calendar.TimeRange {
	if t == nil {
		return nil
	}
	return &calendar.TimeRange{Start: t.Start, End: t.End}
}

func oneComp(f *davxml.CompFilter) calendar.CompFilter {
	out := calendar.CompFilter{Name: f.Name, IsNotDefined: f.NotDefined, AnyOf: f.AnyOf, Range: timeRange(f.TimeRange)}
	for i := range f.Props {
		out.Props = append(out.Props, oneProp(&f.Props[i]))
	}
	for i := range f.Comps {
		out.Comps = append(out.Comps, oneComp(&f.Comps[i]))
	}
	return out
}

func oneProp(f *davxml.PropFilter) calendar.PropFilter {
	out := calendar.PropFilter{Name: f.Name, IsNotDefined: f.NotDefined, AnyOf: f.AnyOf, Range: timeRange(f.TimeRange)}
	out.Text = oneText(f.Text)
	for i := range f.Params {
		p := &f.Params[i]
		out.Params = append(out.Params, calendar.ParamFilter{Name: p.Name, IsNotDefined: p.NotDefined, Text: oneText(p.Text)})
	}
	return out
}

func oneText(t *davxml.TextMatch) *calendar.TextMatch {
	if t == nil {
		return nil
	}
	return &calendar.TextMatch{Text: t.Text, Collation: t.Collation, Negate: t.Negate, MatchType: t.MatchType}
}

// compSpec turns the CALDAV:comp of a request into the calendar package's.
func compSpec(c *davxml.CompSpec) *calendar.DataSpec {
	out := &calendar.DataSpec{Name: c.Name, AllProps: c.AllProps, AllComps: c.AllComps}
	for _, p := range c.Props {
		out.Props = append(out.Props, calendar.PropSpec{Name: p.Name, NoValue: p.NoValue})
	}
	for i := range c.Comps {
		out.Comps = append(out.Comps, *compSpec(&c.Comps[i]))
	}
	return out
}
