package caldav

import (
	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// resource is one resource whose properties are wanted.
type resource struct {
	path   Path
	home   *storage.Account    // the account it belongs to; nil above accounts
	col    *storage.Collection // its collection; for a home the home's row
	obj    *storage.Object
	privs  acl.Set
	dead   []storage.Property
	view   view                 // of an object
	sister []storage.Collection // all collections of the home, where a property needs them
	token  string               // see tokenOf
}

func (r *resource) href() string { return r.path.String() }

// here is the resource that the request names.
func (q *request) here() *resource {
	r := &resource{path: q.path, home: q.found.Home, col: q.found.Collection, obj: q.found.Object, privs: q.privs}
	if r.obj != nil {
		r.view = q.views(r.obj.Flags, q.privs)
	}
	return r
}

// expand lists a resource and, at depth 1, its children, in few statements:
// one per level. Objects are not listed here, they stream.
func (q *request) expand(r *resource, depth int) ([]*resource, error) {
	out := []*resource{r}
	switch r.path.Kind {
	case KindHome, KindCalendar, KindInbox, KindOutbox, KindNotification, KindPrincipal, KindProxy, KindObject, KindInboxItem:
	default:
		if depth == 0 {
			return out, nil
		}
	}
	child := func(p Path, home *storage.Account) *resource {
		c := &resource{path: p, home: home, privs: q.privilegesIn(&storage.Found{}, nil)}
		return c
	}
	switch r.path.Kind {
	case KindSite:
		if depth > 0 {
			out = append(out, child(Path{Kind: KindRoot}, nil))
		}
	case KindRoot:
		out = append(out, child(Path{Kind: KindPrincipals}, nil), child(Path{Kind: KindCalendars}, nil))
	case KindPrincipals:
		for _, f := range []string{"groups", "locations", "resources", "users"} {
			out = append(out, child(Path{Kind: KindPrincipalFolder, Folder: f}, nil))
		}
	case KindPrincipalFolder, KindCalendars:
		accounts, err := q.directory(r.path)
		if err != nil {
			return nil, err
		}
		for i := range accounts {
			a := &accounts[i]
			p := Path{Kind: KindPrincipal, Folder: folderOf(a.Kind), Handle: a.Handle}
			c := child(p, a)
			c.privs = q.principalPrivileges(a)
			if r.path.Kind == KindCalendars {
				c.path = Path{Kind: KindHome, Handle: a.Handle}
				c.privs = acl.All // one's own
			}
			out = append(out, c)
		}
	case KindPrincipal:
		if depth > 0 && r.home.Kind != storage.KindGroup {
			for _, name := range proxyNames {
				out = append(out, &resource{path: Path{Kind: KindProxy, Folder: r.path.Folder, Handle: r.home.Handle, Proxy: name}, home: r.home, privs: r.privs})
			}
		}
	case KindHome:
		contents := q.found.Contents
		if contents == nil || r.home.ID != q.found.Home.ID {
			var err error
			if contents, err = q.h.db.Contents(q.ctx, r.home.ID); err != nil {
				return nil, err
			}
		}
		cols, dead := contents.Collections, contents.Properties
		for i := range cols {
			c := &cols[i]
			if c.Kind == storage.CollectionHome {
				r.col = c
				r.privs = q.privilegesIn(&q.found, c)
				r.dead = deadOf(dead, c.CollectionKey, q.user.ID)
			}
		}
		r.sister = cols
		if depth == 0 {
			break
		}
		for i := range cols {
			c := &cols[i]
			if c.Kind == storage.CollectionHome || c.Deleting {
				continue
			}
			k, _ := kindOf(c.Kind)
			out = append(out, &resource{path: Path{Kind: k, Handle: r.home.Handle, Collection: c.Name}, home: r.home, col: c,
				privs: q.privilegesIn(&q.found, c), dead: deadOf(dead, c.CollectionKey, q.user.ID), sister: cols})
		}
	case KindCalendar, KindInbox, KindOutbox, KindNotification, KindObject, KindInboxItem:
		key := storage.PropertyKey{CollectionKey: r.col.CollectionKey}
		if r.obj != nil {
			key.Object = r.obj.Name
		}
		dead, err := q.h.db.Properties(q.ctx, key)
		if err != nil {
			return nil, err
		}
		r.dead = mine(dead, q.user.ID)
	}
	return out, nil
}

// directory lists accounts below a folder, as the directory policy allows.
func (q *request) directory(p Path) ([]storage.Account, error) {
	if p.Kind == KindCalendars { // other homes are not listed: there is nothing to see in most of them
		return []storage.Account{*q.user}, nil
	}
	if err := q.search(1); err != nil {
		return nil, err
	}
	var out []storage.Account
	page := storage.Page{Limit: 500}
	for {
		list, err := q.h.db.ListAccounts(q.ctx, page)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if folderOf(a.Kind) == p.Folder && !a.Disabled && q.seen(&a) {
				out = append(out, a)
			}
		}
		if len(list) < page.Limit {
			return out, nil
		}
		page.After = list[len(list)-1].Handle
	}
}

// deadOf picks the dead properties of one collection that the user sees.
func deadOf(all []storage.Property, key storage.CollectionKey, user storage.AccountID) []storage.Property {
	var own []storage.Property
	for _, p := range all {
		if p.CollectionKey == key && p.Object == "" {
			own = append(own, p)
		}
	}
	return mine(own, user)
}

// mine drops other people's values; a user's own value hides everybody's.
func mine(all []storage.Property, user storage.AccountID) []storage.Property {
	var out []storage.Property
	at := map[davxml.Name]int{}
	for _, p := range all {
		if p.Principal != 0 && p.Principal != user {
			continue
		}
		n := davxml.Name{Space: p.Space, Local: p.Local}
		if i, ok := at[n]; ok {
			if p.Principal == user {
				out[i] = p
			}
			continue
		}
		at[n] = len(out)
		out = append(out, p)
	}
	return out
}
