package caldav

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// A sync token of a home holds the token of the home itself, which counts
// collections that come, go or change their properties, and the token of each
// collection that the user may read, so that a change of any of them shows
// without a common sequence that all writers would have to share.
const homeTokenPrefix = "urn:kalends:home:"

// homeToken maps homeTokenKey to the collection's token; homeItself is the
// home's. untold stands before a token when a page ended before the change of
// the collection's properties was told.
type homeToken map[string]string

const (
	homeItself = ""
	untold     = "!"
)

func homeTokenKey(c *storage.Collection) string { return itoa(int(c.ID)) + " " + c.Name }

func (t homeToken) String() string {
	b, _ := json.Marshal(t)
	return homeTokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func readHomeToken(s string) (homeToken, bool) {
	text, ok := strings.CutPrefix(s, homeTokenPrefix)
	if !ok {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	var t homeToken
	return t, json.Unmarshal(b, &t) == nil && t[homeItself] != ""
}

// hasToken: a home that is only listed, not asked itself, is read without its
// collections and has no token there.
func hasToken(_ *request, r *resource) bool { return r.path.Kind != KindHome || r.sister != nil }

// tokenOf is DAV:sync-token, and the ctag, which changes when it does.
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
			t[homeTokenKey(c)] = c.Token()
		}
	}
	r.token = t.String()
	return r.token
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
		was, known := old[homeTokenKey(r.col)]
		was, pending := strings.CutPrefix(was, untold)
		if err := s.collection(r, was, known, pending || touched[r.col.Name]); err != nil {
			if errors.Is(err, storage.ErrBadToken) && s.m.Sent() == 0 {
				return err
			}
			return q.abort(s.m, err)
		}
	}
	for key := range old {
		if _, name, ok := strings.Cut(key, " "); ok && !names[name] {
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
	ids := map[string]string{}
	for key := range t {
		if id, name, ok := strings.Cut(key, " "); ok {
			ids[name] = id
		}
	}
	return slices.ContainsFunc(list, func(r *resource) bool {
		id, known := ids[r.col.Name]
		return known && id != itoa(int(r.col.ID))
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
	key := homeTokenKey(r.col)
	if known && !touched && was == r.col.Token() {
		s.next[key] = was
		return nil
	}
	if s.rep.Limit > 0 && s.count >= s.rep.Limit {
		s.truncated = true
		if known {
			s.next[key] = was
			if touched {
				s.next[key] = untold + was
			}
		}
		return nil
	}
	s.count++
	s.q.respond(s.m, r, &s.rep.PropSpec)
	if s.rep.Level != davxml.SyncInfinite {
		s.next[key] = r.col.Token()
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
	s.next[key] = set.Token
	s.truncated = s.truncated || set.Truncated
	return nil
}
