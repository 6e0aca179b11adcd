package davxml

import "slices"

// CalendarQuery is the calendar-query report (RFC 4791 §7.8).
type CalendarQuery struct {
	PropSpec
	Filter     Filter
	Timezone   string // an iCalendar object with one VTIMEZONE, "" when not given
	TimezoneID string // RFC 7809; goes before Timezone
	Limit      int    // most responses wanted, 0 for no limit
}

// ReportName implements Report.
func (*CalendarQuery) ReportName() Name { return CCalendarQuery }

// Filter is the CALDAV:filter of a query (RFC 4791 §9.7). The standard has one
// component filter, for VCALENDAR; several side by side, and AnyOf here and below,
// are the extension with the attribute test="anyof".
type Filter struct {
	AnyOf bool // one part must match, instead of all
	Comps []CompFilter
}

// CompFilter matches a component (RFC 4791 §9.7.1). Names are in upper case.
// Without any part it matches where the component exists.
type CompFilter struct {
	Name       string
	AnyOf      bool
	NotDefined bool // then there is nothing else
	TimeRange  *TimeRange
	Props      []PropFilter
	Comps      []CompFilter
}

// PropFilter matches a property (RFC 4791 §9.7.2). Name is in upper case.
type PropFilter struct {
	Name       string
	AnyOf      bool
	NotDefined bool
	TimeRange  *TimeRange
	Text       *TextMatch
	Params     []ParamFilter
}

// ParamFilter matches a parameter (RFC 4791 §9.7.3). Name is in upper case.
type ParamFilter struct {
	Name       string
	NotDefined bool
	Text       *TextMatch
}

// Collations of text matches (RFC 4791 §7.5, RFC 5051).
const (
	CollationASCII   = "i;ascii-casemap"
	CollationOctet   = "i;octet"
	CollationUnicode = "i;unicode-casemap"
)

// Ways to compare a text. RFC 4791 knows contains only; the others come from
// RFC 6352 §10.5.4.
const (
	MatchContains   = "contains"
	MatchEquals     = "equals"
	MatchStartsWith = "starts-with"
	MatchEndsWith   = "ends-with"
)

// TextMatch compares the text of a property or parameter (RFC 4791 §9.7.5).
type TextMatch struct {
	Text      string // as sent, white space included
	Collation string // one of the Collation constants
	MatchType string // one of the Match constants
	Negate    bool
}

func parseCalendarQuery(root *Node) (*CalendarQuery, error) {
	q := &CalendarQuery{}
	var err error
	if q.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	if q.Limit, err = limitOf(root, DLimit, DNResults); err != nil {
		return nil, err
	}
	q.Timezone = root.Child(CTimezone).Content()
	q.TimezoneID = root.Child(CTimezoneID).Value()
	var filter *Node
	for f := range root.All(CFilter) {
		if filter != nil {
			return nil, condf(CValidFilter, "calendar-query with two filters")
		}
		filter = f
	}
	if filter == nil {
		return nil, condf(CValidFilter, "calendar-query without a filter")
	}
	p := filterParser{}
	if q.Filter, err = p.filter(filter); err != nil {
		return nil, err
	}
	return q, nil
}

// filterParser counts the parts of one filter.
type filterParser struct{ parts int }

func (p *filterParser) count() error {
	if p.parts++; p.parts > MaxFilterParts {
		return errorf(ErrTooLarge, "a filter with more than %d parts", MaxFilterParts)
	}
	return nil
}

func (p *filterParser) filter(n *Node) (f Filter, err error) {
	if f.AnyOf, err = anyOf(n); err != nil {
		return f, err
	}
	for _, c := range n.Children {
		if c.Name != CCompFilter {
			return f, unsupported(c)
		}
		cf, err := p.comp(c, "")
		if err != nil {
			return f, err
		}
		f.Comps = append(f.Comps, cf)
	}
	if len(f.Comps) == 0 {
		return f, condf(CValidFilter, "a filter needs a comp-filter for VCALENDAR")
	}
	return f, nil
}

