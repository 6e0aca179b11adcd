package caldav

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/storage"
)

// A request may say on which state of things it depends. If-Match and
// If-None-Match of an object that is stored or deleted are tested by the
// transaction that does it; everything else is tested here, before the method
// is served. An entity tag that the If header had right goes along with the
// transaction, so that of two programs that saw the same state one wins.

// mostTagged is how many other resources one If header may speak of: each is
// read from the database.
const mostTagged = 8

// conditional tells whether the request has conditions that are tested here.
func conditional(h http.Header) bool { return h["If"] != nil || h["If-Unmodified-Since"] != nil }

// testsTags tells whether a method tests If-Match and If-None-Match itself, or
// does not depend on them.
func testsTags(k Kind, method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, "PROPFIND", "REPORT":
		return true
	case http.MethodPut, http.MethodDelete:
		return items.has(k)
	}
	return false
}

// state is what conditions are compared with; of what the user may not see it
// is that of nothing.
type state struct {
	exists   bool
	etag     string // without quotes
	token    string // DAV:sync-token of a collection
	modified int64  // unix µs; 0: unknown
}

func (q *request) state() (state, error) {
	r := q.here()
	if q.gone || q.missing() || !looks(q.path.Kind, q.privs) || r.obj != nil && r.view == viewNone {
		return state{}, nil
	}
	s := state{exists: true}
	switch {
	case r.obj != nil:
		s.modified = r.obj.Modified
	case q.path.Kind == KindHome:
		all, err := q.h.db.Contents(q.ctx, q.found.Home.ID)
		if err != nil {
			return s, err
		}
		r.sister = all.Collections
		s.token = tokenOf(q, r)
	case r.col != nil && collected.has(q.path.Kind):
		s.token, s.modified = tokenOf(q, r), r.col.Modified
	default:
		return s, nil // no entity tag
	}
	s.etag = strings.Trim(etagOf(q, r), `"`)
	return s, nil
}

// conditions tests them.
func (q *request) conditions() error {
	h := q.r.Header
	match, none := etags(h["If-Match"]), weakEtags(h["If-None-Match"])
	if testsTags(q.path.Kind, q.r.Method) {
		match, none = nil, nil
	}
	if !conditional(h) && match == nil && none == nil {
		return nil
	}
	own, err := q.state()
	if err != nil {
		return err
	}
	fail := func(name string) error {
		return &httpError{status: http.StatusPreconditionFailed, msg: name + ": the resource has changed since it was read; read it again"}
	}
	has := func(tags []string) bool {
		return own.exists && (slices.Contains(tags, "*") || own.etag != "" && slices.Contains(tags, own.etag))
	}
	switch {
	case match != nil && !has(match):
		return fail("If-Match")
	case none != nil && has(none):
		return fail("If-None-Match")
	}
	// RFC 9110 §13.1.4: not beside If-Match, and not when it is no date.
	if since, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && h["If-Match"] == nil && q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		if own.modified != 0 && time.UnixMicro(own.modified).Truncate(time.Second).After(since) {
			return fail("If-Unmodified-Since")
		}
	}
	if h["If"] == nil {
		return nil
	}
	lists, ok := parseIf(strings.Join(h["If"], " "))
	if !ok {
		return badRequest("the If header is not as RFC 4918 section 10.4.2 has it")
	}
	states := map[string]state{"": own}
	for _, l := range lists {
		s, read := states[l.on]
		if !read {
			if len(states) > mostTagged {
				return badRequest("the If header speaks of too many resources")
			}
			if s, err = q.stateAt(l.on, own); err != nil {
				return err
			}
			states[l.on] = s
		}
		if l.holds(s) {
			if tag := l.tag(); tag != "" && s.etag == own.etag {
				q.matched = tag
			}
			return nil
		}
	}
	return fail("If")
}

// stateAt is the state of a resource that an If header names: of the request's
// own, of another one of this server, or of nothing.
func (q *request) stateAt(href string, own state) (state, error) {
	p, ok := parseHref(href, q.sameHost)
	if !ok {
		return state{}, nil
	}
	if p.Handle == q.path.Handle && p.String() == q.path.String() {
		return own, nil
	}
	f, err := q.h.db.Find(q.ctx, storage.Query{Login: q.user.Handle, Home: p.Handle, Collection: p.Collection, Object: p.Object})
	if err != nil {
		return state{}, err
	}
	other := &request{h: q.h, w: q.w, r: q.r, ctx: q.ctx, user: q.user, path: p, found: f}
	if other.resolve() != nil {
		return state{}, nil
	}
	return other.state()
}

