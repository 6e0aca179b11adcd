package davxml

import "strings"

// PrincipalMatch is the principal-match report (RFC 3744 §9.3): the members whose
// property Property names the current user, or, with Self, the principals that are
// the current user.
type PrincipalMatch struct {
	PropSpec
	Self     bool
	Property Name // zero with Self
}

// ReportName implements Report.
func (*PrincipalMatch) ReportName() Name { return DPrincipalMatch }

func parsePrincipalMatch(root *Node) (*PrincipalMatch, error) {
	m := &PrincipalMatch{Self: root.Child(DSelf) != nil}
	var err error
	if m.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	pp := root.Child(DPrincipalProperty)
	if (pp != nil) == m.Self {
		return nil, errorf(ErrRequest, "principal-match needs self or principal-property")
	}
	if pp != nil {
		if len(pp.Children) != 1 {
			return nil, errorf(ErrRequest, "principal-property names one property")
		}
		m.Property = pp.Children[0].Name
	}
	return m, nil
}

// PrincipalPropertySearch is the principal-property-search report (RFC 3744 §9.4)
// with the usual extensions: test, type, match-type and limit.
type PrincipalPropertySearch struct {
	PropSpec
	AnyOf      bool   // one search must match, instead of all
	Type       string // kind of principal wanted, "" for all; as a calendar user type
	Searches   []PropertySearch
	Everywhere bool // apply-to-principal-collection-set
	Limit      int

	// Beside: the properties were not in DAV:prop but next to it, as
	// python-caldav writes them. That client takes it for granted that every
	// principal it is told of has all of them.
	Beside bool
}

// PropertySearch looks for Match in each of Props. A principal matches when all of
// Props do (RFC 3744 §9.4). Comparison ignores case unless CaseSensitive.
type PropertySearch struct {
	Props         []Name
	Match         string
	MatchType     string // one of the Match constants
	CaseSensitive bool
}

// ReportName implements Report.
func (*PrincipalPropertySearch) ReportName() Name { return DPrincipalPropertySearch }

func parsePrincipalPropertySearch(root *Node) (*PrincipalPropertySearch, error) {
	s := &PrincipalPropertySearch{Everywhere: root.Child(DApplyToPrincipalCollectionSet) != nil}
	var err error
	switch s.Type, _ = root.Attr("type"); strings.ToUpper(s.Type) {
	case "", "INDIVIDUAL", "GROUP", "RESOURCE", "ROOM", "UNKNOWN": // RFC 5545 §3.2.3
	default:
		return nil, errorf(ErrRequest, "no kind of principal %q", clip(s.Type))
	}
	if s.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	if p := root.Child(DProp); p != nil && len(p.Children) == 0 {
		if s.Props = besideProp(root); len(s.Props) > 0 {
			s.Beside = true
		}
	}
	if s.Limit, err = searchLimit(root); err != nil {
		return nil, err
	}
	switch v, _ := root.Attr("test"); v {
	case "", "allof":
	case "anyof":
		s.AnyOf = true
	default:
		return nil, errorf(ErrRequest, "test is allof or anyof")
	}
	for c := range root.All(DPropertySearch) {
		if len(s.Searches) == MaxSearchTerms {
			return nil, errorf(ErrTooLarge, "more than %d searches", MaxSearchTerms)
		}
		p := PropertySearch{MatchType: MatchContains}
		if p.Props, err = propNames(c.Child(DProp).orEmpty()); err != nil {
			return nil, err
		}
		m := c.Child(DMatch)
		if len(p.Props) == 0 || m == nil {
			return nil, errorf(ErrRequest, "property-search needs prop and match")
		}
		p.Match = m.Value()
		// The attributes stand on match or on property-search.
		for _, at := range []*Node{c, m} {
			if v, ok := at.Attr("match-type"); ok {
				switch v {
				case MatchContains, MatchEquals, MatchStartsWith, MatchEndsWith:
					p.MatchType = v
				default:
					return nil, errorf(ErrRequest, "no match-type %q", clip(v))
				}
			}
			if v, ok := at.Attr("caseless"); ok {
				if v != "yes" && v != "no" {
					return nil, errorf(ErrRequest, "caseless is yes or no")
				}
				p.CaseSensitive = v == "no"
			}
		}
		s.Searches = append(s.Searches, p)
	}
	// RFC 3744 §9.4 wants one property-search at least. Without any there is no
	// condition, and python-caldav lists all principals so.
	if len(s.Searches) == 0 && root.Child(DProp) == nil {
		return nil, errorf(ErrRequest, "principal-property-search without a property-search")
	}
	return s, nil
}