func (p *filterParser) comp(n *Node, parent string) (f CompFilter, err error) {
	if err = p.count(); err != nil {
		return f, err
	}
	if f.Name = nameAttr(n); f.Name == "" {
		return f, condf(CValidFilter, "comp-filter without a name")
	}
	if !canStandIn(f.Name, parent) {
		return f, condf(CValidFilter, "component %s cannot stand in %s", clip(f.Name), clip(parent))
	}
	if f.AnyOf, err = anyOf(n); err != nil {
		return f, err
	}
	for _, c := range n.Children {
		switch c.Name {
		case CIsNotDefined:
			f.NotDefined = true
		case CTimeRange:
			if f.TimeRange != nil {
				return f, condf(CValidFilter, "two time ranges in one comp-filter")
			}
			if f.TimeRange, err = p.timeRange(c); err != nil {
				return f, err
			}
		case CPropFilter:
			pf, err := p.prop(c)
			if err != nil {
				return f, err
			}
			f.Props = append(f.Props, pf)
		case CCompFilter:
			cf, err := p.comp(c, f.Name)
			if err != nil {
				return f, err
			}
			f.Comps = append(f.Comps, cf)
		default:
			return f, unsupported(c)
		}
	}
	if f.NotDefined && (f.TimeRange != nil || len(f.Props)+len(f.Comps) > 0) {
		return f, condf(CValidFilter, "is-not-defined beside other conditions")
	}
	if f.TimeRange != nil {
		switch f.Name {
		case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VALARM", "VAVAILABILITY", "AVAILABLE", "VPOLL":
		case "VCALENDAR": // not in RFC 4791 §9.9; python-caldav asks so for any component in the range
		case "VTIMEZONE", "STANDARD", "DAYLIGHT":
			return f, condf(CValidFilter, "no time range on %s", f.Name)
		default:
			return f, unsupportedName(CCompFilter, f.Name, "no time range on this component")
		}
	}
	return f, nil
}

func (p *filterParser) prop(n *Node) (f PropFilter, err error) {
	if err = p.count(); err != nil {
		return f, err
	}
	if f.Name = nameAttr(n); f.Name == "" {
		return f, condf(CValidFilter, "prop-filter without a name")
	}
	if f.AnyOf, err = anyOf(n); err != nil {
		return f, err
	}
	for _, c := range n.Children {
		switch c.Name {
		case CIsNotDefined:
			f.NotDefined = true
		case CTimeRange:
			if f.TimeRange != nil {
				return f, condf(CValidFilter, "two time ranges in one prop-filter")
			}
			if f.TimeRange, err = p.timeRange(c); err != nil {
				return f, err
			}
		case CTextMatch:
			if f.Text != nil {
				return f, condf(CValidFilter, "two text matches in one prop-filter")
			}
			tm, err := p.text(c)
			if err != nil {
				return f, err
			}
			f.Text = &tm
		case CParamFilter:
			pf, err := p.param(c)
			if err != nil {
				return f, err
			}
			f.Params = append(f.Params, pf)
		default:
			return f, unsupported(c)
		}
	}
	if f.NotDefined && (f.TimeRange != nil || f.Text != nil || len(f.Params) > 0) {
		return f, condf(CValidFilter, "is-not-defined beside other conditions")
	}
	// RFC 4791 §7.8: a time range cannot be asked of a text property.
	if f.TimeRange != nil && slices.Contains(timeless, f.Name) {
		return f, condf(CValidFilter, "no time range on %s", f.Name)
	}
	return f, nil
}

func (p *filterParser) param(n *Node) (f ParamFilter, err error) {
	if err = p.count(); err != nil {
		return f, err
	}
	if f.Name = nameAttr(n); f.Name == "" {
		return f, condf(CValidFilter, "param-filter without a name")
	}
	for _, c := range n.Children {
		switch c.Name {
		case CIsNotDefined:
			f.NotDefined = true
		case CTextMatch:
			if f.Text != nil {
				return f, condf(CValidFilter, "two text matches in one param-filter")
			}
			tm, err := p.text(c)
			if err != nil {
				return f, err
			}
			f.Text = &tm
		default:
			return f, unsupported(c)
		}
	}
	if f.NotDefined && f.Text != nil {
		return f, condf(CValidFilter, "is-not-defined beside other conditions")
	}
	return f, nil
}