// selected tests the conditions of a GET or HEAD (RFC 9110 §13.2.2) against what it is
// about to send; tag is without quotes, modified in unix µs, 0 where it does not tell
// of every change. False: 304 has been answered.
func (q *request) selected(tag string, modified int64) (bool, error) {
	h := q.r.Header
	is := func(tags []string) bool { return slices.Contains(tags, "*") || slices.Contains(tags, tag) }
	newer := func(name string) (newer, told bool) {
		t, err := http.ParseTime(h.Get(name))
		return time.UnixMicro(modified).Truncate(time.Second).After(t), err == nil && modified != 0
	}
	failed := h["If-Match"] != nil && !is(etags(h["If-Match"]))
	if h["If-Match"] == nil {
		after, told := newer("If-Unmodified-Since")
		failed = told && after
	}
	if failed {
		return false, &httpError{status: http.StatusPreconditionFailed, msg: "the resource has changed since it was read; read it again"}
	}
	same := h["If-None-Match"] != nil && is(weakEtags(h["If-None-Match"]))
	if h["If-None-Match"] == nil {
		after, told := newer("If-Modified-Since")
		same = told && !after
	}
	if !same {
		return true, nil
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Last-Modified"} {
		q.w.Header().Del(name)
	}
	q.w.WriteHeader(http.StatusNotModified)
	return false, nil
}

// entityTags are the conditions that the transaction tests.
func (q *request) entityTags() (match, none []string) {
	match, none = etags(q.r.Header["If-Match"]), weakEtags(q.r.Header["If-None-Match"])
	if q.matched != "" && (match == nil || slices.Contains(match, "*") || slices.Contains(match, q.matched)) {
		match = []string{q.matched}
	}
	return match, none
}

// ifList is one list of an If header: all its conditions hold, or it does not.
type ifList struct {
	on  string // href; "" is the request's own
	all []ifCondition
}

type ifCondition struct {
	not         bool
	etag, token string // one of them
}

func (l *ifList) holds(s state) bool {
	for _, c := range l.all {
		met := c.etag != "" && c.etag == s.etag || c.token != "" && c.token == s.token
		if met == c.not {
			return false
		}
	}
	return true
}

// tag is the entity tag that a list that holds is about.
func (l *ifList) tag() string {
	for _, c := range l.all {
		if !c.not && c.etag != "" {
			return c.etag
		}
	}
	return ""
}

// parseIf reads an If header (RFC 4918 §10.4.2).
func parseIf(s string) (lists []ifList, ok bool) {
	space := func() { s = strings.TrimLeft(s, " \t") }
	between := func(end string) (string, bool) { // what s begins with, without its first character
		in, rest, found := strings.Cut(s[1:], end)
		s = rest
		return in, found && in != ""
	}
	on, tagged := "", false
	for space(); s != ""; space() {
		if s[0] == '<' {
			if len(lists) > 0 && !tagged {
				return nil, false // with tags or without
			}
			if on, ok = between(">"); !ok {
				return nil, false
			}
			tagged = true
			space()
		}
		if !strings.HasPrefix(s, "(") {
			return nil, false
		}
		s = s[1:]
		l := ifList{on: on}
		for space(); !strings.HasPrefix(s, ")"); space() {
			var c ifCondition
			if len(s) > 3 && strings.EqualFold(s[:3], "Not") {
				c.not, s = true, s[3:]
				space()
			}
			switch {
			case strings.HasPrefix(s, "<"):
				c.token, ok = between(">")
			case strings.HasPrefix(s, `["`):
				s = s[1:]
				c.etag, ok = between(`"]`)
			case strings.HasPrefix(s, `[W/"`): // a weak one is equal to none
				c.etag, ok = between(`"]`)
			default:
				ok = false
			}
			if !ok {
				return nil, false
			}
			l.all = append(l.all, c)
		}
		if s = s[1:]; l.all == nil {
			return nil, false
		}
		lists = append(lists, l)
	}
	return lists, lists != nil
}
