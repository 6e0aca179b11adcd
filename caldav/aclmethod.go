package caldav

import (
	"errors"
	"net/http"

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

// writeACL writes DAV:acl (RFC 3744 §5.5). Accounts are named by the hrefs of
// their principals; one that no longer exists is left out, it grants nothing.
func writeACL(q *request, r *resource, b *davxml.Builder) {
	col := r.col
	if col != nil && r.home.ID == q.user.ID && col.Kind != storage.CollectionHome { // the owner's own row is read without its list
		c, err := q.h.db.CollectionByName(q.ctx, r.home.ID, col.Name)
		if err != nil {
			q.h.cfg.Log.Error("an access control list cannot be read", "error", err, "request", q.requestID())
		}
		col = &c
	}
	list := aclOf(col)
	var ids []storage.AccountID
	for _, e := range list {
		if e.Principal.Kind == acl.Account || e.Principal.Kind == acl.Group {
			ids = append(ids, storage.AccountID(e.Principal.ID))
		}
	}
	var accounts map[storage.AccountID]storage.Account
	if len(ids) > 0 {
		var err error
		if accounts, err = q.h.db.AccountsByID(q.ctx, ids); err != nil {
			q.h.cfg.Log.Error("principals of an access control list cannot be read", "error", err, "request", q.requestID())
		}
	}
	class := classOf(r.path.Kind)
	inherited := items.has(r.path.Kind)
	for _, e := range list {
		href := ""
		if e.Principal.Kind == acl.Account || e.Principal.Kind == acl.Group {
			a, ok := accounts[storage.AccountID(e.Principal.ID)]
			if !ok {
				continue
			}
			href = principalPath(&a)
		}
		b.Start(davxml.DACE)
		b.Start(davxml.DPrincipal)
		switch e.Principal.Kind {
		case acl.Account, acl.Group:
			b.Href(href)
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
		}
		b.End()
		b.Start(davxml.DGrant)
		for _, n := range e.Grant.Minimal(class) {
			b.Start(davxml.DPrivilege)
			b.Empty(davxml.Name(n))
			b.End()
		}
		b.End()
		if e.Protected {
			b.Empty(davxml.DProtected)
		}
		if inherited && r.col != nil {
			b.Start(davxml.DInherited)
			b.Href(collectionPath(r.home, r.col.Name))
			b.End()
		}
		b.End()
	}
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
		if e.Deny {
			return precondition(davxml.DGrantOnly, "entries grant; what nobody grants nobody may do")
		}
		ace := acl.ACE{}
		for _, n := range e.Privileges {
			s, ok := acl.LookupFor(acl.Name(n), class)
			if !ok {
				return precondition(davxml.DNotSupportedPrivilege, "no privilege "+n.Local+" here")
			}
			ace.Grant |= s
		}
		p, ok, err := q.aclPrincipal(e.Principal)
		if err != nil {
			return err
		}
		if !ok {
			return precondition(davxml.DRecognizedPrincipal, "there is no such principal")
		}
		if p.Kind == acl.Owner {
			continue // the owner has everything by a protected entry
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
	case errors.Is(err, acl.ErrGrantOnly):
		return precondition(davxml.DGrantOnly, err.Error())
	case err != nil:
		return precondition(davxml.DNotSupportedPrivilege, err.Error())
	}
	if err := q.updateCollection(col.Name, nil, func(c *storage.Collection) { c.ACL = list }); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// aclPrincipal finds whom an entry is about.
func (q *request) aclPrincipal(p davxml.ACEPrincipal) (acl.Principal, bool, error) {
	switch p.Kind {
	case davxml.PrincipalAll:
		return acl.Principal{Kind: acl.Authenticated}, true, nil // nobody gets in without signing in
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