func (p *filterParser) text(n *Node) (t TextMatch, err error) {
	if err = p.count(); err != nil {
		return t, err
	}
	if len(n.Children) > 0 {
		return t, unsupported(n.Children[0])
	}
	t.Text = n.Text
	// RFC 4791 §7.5: no collation given means i;ascii-casemap.
	switch v, _ := n.Attr("collation"); v {
	case "", "default", CollationASCII:
		t.Collation = CollationASCII
	case CollationOctet, CollationUnicode:
		t.Collation = v
	default:
		return t, condf(CSupportedCollation, "no collation %s", clip(v))
	}
	switch v, _ := n.Attr("match-type"); v {
	case "", MatchContains:
		t.MatchType = MatchContains
	case MatchEquals, MatchStartsWith, MatchEndsWith:
		t.MatchType = v
	default:
		return t, condf(CSupportedFilter, "no match-type %s", clip(v))
	}
	switch v, _ := n.Attr("negate-condition"); v {
	case "", "no":
	case "yes":
		t.Negate = true
	default:
		return t, condf(CValidFilter, "negate-condition is yes or no")
	}
	return t, nil
}

func (p *filterParser) timeRange(n *Node) (*TimeRange, error) {
	if err := p.count(); err != nil {
		return nil, err
	}
	tr, bad := timeRange(n, false)
	if bad != "" {
		return nil, condf(CValidFilter, "%s", bad)
	}
	return &tr, nil
}

// anyOf reads the test attribute.
func anyOf(n *Node) (bool, error) {
	switch v, _ := n.Attr("test"); v {
	case "", "allof":
		return false, nil
	case "anyof":
		return true, nil
	default:
		return false, condf(CValidFilter, "test is allof or anyof")
	}
}

// unsupported is the error for an element that a filter must not pass over: the
// answer would hold what the client did not ask for.
func unsupported(n *Node) *Error {
	return unsupportedName(n.Name, nameAttr(n), "not part of a filter here: "+clip(n.Local))
}

func unsupportedName(part Name, name, msg string) *Error {
	e := condf(CSupportedFilter, "%s", msg)
	e.Part, e.Name = part, name
	return e
}

// parents says where the components of RFC 5545, 7953, 9073 and VPOLL stand; "" is
// the top of a filter.
var parents = map[string][]string{
	"VCALENDAR":     {""},
	"VEVENT":        {"VCALENDAR"},
	"VTODO":         {"VCALENDAR"},
	"VJOURNAL":      {"VCALENDAR"},
	"VFREEBUSY":     {"VCALENDAR"},
	"VTIMEZONE":     {"VCALENDAR"},
	"VAVAILABILITY": {"VCALENDAR"},
	"VPOLL":         {"VCALENDAR"},
	"VALARM":        {"VEVENT", "VTODO", "VPOLL"},
	"STANDARD":      {"VTIMEZONE"},
	"DAYLIGHT":      {"VTIMEZONE"},
	"AVAILABLE":     {"VAVAILABILITY"},
	"PARTICIPANT":   {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VPOLL"},
	"VLOCATION":     {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VPOLL", "VALARM", "PARTICIPANT"},
	"VRESOURCE":     {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VPOLL", "PARTICIPANT"},
}

// canStandIn tells whether a component can be part of another one. An unknown
// component can be anywhere below VCALENDAR, where it matches nothing, or an
// extension, but not in those whose grammar has properties only (RFC 5545
// §3.6.5, §3.6.6).
func canStandIn(name, parent string) bool {
	if in, known := parents[name]; known {
		return slices.Contains(in, parent)
	}
	return parent != "" && parent != "VALARM" && parent != "STANDARD" && parent != "DAYLIGHT"
}

// timeless lists the registered properties whose value is neither a time nor a
// period (RFC 5545 §8.3.2, RFC 7986 §5, RFC 9073 §6).
var timeless = []string{
	"ACTION", "ATTACH", "ATTENDEE", "CALSCALE", "CATEGORIES", "CLASS", "COLOR", "COMMENT",
	"CONFERENCE", "CONTACT", "DESCRIPTION", "DURATION", "EXRULE", "GEO", "IMAGE", "LOCATION",
	"LOCATION-TYPE", "METHOD", "NAME", "ORGANIZER", "PARTICIPANT-TYPE", "PERCENT-COMPLETE",
	"PRIORITY", "PRODID", "REFRESH-INTERVAL", "RELATED-TO", "REPEAT", "REQUEST-STATUS",
	"RESOURCE-TYPE", "RESOURCES", "RRULE", "SEQUENCE", "SOURCE", "STATUS",
	"STRUCTURED-DATA", "STYLED-DESCRIPTION", "SUMMARY", "TRANSP", "TZID", "TZNAME",
	"TZOFFSETFROM", "TZOFFSETTO", "TZURL", "UID", "URL", "VERSION",
}
