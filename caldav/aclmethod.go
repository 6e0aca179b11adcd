package caldav

import (
	"errors"
	"net/http"
	"slices"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// writePrivileges writes privileges, containers and leaves (RFC 3744 §5.4).
func writePrivileges(b *davxml.Builder, s acl.Set, c acl.Class) {
	for _, n := range s.Names(c) {
		b.Start(davxml.DPrivilege)
		b.Empty(davxml.Name(n))
		b.End()
	}
}

// writePrivilegeTree writes DAV:supported-privilege-set (RFC 3744 §5.3).
func writePrivilegeTree(b *davxml.Builder, c acl.Class) {
	var walk func(p acl.Privilege)
	walk = func(p acl.Privilege) {
		b.Start(davxml.DSupportedPrivilege)
		b.Start(davxml.DPrivilege)
		b.Empty(davxml.Name(p.Name))
		b.End()
		b.Start(davxml.DDescription)
		b.Text(p.Description)
		b.End()
		for _, k := range p.Children {
			walk(k)
		}
		b.End()
	}
	walk(c.Tree())
}

// listed is an entry in force, and the path that it is inherited from.
type listed struct {
	acl.ACE
	from string
}

// accessLists is what DAV:acl of a resource is made of.
type accessLists struct {
	entries  []listed
	accounts map[storage.AccountID]storage.Account // whom they name
}

// lists reads the entries in force on a resource. An owner's request does not load
// them, so they are read here, for all collections of the home at once; the members
// of a listing share what was read.
func (q *request) lists(r *resource) (*accessLists, error) {
	if r.home == nil || r.col == nil && r.path.Kind != KindHome {
		return &accessLists{entries: q.fixedEntries(r)}, nil
	}
	cols := r.sister
	if cols == nil && q.memo != nil && q.memo.account == r.home.ID {
		cols = q.memo.cols
	}
	if cols == nil {
		var err error
		if cols, err = q.h.db.Collections(q.ctx, r.home.ID); err != nil {
			return nil, err
		}
	}
	if q.memo == nil || q.memo.account != r.home.ID {
		q.memo = &memo{account: r.home.ID, cols: cols, accounts: map[storage.AccountID]storage.Account{}}
		var ids []storage.AccountID
		for i := range cols {
			for _, e := range cols[i].ACL {
				if e.Principal.Kind == acl.Account || e.Principal.Kind == acl.Group {
					ids = append(ids, storage.AccountID(e.Principal.ID))
				}
			}
		}
		if len(ids) > 0 {
			slices.Sort(ids)
			var err error
			if q.memo.accounts, err = q.h.db.AccountsByID(q.ctx, slices.Compact(ids)); err != nil {
				q.memo = nil
				return nil, err
			}
		}
	}
	name := ""
	if r.col != nil && r.col.Kind != storage.CollectionHome {
		name = r.col.Name
	}
	var own, home []acl.ACE
	kind := acl.CalendarHome
	for i := range cols {
		if cols[i].Kind == storage.CollectionHome {
			home = cols[i].ACL
		}
		if cols[i].Name == name {
			own, kind = cols[i].ACL, aclKind(cols[i].Kind)
		}
	}
	if name == "" {
		home = nil
	}
	out := &accessLists{accounts: q.memo.accounts}
	above := ""
	if items.has(r.path.Kind) {
		above = collectionPath(r.home, name)
	}
	add := func(list []acl.ACE, from string) {
		for _, e := range list {
			e.Inherited = from != ""
			out.entries = append(out.entries, listed{e, from})
		}
	}
	add(acl.Protected(), above)
	add(own, above)
	add(acl.Inherited(kind, home), homePath(r.home))
	add(acl.Default(kind), calendarsPath)
	return out, nil
}

// memo holds what the lists of a home were made of.
type memo struct {
	account  storage.AccountID
	cols     []storage.Collection
	accounts map[storage.AccountID]storage.Account
}

// fixedEntries are those of principals and of the folders above all homes: everybody
// who signed in reads them, and a principal belongs to whom it is.
func (q *request) fixedEntries(r *resource) []listed {
	out := []listed{{ACE: acl.ACE{Principal: acl.Principal{Kind: acl.Authenticated}, Grant: acl.Read | acl.ReadCurrentUserPrivilegeSet, Protected: true}}}
	if r.home != nil {
		out = append([]listed{{ACE: acl.ACE{Principal: acl.Principal{Kind: acl.Self}, Grant: acl.All, Protected: true}}}, out...)
	}
	return out
}

// writeACL writes DAV:acl (RFC 3744 §5.5). Accounts are named by the hrefs of
// their principals; one that no longer exists is left out, it grants nothing.
func writeACL(q *request, r *resource, b *davxml.Builder) {
	lists, err := q.lists(r)
	if err != nil {
		q.readError("an access control list", err)
		return
	}
	class := classOf(r.path.Kind)
	for _, e := range lists.entries {
		href := ""
		switch e.Principal.Kind {
		case acl.Account, acl.Group:
			a, ok := lists.accounts[storage.AccountID(e.Principal.ID)]
			if !ok {
				continue
			}
			href = principalPath(&a)
		case acl.ProxyRead:
			href = proxyPath(r.home, acl.ReadProxy)
		case acl.ProxyWrite:
			href = proxyPath(r.home, acl.WriteProxy)
		}
		set, word := e.Grant, davxml.DGrant
		if e.Deny != 0 {
			set, word = e.Deny, davxml.DDeny
		}
		names := set.Minimal(class)
		if len(names) == 0 {
			continue // privileges that resources of this kind do not have
		}
		b.Start(davxml.DACE)
		b.Start(davxml.DPrincipal)
		switch e.Principal.Kind {
		case acl.Owner:
			b.Start(davxml.DProperty)
			b.Empty(davxml.DOwner)
			b.End()
		case acl.Self:
			b.Empty(davxml.DSelf)
		case acl.Everyone:
			b.Empty(davxml.DAll)
		case acl.Authenticated:
			b.Empty(davxml.DAuthenticated)
		case acl.Unauthenticated:
			b.Empty(davxml.DUnauthenticated)
		case acl.Property:
			b.Start(davxml.DProperty)
			b.Empty(davxml.Name(e.Principal.Property))
			b.End()
		default:
			b.Href(href)
		}
		b.End()
		b.Start(word)
		for _, n := range names {
			b.Start(davxml.DPrivilege)
			b.Empty(davxml.Name(n))
			b.End()
		}
		b.End()
		if e.Protected {
			b.Empty(davxml.DProtected)
		}
		if e.from != "" {
			b.Start(davxml.DInherited)
			b.Href(e.from)
			b.End()
		}
		b.End()
	}
}

// inheritedFrom is DAV:inherited-acl-set (RFC 3744 §5.7).
func inheritedFrom(q *request, r *resource) []string {
	switch {
	case items.has(r.path.Kind):
		return []string{collectionPath(r.home, r.col.Name), homePath(r.home), calendarsPath}
	case r.path.Kind == KindCalendar:
		return []string{homePath(r.home), calendarsPath}
	case collected.has(r.path.Kind):
		return []string{calendarsPath}
	}
	return nil
}

// setACL answers the ACL method (RFC 3744 §8): it replaces the entries that are
// not protected.
func (q *request) setACL() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	body, err := davxml.ParseACL(root)
	if err != nil {
		return err
	}
	col := q.found.Collection
	if q.path.Kind == KindHome {
		if col, err = q.homeCollection(); err != nil {
			return err
		}
	}
	class := classOf(q.path.Kind)
	var list []acl.ACE
	for _, e := range body.ACEs {
		if e.Protected || e.Inherited {
			continue // sent back as read: not the client's to change
		}
		if e.Invert {
			return precondition(davxml.DNoInvert, "entries for everybody but somebody are not supported")
		}
		ace := acl.ACE{}
		set := &ace.Grant
		if e.Deny {
			set = &ace.Deny
		}
		for _, n := range e.Privileges {
			s, ok := acl.LookupFor(acl.Name(n), class)
			if !ok {
				return precondition(davxml.DNotSupportedPrivilege, "no privilege "+n.Local+" here")
			}
			*set |= s
		}
		p, ok, err := q.aclPrincipal(e.Principal)
		if err != nil {
			return err
		}
		if !ok {
			return precondition(davxml.DRecognizedPrincipal, "there is no such principal")
		}
		if q.isProtected(p) {
			if e.Deny {
				return precondition(davxml.DNoProtectedACEConflict, "the rights of the owner and of his delegates are protected")
			}
			if p.Kind == acl.Owner || p.Kind == acl.Account {
				continue // the owner has everything by a protected entry
			}
		}
		ace.Principal = p
		list = append(list, ace)
	}
	switch err := acl.Validate(list, class); {
	case errors.Is(err, acl.ErrTooMany):
		return precondition(davxml.DLimitedNumberOfACEs, err.Error())
	case errors.Is(err, acl.ErrProtected):
		return precondition(davxml.DNoProtectedACEConflict, err.Error())
	case errors.Is(err, acl.ErrPrincipal):
		return precondition(davxml.DRecognizedPrincipal, err.Error())
	case errors.Is(err, acl.ErrEntry):
		return badRequest(err.Error())
	case err != nil:
		return precondition(davxml.DNotSupportedPrivilege, err.Error())
	}
	if err := q.updateCollection(col.Name, nil, func(c *storage.Collection) { c.ACL = list }); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// isProtected tells whether protected entries are about the principal.
func (q *request) isProtected(p acl.Principal) bool {
	switch p.Kind {
	case acl.Owner, acl.ProxyRead, acl.ProxyWrite:
		return true
	}
	return p.Kind == acl.Account && p.ID == int64(q.found.Home.ID)
}

// aclPrincipal finds whom an entry is about.
func (q *request) aclPrincipal(p davxml.ACEPrincipal) (acl.Principal, bool, error) {
	switch p.Kind {
	case davxml.PrincipalAll:
		return acl.Principal{Kind: acl.Everyone}, true, nil // nobody gets in without signing in, so it is who does
	case davxml.PrincipalAuthenticated:
		return acl.Principal{Kind: acl.Authenticated}, true, nil
	case davxml.PrincipalUnauthenticated:
		return acl.Principal{Kind: acl.Unauthenticated}, true, nil
	case davxml.PrincipalSelf:
		return acl.Principal{Kind: acl.Self}, true, nil
	case davxml.PrincipalProperty:
		if p.Property == davxml.DOwner {
			return acl.Principal{Kind: acl.Owner}, true, nil
		}
		return acl.Principal{}, false, nil
	}
	path, ok := parseHref(p.Href, q.sameHost)
	if ok && path.Kind == KindProxy {
		if path.Handle != q.found.Home.Handle || folderOf(q.found.Home.Kind) != path.Folder {
			return acl.Principal{}, false, precondition(davxml.DAllowedPrincipal, "only the owner's own delegates can be named as such")
		}
		if path.Proxy == proxyWrite {
			return acl.Principal{Kind: acl.ProxyWrite}, true, nil
		}
		return acl.Principal{Kind: acl.ProxyRead}, true, nil
	}
	if !ok || path.Kind != KindPrincipal {
		return acl.Principal{}, false, nil
	}
	a, err := q.h.db.AccountByHandle(q.ctx, path.Handle)
	if errors.Is(err, storage.ErrNotFound) || err == nil && folderOf(a.Kind) != path.Folder {
		return acl.Principal{}, false, nil
	}
	if err != nil {
		return acl.Principal{}, false, err
	}
	kind := acl.Account
	if a.Kind == storage.KindGroup {
		kind = acl.Group
	}
	return acl.Principal{Kind: kind, ID: int64(a.ID)}, true, nil
}
