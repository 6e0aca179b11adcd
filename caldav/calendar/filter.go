package calendar

import (
	"time"
)

// TimeRange is a CALDAV:time-range (RFC 4791 §9.9): Start is inclusive, End
// exclusive; a zero time leaves that side open.
type TimeRange struct{ Start, End time.Time }

// CompFilter is a CALDAV:comp-filter (RFC 4791 §9.7.1). All conditions must
// hold, or any of them with AnyOf.
type CompFilter struct {
	Name         string
	IsNotDefined bool
	Range        *TimeRange
	Props        []PropFilter
	Comps        []CompFilter
	AnyOf        bool
}

// PropFilter is a CALDAV:prop-filter (RFC 4791 §9.7.2).
type PropFilter struct {
	Name         string
	IsNotDefined bool
	Range        *TimeRange
	Text         *TextMatch
	Params       []ParamFilter
	AnyOf        bool
}

// ParamFilter is a CALDAV:param-filter (RFC 4791 §9.7.3).
type ParamFilter struct {
	Name         string
	IsNotDefined bool
	Text         *TextMatch
}

// TextMatch is a CALDAV:text-match (RFC 4791 §9.7.5).
type TextMatch struct {
	Text      string
	Collation string // i;ascii-casemap (also ""), i;octet or i;unicode-casemap
	Negate    bool
	MatchType string // contains (also ""), equals, starts-with, ends-with
}
