package caldav

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

const mostPrincipals = 500 // answers of one search

// searchable are the properties that a principal search looks into
// (RFC 3744 §9.5).
var searchable = []struct {
	name davxml.Name
	text string
}{
	{davxml.DDisplayName, "Display name"},
	{davxml.CCalendarUserAddressSet, "Calendar address"},
	{davxml.CSEmailAddressSet, "E-mail address"},
	{davxml.CCalendarUserType, "Kind of calendar user"},
	{davxml.CSFirstName, "First name"},
	{davxml.CSLastName, "Last name"},
	{davxml.CCalendarHomeSet, "Calendar home"},
}

// valuesOf are an account's values of a searchable property.
func valuesOf(a *storage.Account, n davxml.Name) []string {
	switch n {
	case davxml.DDisplayName:
		return []string{a.DisplayName, a.Handle}
	case davxml.CSFirstName:
		return []string{firstName(a)}
	case davxml.CSLastName:
		return []string{lastName(a)}
	case davxml.CCalendarUserAddressSet:
		var out []string
		for _, x := range scheduling.AddressesOf(*a) {
			out = append(out, string(x))
		}
		return out
	case davxml.CSEmailAddressSet:
		return a.Emails
	case davxml.CCalendarUserType:
		return []string{userType(a.Kind)}
	case davxml.CCalendarHomeSet:
		return []string{homePath(a)}
	}
	return nil
}

// firstName and lastName are what Apple's programs show of a person: the last word of
// the name, and what stands before it. Rooms and groups have none.
func firstName(a *storage.Account) string {
	words := strings.Fields(a.DisplayName)
	if a.Kind != storage.KindUser || len(words) == 0 {
		return ""
	}
	return strings.Join(words[:max(1, len(words)-1)], " ")
}

func lastName(a *storage.Account) string {
	words := strings.Fields(a.DisplayName)
	if a.Kind != storage.KindUser || len(words) < 2 {
		return ""
	}
	return words[len(words)-1]
}

func matches(value, want, how string, exact bool) bool {
	if !exact {
		value, want = strings.ToLower(value), strings.ToLower(want)
	}
	switch how {
	case davxml.MatchEquals:
		return value == want
	case davxml.MatchStartsWith:
		return strings.HasPrefix(value, want)
	case davxml.MatchEndsWith:
		return strings.HasSuffix(value, want)
	}
	return strings.Contains(value, want)
}

// principalPropertySearch answers the report of RFC 3744 §9.4.
func (q *request) principalPropertySearch(rep *davxml.PrincipalPropertySearch) error {
	accept := func(a *storage.Account) bool {
		if rep.Type != "" && !strings.EqualFold(rep.Type, userType(a.Kind)) {
			return false
		}
		if rep.Beside && slices.Contains(rep.Props, davxml.CCalendarHomeSet) && a.Kind == storage.KindGroup {
			return false // has no calendars
		}
		for _, s := range rep.Searches {
			hit := len(s.Props) > 0
			for _, n := range s.Props {
				if !slices.ContainsFunc(valuesOf(a, n), func(v string) bool { return matches(v, s.Match, s.MatchType, s.CaseSensitive) }) {
					hit = false
				}
			}
			if hit && rep.AnyOf {
				return true
			}
			if !hit && !rep.AnyOf {
				return false
			}
		}
		return !rep.AnyOf || len(rep.Searches) == 0
	}
	folder := ""
	if !rep.Everywhere {
		switch q.path.Kind {
		case KindPrincipalFolder:
			folder = q.path.Folder
		case KindPrincipals, KindRoot, KindSite:
		default: // RFC 3744 §9.4: only below the request's resource, where no principals are
			return q.end(q.multistatus())
		}
	}
	return q.searchPrincipals(accept, folder, rep.Limit, &rep.PropSpec)
}

// principalSearch answers calendarserver-principal-search: every token begins a
// word of the name or address.
func (q *request) principalSearch(rep *davxml.CalendarServerPrincipalSearch) error {
	accept := func(a *storage.Account) bool {
		switch rep.Context {
		case "location":
			if a.Kind != storage.KindRoom {
				return false
			}
		case "resource":
			if a.Kind != storage.KindResource {
				return false
			}
		case "user", "attendee":
			if rep.Context == "user" && a.Kind != storage.KindUser {
				return false
			}
		case "group":
			if a.Kind != storage.KindGroup {
				return false
			}
		}
		words := append(strings.Fields(strings.ToLower(a.DisplayName)), a.Handle)
		for _, e := range a.Emails {
			words = append(words, strings.ToLower(e))
		}
		for _, t := range rep.Tokens {
			t = strings.ToLower(t)
			if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, t) }) {
				return false
			}
		}
		return len(rep.Tokens) > 0
	}
	return q.searchPrincipals(accept, "", rep.Limit, &rep.PropSpec)
}

