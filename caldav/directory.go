package caldav

import (
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// Directory says whom people find and look up (abuse A22). Whoever is hidden from
// somebody is, for him, not there: in searches, in lists, by his address of the
// principal, and as a calendar with nothing open. Rights that were given hold.
type Directory string

// The policies.
const (
	DirectoryAll    Directory = "all"    // everybody on this server
	DirectoryDomain Directory = "domain" // who has an address in one's own mail domains, and who has none
	DirectoryNone   Directory = "none"   // nobody
)

// knows tells whether the owner of what was found is not hidden from the user: by
// the policy, or since one of them acts for the other or they share a group.
func (q *request) knows(f *storage.Found) bool {
	if q.h == nil || q.h.cfg.Directory == DirectoryAll || f.Home == nil {
		return true
	}
	return q.seen(f.Home) || f.Proxy != acl.NoProxy || f.Home.Kind == storage.KindGroup && q.inGroup(f.Home.ID)
}

// open tells whether everybody finds everybody.
func (h *Handler) open() bool { return h.cfg.Directory == DirectoryAll || h.cfg.Directory == "" }

// seen is what the policy alone says of an account.
func (q *request) seen(a *storage.Account) bool {
	if a.ID == q.user.ID || q.user.Rights&(storage.RightReadAll|storage.RightAdmin) != 0 {
		return true
	}
	return q.h.cfg.Directory.shows(a, q.user)
}

// shows tells whether somebody may find an account.
func (d Directory) shows(a, to *storage.Account) bool {
	switch d {
	case DirectoryNone:
		return false
	case DirectoryDomain:
		return sameDomain(a, to)
	}
	return true
}

func sameDomain(a, b *storage.Account) bool {
	if len(a.Emails) == 0 {
		return true // rooms and groups without an address are everybody's
	}
	for _, x := range a.Emails {
		for _, y := range b.Emails {
			if domainOf(x) == domainOf(y) {
				return true
			}
		}
	}
	return false
}

func domainOf(email string) string { return email[strings.LastIndexByte(email, '@')+1:] }
