package davxml

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits on what one request may ask for. A body over them fails with ErrTooLarge.
const (
	MaxProps       = 1000 // properties asked for, changed or expanded
	MaxFilterParts = 500  // filters and matches in a calendar-query
	MaxSearchTerms = 100  // terms of a principal search
)

// PropSpec says what a PROPFIND or a report wants to know of each resource. At most
// one of AllProp, PropName and a list of Props is given; a report may give none.
type PropSpec struct {
	AllProp  bool      // RFC 4918 §14.2
	PropName bool      // RFC 4918 §14.18
	Include  []Name    // with AllProp, RFC 4918 §14.8
	Props    []Name    // in the order asked for, each once
	Data     *DataSpec // how CALDAV:calendar-data is wanted; nil when it is not among Props
	ZoneType string    // content-type on CALDAV:calendar-timezone, "" when there is none
}

// ParsePropfind decodes the body of a PROPFIND (RFC 4918 §9.1). No body means
// allprop.
func ParsePropfind(root *Node) (*PropSpec, error) {
	if root == nil {
		return &PropSpec{AllProp: true}, nil
	}
	if err := want(root, DPropFind); err != nil {
		return nil, err
	}
	spec, found, err := propSpec(root)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errorf(ErrRequest, "propfind without prop, allprop or propname")
	}
	return &spec, nil
}

// propSpec reads the prop, allprop, propname and include children of n; found
// tells whether one of the first three was there.
func propSpec(n *Node) (spec PropSpec, found bool, err error) {
	kinds := 0
	for _, c := range n.Children {
		switch c.Name {
		case DAllProp:
			kinds++
			spec.AllProp = true
		case DPropName:
			kinds++
			spec.PropName = true
		case DInclude:
			if spec.Include, err = propNames(c); err != nil {
				return spec, false, err
			}
		case DProp:
			kinds++
			if spec.Props, err = propNames(c); err != nil {
				return spec, false, err
			}
			if z := c.Child(CCalendarTimezone); z != nil {
				spec.ZoneType, _ = z.Attr("content-type")
			}
			if d := c.Child(CCalendarData); d != nil {
				if spec.Data, err = dataSpec(d); err != nil {
					return spec, false, err
				}
			}
		}
	}
	if kinds > 1 {
		return spec, false, errorf(ErrRequest, "only one of prop, allprop and propname may be given")
	}
	return spec, kinds == 1, nil
}

// propNames lists the children of a DAV:prop, each name once. What stands inside
// of them is not looked at: some clients put an expand into DAV:getetag.
func propNames(n *Node) ([]Name, error) {
	if len(n.Children) > MaxProps {
		return nil, errorf(ErrTooLarge, "more than %d properties", MaxProps)
	}
	out := make([]Name, 0, len(n.Children))
	var seen map[Name]bool
	if len(n.Children) > 16 {
		seen = make(map[Name]bool, len(n.Children))
	}
next:
	for _, c := range n.Children {
		if seen != nil {
			if seen[c.Name] {
				continue
			}
			seen[c.Name] = true
		} else {
			for _, o := range out {
				if o == c.Name {
					continue next
				}
			}
		}
		out = append(out, c.Name)
	}
	return out, nil
}

// Report is the decoded body of a REPORT: a pointer to one of CalendarQuery,
// CalendarMultiget, FreeBusyQuery, SyncCollection, ExpandProperty, PrincipalMatch,
// PrincipalPropertySearch, PrincipalSearchPropertySet, ACLPrincipalPropSet,
// CalendarServerPrincipalSearch.
type Report interface {
	// ReportName is the name of the report's root element.
	ReportName() Name
}

// ParseReport decodes the body of a REPORT by its root element. One that the
// package does not know fails with DAV:supported-report (RFC 3253 §3.6).
func ParseReport(root *Node) (Report, error) {
	if root == nil {
		return nil, errorf(ErrRequest, "a REPORT needs a body")
	}
	switch root.Name {
	case CCalendarQuery:
		return result(parseCalendarQuery(root))
	case CCalendarMultiget:
		return result(parseMultiget(root))
	case CFreeBusyQuery:
		return result(parseFreeBusyQuery(root))
	case DSyncCollection:
		return result(parseSyncCollection(root))
	case DExpandProperty:
		return result(parseExpandProperty(root))
	case DPrincipalMatch:
		return result(parsePrincipalMatch(root))
	case DPrincipalPropertySearch:
		return result(parsePrincipalPropertySearch(root))
	case DPrincipalSearchPropertySet:
		return &PrincipalSearchPropertySet{}, nil
	case DACLPrincipalPropSet:
		return result(parseACLPrincipalPropSet(root))
	case CSCalendarServerPrincipalSearch:
		return result(parseCalendarServerPrincipalSearch(root))
	}
	return nil, condf(DSupportedReport, "no report %s", clip(root.Local))
}

// result keeps a nil pointer from becoming a non-nil Report.
func result[T any, P interface {
	*T
	Report
}](r P, err error) (Report, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// want checks the root element.
func want(root *Node, name Name) error {
	if root == nil {
		return errorf(ErrRequest, "the body must be a %s element", name.Local)
	}
	if root.Name != name {
		return errorf(ErrRequest, "the body must be a %s element, not %s", name, clip(root.Name.String()))
	}
	return nil
}

// limitOf reads a limit element (RFC 5323 §5.17; RFC 6578 §3.7 takes it over); 0
// when there is none.
func limitOf(root *Node, limit, nresults Name) (int, error) {
	l := root.Child(limit)
	if l == nil {
		return 0, nil
	}
	v := l.Child(nresults).Value()
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n == 0 {
		return 0, errorf(ErrRequest, "nresults must be a positive number, not %q", clip(v))
	}
	return int(min(n, math.MaxInt32)), nil
}

// TimeRange is the half-open interval [Start, End) in UTC. A zero time means that
// the side is open; where both are given, End is after Start.
type TimeRange struct{ Start, End time.Time }

// timeRange reads the start and end attributes. bad says what is wrong; the caller
// knows which error that is.
// RFC 4791 §9.9
func timeRange(n *Node, both bool) (tr TimeRange, bad string) {
	start, hasStart := n.Attr("start")
	end, hasEnd := n.Attr("end")
	switch {
	case both && !(hasStart && hasEnd):
		return tr, n.Local + " needs start and end"
	case !hasStart && !hasEnd:
		return tr, n.Local + " needs start or end"
	}
	var ok bool
	if hasStart {
		if tr.Start, ok = parseUTC(start); !ok {
			return tr, "start is not a date with UTC time: " + clip(start)
		}
	}
	if hasEnd {
		if tr.End, ok = parseUTC(end); !ok {
			return tr, "end is not a date with UTC time: " + clip(end)
		}
	}
	if hasStart && hasEnd && !tr.End.After(tr.Start) {
		return tr, "end must be after start"
	}
	return tr, ""
}

// parseUTC reads the only form that RFC 4791 allows, yyyymmddThhmmssZ.
func parseUTC(s string) (time.Time, bool) {
	const layout = "20060102T150405Z"
	// time.Parse alone would let fractions of a second through.
	if len(s) != len(layout) {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	if t.IsZero() { // the first instant there is, which is not the same as no time
		t = t.Add(time.Second)
	}
	return t, err == nil
}

// isToken tells whether s can be an iCalendar name (RFC 5545 §3.1).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

// nameAttr reads the name attribute that comp, prop and the filters have, in upper
// case; "" when it is missing or not a name.
func nameAttr(n *Node) string {
	v, _ := n.Attr("name")
	if !isToken(v) {
		return ""
	}
	return strings.ToUpper(v)
}