func (q *request) searchPrincipals(accept func(*storage.Account) bool, folder string, limit int, spec *davxml.PropSpec) error {
	if limit <= 0 || limit > mostPrincipals {
		limit = mostPrincipals
	}
	if err := q.search(1); err != nil {
		return err
	}
	m := q.multistatus()
	page := storage.Page{Limit: 500}
	n := 0
	for {
		list, err := q.h.db.ListAccounts(q.ctx, page)
		if err != nil {
			return q.abort(m, err)
		}
		for i := range list {
			a := &list[i]
			if a.Disabled || !q.seen(a) || folder != "" && folderOf(a.Kind) != folder || !accept(a) {
				continue
			}
			if n == limit {
				m.Status(q.path.String(), http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
				return q.end(m)
			}
			n++
			q.respond(m, q.principal(a), spec)
		}
		if len(list) < page.Limit {
			return q.end(m)
		}
		page.After = list[len(list)-1].Handle
	}
}

func (q *request) principal(a *storage.Account) *resource {
	return &resource{path: Path{Kind: KindPrincipal, Folder: folderOf(a.Kind), Handle: a.Handle}, home: a, privs: q.principalPrivileges(a)}
}

// principalSearchPropertySet answers the report of RFC 3744 §9.5.
func (q *request) principalSearchPropertySet() error {
	doc, err := davxml.Document(davxml.DPrincipalSearchPropertySet, func(b *davxml.Builder) {
		for _, s := range searchable {
			b.Start(davxml.DPrincipalSearchProperty)
			b.Start(davxml.DProp)
			b.Empty(s.name)
			b.End()
			b.Start(davxml.DDescription)
			b.Text(s.text)
			b.End()
			b.End()
		}
	})
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	q.w.WriteHeader(http.StatusOK)
	_, err = q.w.Write(doc)
	return ignoreWrite(err)
}

// principalMatch answers the report of RFC 3744 §9.3.
func (q *request) principalMatch(rep *davxml.PrincipalMatch) error {
	m := q.multistatus()
	switch {
	case rep.Self:
		own, err := q.selfPrincipals()
		if err != nil {
			return q.abort(m, err)
		}
		for _, r := range own {
			if strings.HasPrefix(r.href(), q.path.String()) || q.path.Kind == KindSite {
				q.respond(m, r, &rep.PropSpec)
			}
		}
	case q.found.Home != nil && q.path.Kind != KindPrincipal && q.path.Kind != KindProxy:
		if err := q.matchMembers(m, rep); err != nil {
			return q.abort(m, err)
		}
	case rep.Property == davxml.DOwner && q.path.Kind == KindCalendars:
		q.respond(m, &resource{path: Path{Kind: KindHome, Handle: q.user.Handle}, home: q.user, privs: acl.All}, &rep.PropSpec)
	case rep.Property == davxml.DPrincipalURL:
		r := q.principal(q.user)
		if strings.HasPrefix(r.href(), q.path.String()) {
			q.respond(m, r, &rep.PropSpec)
		}
	}
	return q.end(m)
}

// matchMembers reports the members of a home or collection whose property names
// the user or one of his groups.
func (q *request) matchMembers(m *davxml.Multistatus, rep *davxml.PrincipalMatch) error {
	me := map[string]bool{}
	own, err := q.selfPrincipals()
	if err != nil {
		return err
	}
	for _, r := range own {
		me[r.href()] = true
	}
	list, err := q.expand(q.here(), 1)
	if err != nil {
		return err
	}
	for _, r := range list[1:] {
		hrefs, _, err := q.hrefsIn(r, rep.Property)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(hrefs, func(h string) bool {
			p, ok := parseHref(h, q.sameHost)
			return ok && me[p.String()]
		}) {
			q.respond(m, r, &rep.PropSpec)
		}
	}
	if rep.Property != davxml.DOwner || q.found.Home.ID != q.user.ID || !collections.has(q.path.Kind) {
		return nil
	}
	for o, err := range q.members(&rep.PropSpec) {
		if err != nil {
			return err
		}
		q.respond(m, q.member(o), &rep.PropSpec)
	}
	return nil
}

// aclPrincipalPropSet answers the report of RFC 3744 §9.2: the principals that
// the access control list names by their address, and its owner.
func (q *request) aclPrincipalPropSet(rep *davxml.ACLPrincipalPropSet) error {
	if !q.privs.Has(acl.ReadACL) {
		return q.forbidden(acl.ReadACL)
	}
	lists, err := q.lists(q.here())
	if err != nil {
		return err
	}
	m := q.multistatus()
	done := map[string]bool{}
	for _, e := range lists.entries {
		var r *resource
		switch e.Principal.Kind {
		case acl.Owner:
			r = q.principal(q.found.Home)
		case acl.ProxyRead, acl.ProxyWrite:
			mode := acl.ReadProxy
			if e.Principal.Kind == acl.ProxyWrite {
				mode = acl.WriteProxy
			}
			a := q.found.Home
			r = &resource{path: Path{Kind: KindProxy, Folder: folderOf(a.Kind), Handle: a.Handle, Proxy: proxyName(mode)}, home: a, privs: q.principalPrivileges(a)}
		case acl.Account, acl.Group:
			a, ok := lists.accounts[storage.AccountID(e.Principal.ID)]
			if !ok {
				continue
			}
			r = q.principal(&a)
		default:
			continue
		}
		if !done[r.href()] {
			done[r.href()] = true
			q.respond(m, r, &rep.PropSpec)
		}
	}
	return q.end(m)
}
