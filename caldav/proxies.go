package caldav

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// The principals of delegation below each principal with calendars: their members
// read, or act for, the principal (calendarserver's calendar-proxy).
const (
	proxyRead  = "calendar-proxy-read"
	proxyWrite = "calendar-proxy-write"
)

var proxyNames = []string{proxyRead, proxyWrite}

func proxyMode(name string) acl.Proxy {
	switch name {
	case proxyRead:
		return acl.ReadProxy
	case proxyWrite:
		return acl.WriteProxy
	}
	return acl.NoProxy
}

func proxyName(m acl.Proxy) string {
	if m == acl.WriteProxy {
		return proxyWrite
	}
	return proxyRead
}

func proxyPath(a *storage.Account, m acl.Proxy) string {
	return principalPath(a) + proxyName(m) + "/"
}

// readError notes that a value could not be read; it is then answered as empty.
func (q *request) readError(what string, err error) {
	if err != nil && q.ctx.Err() == nil {
		q.h.cfg.Log.Error(what+" cannot be read", "error", err, "request", q.requestID())
	}
}

// proxyMembers are the direct members of a proxy principal.
func proxyMembers(q *request, r *resource) (out []string) {
	list, err := q.h.db.Delegates(q.ctx, r.home.ID)
	q.readError("delegates", err)
	for i := range list {
		if list[i].Mode == proxyMode(r.path.Proxy) {
			out = append(out, principalPath(&list[i].Account))
		}
	}
	return out
}

// proxyMemberships are the proxy principals that a principal is a member of.
func proxyMemberships(q *request, r *resource) (out []string) {
	list, err := q.h.db.DelegatorsOf(q.ctx, r.home.ID)
	q.readError("delegators", err)
	for i := range list {
		out = append(out, proxyPath(&list[i].Account, list[i].Mode))
	}
	return out
}

// proxyFor are the principals that one acts for in a mode, itself or by a group.
func proxyFor(m acl.Proxy) func(q *request, r *resource) []string {
	return func(q *request, r *resource) (out []string) {
		list, err := q.h.db.AllDelegatorsOf(q.ctx, r.home.ID)
		q.readError("delegators", err)
		for i := range list {
			if list[i].Mode == m {
				out = append(out, principalPath(&list[i].Account))
			}
		}
		return out
	}
}

// planDelegates is a PROPPATCH of DAV:group-member-set on a proxy principal: each
// href is a principal of this server (RFC 3744 §4.3).
func (q *request) planDelegates(ch *change, op davxml.PropOp) failure {
	bad := failure{http.StatusForbidden, davxml.DRecognizedPrincipal, "each member is the principal of somebody else on this server"}
	members := []storage.AccountID{}
	if op.Value != nil {
		hrefs := op.Value.Hrefs()
		if len(hrefs) > storage.MaxDelegates {
			return failure{http.StatusInsufficientStorage, davxml.Name{}, "too many members"}
		}
		var handles []string
		for _, h := range hrefs {
			p, ok := parseHref(h, q.sameHost)
			if !ok || p.Kind != KindPrincipal {
				return bad
			}
			handles = append(handles, p.Handle)
		}
		found, err := q.h.db.AccountsByHandle(q.ctx, handles)
		if err != nil {
			q.readError("members", err)
			return failure{http.StatusInternalServerError, davxml.Name{}, ""}
		}
		for i, h := range hrefs {
			p, _ := parseHref(h, q.sameHost)
			a, ok := found[handles[i]]
			if !ok || folderOf(a.Kind) != p.Folder || a.ID == q.found.Home.ID || !q.seen(&a) {
				return bad
			}
			members = append(members, a.ID)
		}
	}
	ch.delegates = &members
	return failure{}
}

// setDelegates stores the members of a proxy principal, and who changed them.
func (q *request) setDelegates(members []storage.AccountID) error {
	err := q.h.db.Tx(q.ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := tx.SetDelegates(ctx, q.found.Home.ID, proxyMode(q.path.Proxy), members); err != nil {
			return err
		}
		return tx.Audit(ctx, q.user.Handle, "delegates", q.found.Home.Handle, q.path.Proxy+": "+itoa(len(members)))
	})
	if errors.Is(err, storage.ErrInvalid) { // somebody left in between
		return precondition(davxml.DRecognizedPrincipal, "a member does not exist")
	}
	return err
}

// selfPrincipals are the principals that the user is: he himself, his groups, and
// the proxy principals that these are members of (RFC 3744 §9.3).
func (q *request) selfPrincipals() ([]*resource, error) {
	out := []*resource{q.principal(q.user)}
	groups, err := q.groupsOf(q.user.ID)
	if err != nil {
		return nil, err
	}
	for i := range groups {
		out = append(out, q.principal(&groups[i]))
	}
	bosses, err := q.h.db.AllDelegatorsOf(q.ctx, q.user.ID)
	if err != nil {
		return nil, err
	}
	for i := range bosses {
		a := &bosses[i].Account
		out = append(out, &resource{path: Path{Kind: KindProxy, Folder: folderOf(a.Kind), Handle: a.Handle, Proxy: proxyName(bosses[i].Mode)}, home: a, privs: q.principalPrivileges(a)})
	}
	return slices.Clip(out), nil
}
