package davxml

import "slices"

// PropOp is one change of a property.
type PropOp struct {
	Remove bool
	Name   Name
	Value  *Node // the property element as sent; nil for Remove. See Node.Fragment
}

// Proppatch is the body of a PROPPATCH: its changes in document order, which is the
// order in which they apply (RFC 4918 §9.2).
type Proppatch struct{ Ops []PropOp }

// ParseProppatch decodes the body of a PROPPATCH.
func ParseProppatch(root *Node) (*Proppatch, error) {
	if err := want(root, DPropertyUpdate); err != nil {
		return nil, err
	}
	ops, err := propOps(root)
	if err != nil {
		return nil, err
	}
	if len(ops) == 0 {
		return nil, errorf(ErrRequest, "propertyupdate changes nothing")
	}
	return &Proppatch{ops}, nil
}

// MakeCollection is the body of a MKCALENDAR or an extended MKCOL.
type MakeCollection struct {
	Types []Name   // the DAV:resourcetype asked for, nil when the body has none
	Props []PropOp // every property to set, DAV:resourcetype included; no removals
}

// Is tells whether the body asks for the given resource type.
func (m *MakeCollection) Is(t Name) bool { return slices.Contains(m.Types, t) }

// ParseMkcol decodes the body of an extended MKCOL (RFC 5689 §3). No body is a
// plain MKCOL (RFC 4918 §9.3).
func ParseMkcol(root *Node) (*MakeCollection, error) { return makeCollection(root, DMkCol) }

// ParseMkcalendar decodes the body of a MKCALENDAR (RFC 4791 §5.3.1), which may be
// absent.
func ParseMkcalendar(root *Node) (*MakeCollection, error) { return makeCollection(root, CMkCalendar) }

func makeCollection(root *Node, name Name) (*MakeCollection, error) {
	m := &MakeCollection{}
	if root == nil {
		return m, nil
	}
	if err := want(root, name); err != nil {
		return nil, err
	}
	var err error
	if m.Props, err = propOps(root); err != nil {
		return nil, err
	}
	for _, op := range m.Props {
		if op.Remove {
			return nil, errorf(ErrRequest, "%s can only set properties", name.Local)
		}
		if op.Name == DResourceType {
			m.Types = op.Value.Names()
		}
	}
	return m, nil
}

// propOps reads the set and remove children. Other elements are passed over.
func propOps(root *Node) ([]PropOp, error) {
	var ops []PropOp
	for _, c := range root.Children {
		if c.Name != DSet && c.Name != DRemove {
			continue
		}
		remove := c.Name == DRemove
		for prop := range c.All(DProp) {
			if len(ops)+len(prop.Children) > MaxProps {
				return nil, errorf(ErrTooLarge, "more than %d properties", MaxProps)
			}
			for _, p := range prop.Children {
				op := PropOp{Remove: remove, Name: p.Name}
				if !remove {
					op.Value = p
				}
				ops = append(ops, op)
			}
		}
	}
	return ops, nil
}

// ComponentSet reads the value of a CALDAV:supported-calendar-component-set
// (RFC 4791 §5.2.3): component names in upper case, each once. It fails when the
// set is empty or a comp has no name.
func ComponentSet(value *Node) ([]string, error) {
	var out []string
	for c := range value.All(CComp) {
		name := nameAttr(c)
		if name == "" {
			return nil, errorf(ErrRequest, "comp without a name")
		}
		if !slices.Contains(out, name) {
			if len(out) == MaxFilterParts {
				return nil, errorf(ErrTooLarge, "more than %d components", MaxFilterParts)
			}
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil, errorf(ErrRequest, "a component set without components")
	}
	return out, nil
}

// Transparent reads the value of a CALDAV:schedule-calendar-transp (RFC 6638 §9.1):
// true when events of the calendar do not count as busy.
func Transparent(value *Node) (bool, error) {
	switch {
	case value.Child(CTransparent) != nil:
		return true, nil
	case value.Child(COpaque) != nil:
		return false, nil
	}
	return false, errorf(ErrRequest, "schedule-calendar-transp is opaque or transparent")
}
