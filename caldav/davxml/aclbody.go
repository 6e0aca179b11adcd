package davxml

// MaxACEs is the number of entries an ACL request may have.
const MaxACEs = 1000

// ACL is the body of an ACL request (RFC 3744 §8.1).
type ACL struct{ ACEs []ACE }

// ACE is one access control entry as sent (RFC 3744 §5.5). Whether its privileges
// exist and its principal is known is for others to judge.
type ACE struct {
	Principal  ACEPrincipal
	Invert     bool // everybody but the principal
	Deny       bool // the privileges are denied, not granted
	Privileges []Name
	Protected  bool
	Inherited  bool
}

// PrincipalKind tells the forms of a DAV:principal apart (RFC 3744 §5.5.1).
type PrincipalKind int

const (
	PrincipalHref PrincipalKind = iota
	PrincipalAll
	PrincipalAuthenticated
	PrincipalUnauthenticated
	PrincipalProperty // whoever a property of the resource names, as DAV:owner
	PrincipalSelf
)

// ACEPrincipal is the principal of an entry.
type ACEPrincipal struct {
	Kind     PrincipalKind
	Href     string // for PrincipalHref
	Property Name   // for PrincipalProperty
}

// ParseACL decodes the body of an ACL request. An ACL without entries is valid: it
// takes every unprotected entry away.
func ParseACL(root *Node) (*ACL, error) {
	if err := want(root, DACL); err != nil {
		return nil, err
	}
	acl := &ACL{}
	for c := range root.All(DACE) {
		if len(acl.ACEs) == MaxACEs {
			return nil, &Error{Kind: ErrTooLarge, Cond: DLimitedNumberOfACEs, Msg: "too many entries"}
		}
		ace, err := parseACE(c)
		if err != nil {
			return nil, err
		}
		acl.ACEs = append(acl.ACEs, ace)
	}
	return acl, nil
}

func parseACE(n *Node) (ACE, error) {
	a := ACE{Protected: n.Child(DProtected) != nil, Inherited: n.Child(DInherited) != nil}
	who := n.Child(DPrincipal)
	if inv := n.Child(DInvert); inv != nil {
		if who != nil {
			return a, errorf(ErrRequest, "an ace with two principals")
		}
		a.Invert = true
		who = inv.Child(DPrincipal)
	}
	if who == nil {
		return a, errorf(ErrRequest, "an ace without a principal")
	}
	var err error
	if a.Principal, err = parseACEPrincipal(who); err != nil {
		return a, err
	}
	grant, deny := n.Child(DGrant), n.Child(DDeny)
	if (grant == nil) == (deny == nil) {
		return a, errorf(ErrRequest, "an ace grants or denies")
	}
	list := grant
	if deny != nil {
		a.Deny, list = true, deny
	}
	for p := range list.All(DPrivilege) {
		// One name per privilege element (RFC 3744 §5.5.2); several are read as
		// several privileges.
		a.Privileges = append(a.Privileges, p.Names()...)
	}
	if len(a.Privileges) == 0 {
		return a, errorf(ErrRequest, "an ace without privileges")
	}
	return a, nil
}

func parseACEPrincipal(n *Node) (ACEPrincipal, error) {
	if len(n.Children) != 1 {
		return ACEPrincipal{}, errorf(ErrRequest, "principal holds one element")
	}
	c := n.Children[0]
	switch c.Name {
	case DHref:
		if v := c.Value(); v != "" {
			return ACEPrincipal{Kind: PrincipalHref, Href: v}, nil
		}
	case DAll:
		return ACEPrincipal{Kind: PrincipalAll}, nil
	case DAuthenticated:
		return ACEPrincipal{Kind: PrincipalAuthenticated}, nil
	case DUnauthenticated:
		return ACEPrincipal{Kind: PrincipalUnauthenticated}, nil
	case DSelf:
		return ACEPrincipal{Kind: PrincipalSelf}, nil
	case DProperty:
		if len(c.Children) == 1 {
			return ACEPrincipal{Kind: PrincipalProperty, Property: c.Children[0].Name}, nil
		}
	}
	return ACEPrincipal{}, &Error{Kind: ErrPrecondition, Cond: DRecognizedPrincipal, Msg: "no principal of the form " + clip(c.Local)}
}
