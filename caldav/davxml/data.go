package davxml

// DataSpec says which part of a calendar object is wanted, and how
// (RFC 4791 §9.6). The zero value asks for the whole object as it is stored.
type DataSpec struct {
	ContentType string // media type asked for, "" for the default
	Version     string
	Comp        *CompSpec // what to keep of VCALENDAR; nil: everything
	// At most one of Expand and LimitRecurrence is given. All three ranges have
	// both ends.
	Expand          *TimeRange
	LimitRecurrence *TimeRange
	LimitFreeBusy   *TimeRange
}

// CompSpec says what to keep of a component (RFC 4791 §9.6.1). Names are in upper
// case.
type CompSpec struct {
	Name     string
	AllProps bool
	Props    []PropData
	AllComps bool
	Comps    []CompSpec
}

// PropData names an iCalendar property to keep (RFC 4791 §9.6.4).
type PropData struct {
	Name    string
	NoValue bool // only name and parameters are wanted
}

// dataSpec decodes a CALDAV:calendar-data element of a request. Elements it does
// not know are passed over.
func dataSpec(n *Node) (*DataSpec, error) {
	d := &DataSpec{}
	d.ContentType, _ = n.Attr("content-type")
	d.Version, _ = n.Attr("version")
	for _, c := range n.Children {
		switch c.Name {
		case CComp:
			if d.Comp != nil {
				return nil, errorf(ErrRequest, "calendar-data with two comp elements")
			}
			comp, err := compSpec(c)
			if err != nil {
				return nil, err
			}
			if comp.Name != "VCALENDAR" {
				return nil, errorf(ErrRequest, "the comp in calendar-data must be VCALENDAR")
			}
			d.Comp = &comp
		case CExpand, CLimitRecurrenceSet, CLimitFreeBusySet:
			tr, bad := timeRange(c, true)
			if bad != "" {
				return nil, errorf(ErrRequest, "%s", bad)
			}
			switch c.Name {
			case CExpand:
				d.Expand = &tr
			case CLimitRecurrenceSet:
				d.LimitRecurrence = &tr
			default:
				d.LimitFreeBusy = &tr
			}
		}
	}
	if d.Expand != nil && d.LimitRecurrence != nil {
		return nil, errorf(ErrRequest, "expand and limit-recurrence-set exclude each other")
	}
	return d, nil
}

func compSpec(n *Node) (CompSpec, error) {
	s := CompSpec{Name: nameAttr(n)}
	if s.Name == "" {
		return s, errorf(ErrRequest, "comp without a name")
	}
	known := false
	for _, c := range n.Children {
		switch c.Name {
		case CAllProp:
			known, s.AllProps = true, true
		case CAllComp:
			known, s.AllComps = true, true
		case CProp:
			p := PropData{Name: nameAttr(c)}
			if p.Name == "" {
				return s, errorf(ErrRequest, "prop without a name in comp %s", clip(s.Name))
			}
			v, _ := c.Attr("novalue")
			p.NoValue = v == "yes"
			known, s.Props = true, append(s.Props, p)
		case CComp:
			sub, err := compSpec(c)
			if err != nil {
				return s, err
			}
			known, s.Comps = true, append(s.Comps, sub)
		}
	}
	if !known {
		// A comp that says nothing more is wanted whole, as VTIMEZONE is in the
		// example of RFC 4791 §7.8.1.
		s.AllProps, s.AllComps = true, true
	}
	return s, nil
}
