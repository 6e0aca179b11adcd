package caldav

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// A sync token of a home holds the token of each collection in it, so that a
// change of any of them shows without a common sequence that all writers would
// have to share.
const homeTokenPrefix = "urn:kalends:home:"

type homeToken map[string]string // collection id and name -> token

func (q *request) homeToken(cols []storage.Collection) string {
	t := homeToken{}
	for i := range cols {
		if c := &cols[i]; !c.Deleting && c.Kind != storage.CollectionHome {
			t[homeTokenKey(c)] = c.Token()
		}
	}
	b, _ := json.Marshal(t)
	return homeTokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func homeTokenKey(c *storage.Collection) string { return itoa(int(c.ID)) + " " + c.Name }

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
	return t, json.Unmarshal(b, &t) == nil
}

// syncHome answers sync-collection on a home: level 1 lists collections whose
// properties or content changed, infinite their members as well.
func (q *request) syncHome(rep *davxml.SyncCollection) error {
	var old homeToken
	if rep.Token != "" {
		var ok bool
		if old, ok = readHomeToken(rep.Token); !ok {
			return storage.ErrBadToken
		}
	}
	list, err := q.expand(q.here(), 1)
	if err != nil {
		return err
	}
	next := homeToken{}
	m := q.multistatus()
	count, truncated := 0, false
	full := func() bool { return rep.Limit > 0 && count >= rep.Limit }
	seen := map[string]bool{}
	for _, r := range list[1:] {
		if !r.privs.Has(acl.Read) {
			continue
		}
		key := homeTokenKey(r.col)
		seen[key] = true
		was, known := old[key]
		if known && was == r.col.Token() {
			next[key] = was
			continue
		}
		if full() {
			truncated = true
			if known {
				next[key] = was
			}
			continue
		}
		count++
		q.respond(m, r, &rep.PropSpec)
		if rep.Level != davxml.SyncInfinite {
			next[key] = r.col.Token()
			continue
		}
		limit := 0
		if rep.Limit > 0 {
			limit = max(rep.Limit-count, 1)
		}
		sub := *q
		sub.found.Collection = r.col
		set, err := q.h.db.Changes(q.ctx, r.col.CollectionKey, was, limit)
		if errors.Is(err, storage.ErrBadToken) && m.Sent() == 0 {
			return err
		}
		if err != nil {
			return q.abort(m, err)
		}
		if err := sub.writeChanges(m, set, &rep.PropSpec); err != nil {
			return q.abort(m, err)
		}
		count += len(set.Changes)
		next[key] = set.Token
		truncated = truncated || set.Truncated
	}
	for key := range old {
		if !seen[key] {
			_, name, _ := strings.Cut(key, " ")
			taken := false
			for _, r := range list[1:] {
				taken = taken || r.col.Name == name
			}
			if !taken {
				m.Status(collectionPath(q.found.Home, name), http.StatusNotFound, davxml.Name{}, "")
			}
		}
	}
	if truncated {
		m.Status(q.path.String(), http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
	}
	b, _ := json.Marshal(next)
	m.SyncToken(homeTokenPrefix + base64.RawURLEncoding.EncodeToString(b))
	return q.end(m)
}
