package caldav

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// A sync token of a home holds the token of the home itself, which counts
// collections that come, go or change their properties, and the token of each
// collection that the user may read, so that a change of any of them shows
// without a common sequence that all writers would have to share.
//
//	urn:kalends:home:HOME{/NAME/[!]COLLECTION}
//
// HOME and COLLECTION are the tokens without what they have in common, NAME is
// percent-encoded, and they stand in the order of the names.
const homeTokenPrefix = "urn:kalends:home:"

// homeToken maps the name of a collection to its token; homeItself is the
// home's. untold stands before a token when a page ended before the change of
// the collection's properties was told.
type homeToken map[string]string

const (
	homeItself = ""
	untold     = "!"
)

func (t homeToken) String() string {
	b := make([]byte, 0, len(homeTokenPrefix)+48*len(t))
	b = append(append(b, homeTokenPrefix...), strings.TrimPrefix(t[homeItself], storage.TokenPrefix)...)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if name == homeItself {
			continue
		}
		token, pending := strings.CutPrefix(t[name], untold)
		b = append(append(append(b, '/'), url.PathEscape(name)...), '/')
		if pending {
			b = append(b, untold...)
		}
		b = append(b, strings.TrimPrefix(token, storage.TokenPrefix)...)
	}
	return string(b)
}

func readHomeToken(s string) (homeToken, bool) {
	text, ok := strings.CutPrefix(s, homeTokenPrefix)
	if !ok {
		return nil, false
	}
	parts := strings.Split(text, "/")
	t := homeToken{homeItself: storage.TokenPrefix + parts[0]}
	if !storage.IsToken(t[homeItself]) {
		return nil, false
	}
	for ; len(parts) > 2; parts = parts[2:] {
		name, err := url.PathUnescape(parts[1])
		short, pending := strings.CutPrefix(parts[2], untold)
		token := storage.TokenPrefix + short
		if err != nil || !storage.IsToken(token) {
			return nil, false
		}
		if t[name] = token; pending {
			t[name] = untold + token
		}
	}
	// What is not written as we write it is not ours.
	return t, len(parts) == 1 && t.String() == s
}

// hasToken: a home that is only listed, not asked itself, is read without its
// collections and has no token there.
func hasToken(_ *request, r *resource) bool { return r.path.Kind != KindHome || r.sister != nil }

// tokenOf is DAV:sync-token.
func tokenOf(q *request, r *resource) string {
	if r.token != "" { // asked for by both names
		return r.token
	}
	if r.path.Kind != KindHome {
		r.token = r.col.Token()
		return r.token
	}
	t := homeToken{}
	for i := range r.sister {
		switch c := &r.sister[i]; {
		case c.Kind == storage.CollectionHome:
			t[homeItself] = c.Token()
		case !c.Deleting && looks(kindFor(c), q.privilegesIn(&q.found, c)):
			t[c.Name] = c.Token()
		}
	}
	r.token = t.String()
	return r.token
}

// ctagOf changes when the sync token does, and is it where that is short.
func ctagOf(q *request, r *resource) string {
	token := tokenOf(q, r)
	if r.path.Kind != KindHome {
		return token
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:16])
}

// syncHome answers sync-collection on a home: level 1 lists the home and its
// collections whose properties or content changed, infinite their members as
// well.
func (q *request) syncHome(rep *davxml.SyncCollection) error {
	list, err := q.expand(q.here(), 1)
	if err != nil {
		return err
	}
	if list[0].col == nil {
		return errNotFound
	}
	old := homeToken{}
	touched := map[string]bool{} // names of collections with changed properties
	first := rep.Token == ""
	if !first {
		var ok bool
		if old, ok = readHomeToken(rep.Token); !ok {
			return storage.ErrBadToken
		}
		if old[homeItself] != list[0].col.Token() {
			set, err := q.h.db.HomeChanges(q.ctx, q.found.Home.ID, old[homeItself])
			if err != nil {
				return err
			}
			for _, name := range set.Changed {
				touched[name] = true
			}
		}
	}
	if rep.Level == davxml.SyncInfinite && old.replaced(list[1:]) {
		return storage.ErrBadToken
	}
	s := homeSync{q: q, rep: rep, m: q.multistatus(), next: homeToken{homeItself: list[0].col.Token()}}
	if first || touched[homeItself] {
		s.count++
		q.respond(s.m, list[0], &rep.PropSpec)
	}
	names := map[string]bool{}
	for _, r := range list[1:] {
		if !looks(r.path.Kind, r.privs) {
			continue // to who has seen it before it is gone
		}
		names[r.col.Name] = true
		was, known := old[r.col.Name]
		was, pending := strings.CutPrefix(was, untold)
		if err := s.collection(r, was, known, pending || touched[r.col.Name]); err != nil {
			if errors.Is(err, storage.ErrBadToken) && s.m.Sent() == 0 {
				return err
			}
			return q.abort(s.m, err)
		}
	}
	for name := range old {
		if name != homeItself && !names[name] {
			s.m.Status(collectionPath(q.found.Home, name), http.StatusNotFound, davxml.Name{}, "")
		}
	}
	if s.truncated {
		s.m.Status(q.path.String(), http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
	}
	s.m.SyncToken(s.next.String())
	return q.end(s.m)
}

// replaced tells whether a name that the token knows is now that of another
// collection: which members went with the former one nobody can say any more, and
// who knows them has to begin anew.
func (t homeToken) replaced(list []*resource) bool {
	return slices.ContainsFunc(list, func(r *resource) bool {
		was, known := t[r.col.Name]
		return known && !r.col.Knows(strings.TrimPrefix(was, untold))
	})
}

// homeSync is one answer in the making.
type homeSync struct {
	q         *request
	rep       *davxml.SyncCollection
	m         *davxml.Multistatus
	next      homeToken
	count     int
	truncated bool
}

// collection tells what is new of one collection since its token was.
func (s *homeSync) collection(r *resource, was string, known, touched bool) error {
	name := r.col.Name
	if known && !touched && was == r.col.Token() {
		s.next[name] = was
		return nil
	}
	if s.rep.Limit > 0 && s.count >= s.rep.Limit {
		s.truncated = true
		if known {
			s.next[name] = was
			if touched {
				s.next[name] = untold + was
			}
		}
		return nil
	}
	s.count++
	s.q.respond(s.m, r, &s.rep.PropSpec)
	if s.rep.Level != davxml.SyncInfinite {
		s.next[name] = r.col.Token()
		return nil
	}
	limit := 0
	if s.rep.Limit > 0 {
		limit = max(s.rep.Limit-s.count, 1)
	}
	sub := *s.q
	sub.found.Collection, sub.privs = r.col, r.privs
	set, err := s.q.h.db.Changes(s.q.ctx, r.col.CollectionKey, was, limit)
	if err != nil {
		return err
	}
	if err := sub.writeChanges(s.m, set, &s.rep.PropSpec, was == ""); err != nil {
		return err
	}
	s.count += len(set.Changes)
	s.next[name] = set.Token
	s.truncated = s.truncated || set.Truncated
	return nil
}
