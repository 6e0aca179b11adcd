package davxml

import "strings"

// CalendarMultiget is the calendar-multiget report (RFC 4791 §7.9).
type CalendarMultiget struct {
	PropSpec
	Hrefs []string // in the order asked for, each spelling once; may be empty
}

// ReportName implements Report.
func (*CalendarMultiget) ReportName() Name { return CCalendarMultiget }

func parseMultiget(root *Node) (*CalendarMultiget, error) {
	m := &CalendarMultiget{}
	var err error
	if m.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	n := 0
	for range root.All(DHref) {
		n++
	}
	m.Hrefs = make([]string, 0, n)
	seen := make(map[string]struct{}, n)
	for h := range root.All(DHref) {
		v := h.Value()
		if _, again := seen[v]; again || v == "" {
			continue
		}
		seen[v] = struct{}{}
		m.Hrefs = append(m.Hrefs, v)
	}
	return m, nil
}

// FreeBusyQuery is the free-busy-query report (RFC 4791 §7.10).
type FreeBusyQuery struct{ TimeRange }

// ReportName implements Report.
func (*FreeBusyQuery) ReportName() Name { return CFreeBusyQuery }

func parseFreeBusyQuery(root *Node) (*FreeBusyQuery, error) {
	n := root.Child(CTimeRange)
	if n == nil {
		return nil, errorf(ErrRequest, "free-busy-query without a time-range")
	}
	tr, bad := timeRange(n, false)
	if bad != "" {
		return nil, errorf(ErrRequest, "%s", bad)
	}
	return &FreeBusyQuery{tr}, nil
}

// SyncLevel is the scope of a sync-collection report (RFC 6578 §6.3).
type SyncLevel int

const (
	SyncFromDepth SyncLevel = iota // not given: an old client says it in the Depth header
	SyncOne                        // the members
	SyncInfinite                   // members of members as well
)

// SyncCollection is the sync-collection report (RFC 6578 §3.2).
type SyncCollection struct {
	PropSpec
	Token string // "" for a first synchronization
	Level SyncLevel
	Limit int // most responses wanted, 0 for no limit
}

// ReportName implements Report.
func (*SyncCollection) ReportName() Name { return DSyncCollection }

func parseSyncCollection(root *Node) (*SyncCollection, error) {
	s := &SyncCollection{Token: root.Child(DSyncToken).Value()}
	var err error
	if s.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	if s.Limit, err = limitOf(root, DLimit, DNResults); err != nil {
		return nil, err
	}
	if n := root.Child(DSyncLevel); n != nil {
		switch v := n.Value(); v {
		case "1":
			s.Level = SyncOne
		case "infinite", "infinity":
			s.Level = SyncInfinite
		default:
			return nil, errorf(ErrRequest, "sync-level is 1 or infinite, not %q", clip(v))
		}
	}
	return s, nil
}

// ExpandProperty is the expand-property report (RFC 3253 §3.8).
type ExpandProperty struct{ Props []ExpandedProp }

// ExpandedProp is a property asked for. With Props, each DAV:href in its value is
// replaced by a response with those properties of the resource.
type ExpandedProp struct {
	Name  Name
	Props []ExpandedProp
}

// ReportName implements Report.
func (*ExpandProperty) ReportName() Name { return DExpandProperty }

func parseExpandProperty(root *Node) (*ExpandProperty, error) {
	total := 0
	props, err := expandedProps(root, &total)
	if err != nil {
		return nil, err
	}
	return &ExpandProperty{props}, nil
}

func expandedProps(n *Node, total *int) ([]ExpandedProp, error) {
	var out []ExpandedProp
	for c := range n.All(DProperty) {
		if *total++; *total > MaxProps {
			return nil, errorf(ErrTooLarge, "more than %d properties to expand", MaxProps)
		}
		name, err := propertyName(c)
		if err != nil {
			return nil, err
		}
		sub, err := expandedProps(c, total)
		if err != nil {
			return nil, err
		}
		out = append(out, ExpandedProp{name, sub})
	}
	return out, nil
}

// propertyName reads the name and namespace attributes of a DAV:property. The name
// will stand as an element in the answer; the XML parser has not checked it as one,
// so only the plain ASCII names are taken.
func propertyName(n *Node) (Name, error) {
	local, _ := n.Attr("name")
	space, given := n.Attr("namespace")
	if !given {
		space = NSDAV
	}
	name := Name{space, local}
	if !name.writable() || strings.IndexFunc(local, func(r rune) bool { return r >= 0x80 }) >= 0 {
		return Name{}, errorf(ErrRequest, "property with a bad name %q", clip(local))
	}
	return name, nil
}