// besideProp are the properties that stand next to an empty DAV:prop in a
// principal search: every element that is no part of the report.
func besideProp(root *Node) (names []Name) {
	for _, c := range root.Children {
		switch c.Name {
		case DProp, DPropertySearch, DApplyToPrincipalCollectionSet, DLimit, DNResults:
		default:
			if len(c.Children) == 0 && len(names) < MaxProps {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// PrincipalSearchPropertySet is the principal-search-property-set report
// (RFC 3744 §9.5): which properties can be searched. Its body says nothing more.
type PrincipalSearchPropertySet struct{}

// ReportName implements Report.
func (*PrincipalSearchPropertySet) ReportName() Name { return DPrincipalSearchPropertySet }

// ACLPrincipalPropSet is the acl-principal-prop-set report (RFC 3744 §9.2): the
// principals in the ACL of the resource.
type ACLPrincipalPropSet struct{ PropSpec }

// ReportName implements Report.
func (*ACLPrincipalPropSet) ReportName() Name { return DACLPrincipalPropSet }

func parseACLPrincipalPropSet(root *Node) (*ACLPrincipalPropSet, error) {
	spec, _, err := propSpec(root)
	return &ACLPrincipalPropSet{spec}, err
}

// CalendarServerPrincipalSearch is Apple's calendarserver-principal-search report,
// by which its clients complete the names of people, rooms and resources. A
// principal matches when every token begins a word of its names or addresses.
type CalendarServerPrincipalSearch struct {
	PropSpec
	Tokens     []string
	Context    string // attendee, location, resource, user, group; "" for all
	Everywhere bool   // apply-to-principal-collection-set
	Limit      int
}

// ReportName implements Report.
func (*CalendarServerPrincipalSearch) ReportName() Name { return CSCalendarServerPrincipalSearch }

func parseCalendarServerPrincipalSearch(root *Node) (*CalendarServerPrincipalSearch, error) {
	s := &CalendarServerPrincipalSearch{Everywhere: root.Child(DApplyToPrincipalCollectionSet) != nil}
	s.Context, _ = root.Attr("context")
	var err error
	if s.PropSpec, _, err = propSpec(root); err != nil {
		return nil, err
	}
	if s.Limit, err = searchLimit(root); err != nil {
		return nil, err
	}
	for c := range root.All(CSSearchToken) {
		if len(s.Tokens) == MaxSearchTerms {
			return nil, errorf(ErrTooLarge, "more than %d search tokens", MaxSearchTerms)
		}
		if v := c.Value(); v != "" {
			s.Tokens = append(s.Tokens, v)
		}
	}
	if len(s.Tokens) == 0 {
		return nil, errorf(ErrRequest, "calendarserver-principal-search without a search-token")
	}
	return s, nil
}

// searchLimit reads the limit of a principal search, in Apple's namespace or DAV:.
func searchLimit(root *Node) (int, error) {
	if n, err := limitOf(root, CSLimit, CSNResults); n > 0 || err != nil {
		return n, err
	}
	return limitOf(root, DLimit, DNResults)
}

// orEmpty spares callers a test for nil.
func (n *Node) orEmpty() *Node {
	if n == nil {
		return &Node{}
	}
	return n
}
