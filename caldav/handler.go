// Package caldav owns the HTTP side of WebDAV and CalDAV: which path names
// what, which method needs which privilege, properties, reports, and how an
// error of the levels below becomes a status and a precondition element
// (RFC 4918, 3744, 4791, 6578, 6638 and their extensions).
//
// It reads from storage and changes calendar objects only through scheduling.
// It never decides whom a message goes to and never opens a connection. Between
// requests it keeps counts of searches, and answers that each request finds true
// again. Bad input ends in a 4xx with the precondition that it broke, and
// changes nothing.
package caldav

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Authenticator verifies a password against the account that the request's own
// statement found (nil when there is none). ErrDenied and ErrSlow are the
// refusals; anything else is a fault of the server.
type Authenticator interface {
	Check(ctx context.Context, account *storage.Account, login, password string, remote netip.Addr) error
	// Knows tells whether Check has accepted the password for this version of the account.
	Knows(account *storage.Account, password string) bool
}

// Refusals of an Authenticator, to be matched with errors.Is.
type Refusals struct{ Denied, Slow error }

// Config is what the handler needs to know.
type Config struct {
	Realm        string
	MaxBody      int64 // of a calendar object: CALDAV:max-resource-size
	MaxXML       int64 // of other bodies
	MaxInstances int
	MaxAttendees int
	MaxCalendars int       // calendars of a home, the inbox included; 0: no limit
	Quota        int64     // octets of all objects of an account; 0: no limit
	Directory    Directory // whom people find; "": everybody
	ZoneServices []string  // URLs of time zone services (RFC 7808) that programs may use
	Limits       calendar.Limits
	ExternalURL  func(*http.Request) string // scheme://host without a final slash
	RemoteAddr   func(*http.Request) netip.Addr
	RequestID    func(context.Context) string
	Refusals     Refusals
	Push         *Push // nil: no WebDAV-Push
	Now          func() time.Time
	Log          *slog.Logger
}

// Handler serves /dav/ and the discovery requests that clients send to /.
type Handler struct {
	db    *storage.DB
	sched *scheduling.Service
	auth  Authenticator
	cfg   Config
	dav   string // DAV header

	searches pace // looks into the directory
	kept     *keptAnswers

	auditing sync.Mutex
	audited  map[string]time.Time // what was written into the audit trail lately
}

// New returns the handler.
func New(db *storage.DB, sched *scheduling.Service, auth Authenticator, cfg Config) *Handler {
	if cfg.Realm == "" {
		cfg.Realm = "Kalends"
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 10 << 20
	}
	if cfg.MaxXML == 0 {
		cfg.MaxXML = 4 << 20
	}
	if cfg.MaxInstances == 0 {
		cfg.MaxInstances = 4000
	}
	if cfg.MaxAttendees == 0 {
		cfg.MaxAttendees = 2000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.RemoteAddr == nil {
		cfg.RemoteAddr = func(r *http.Request) netip.Addr {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return a.Addr()
		}
	}
	if cfg.RequestID == nil {
		cfg.RequestID = func(context.Context) string { return "" }
	}
	if cfg.Directory == "" {
		cfg.Directory = DirectoryAll
	}
	h := &Handler{db: db, sched: sched, auth: auth, cfg: cfg, dav: davHeader, audited: map[string]time.Time{}, kept: new(keptAnswers)}
	if cfg.Push != nil {
		h.dav += ", webdav-push"
	}
	return h
}

// request is one request on its way through the handler.
type request struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	path   Path
	user   *storage.Account
	found  storage.Found
	privs  acl.Set
	gone   bool // the account of the path does not exist
	memo   *memo
	veiled bool           // there is an object, but not for this user
	zone   *time.Location // of floating times, when a query names one

	zoneType string // the notation that calendar-timezone is wanted in
	matched  string // the entity tag that the If header had right, see conditions
	tracing  *tracing
}

// ServeHTTP finds out what the path names and who asks, in one statement, and
// hands over to the method.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{h: h, w: w, r: r, ctx: r.Context()}
	w.Header().Set("DAV", h.dav)
	if err := q.serve(); err != nil {
		q.fail(err)
	}
}

// davHeader lists what is true of every DAV resource. The old calendar-schedule
// token stands beside the new one for clients that look for it alone.
const davHeader = "1, 3, access-control, calendar-access, calendar-schedule, calendar-auto-schedule, calendar-proxy, extended-mkcol, calendar-no-timezone, calendar-query-extended, calendar-availability, calendarserver-principal-search, calendarserver-home-sync"

func (q *request) serve() error {
	login, password, ok := q.r.BasicAuth()
	if !ok || login == "" {
		return errUnauthorized
	}
	var known bool
	q.path, known = ParsePath(q.r.URL.EscapedPath())
	query := storage.Query{Login: login}
	if known {
		query.Home, query.Collection, query.Object = q.path.Handle, q.path.Collection, q.path.Object
		query.Columns = wanted(q.path, q.r.Method)
		if conditional(q.r.Header) {
			query.Columns &^= storage.ColumnBrief | storage.ColumnPresence
		}
	}
	if known && q.r.Method == http.MethodPut {
		if done, err := q.putSeen(login, password); done {
			return err
		}
	}
	var err error
	if q.found, err = q.h.db.Find(q.ctx, query); err != nil {
		return err
	}
	if err := q.h.auth.Check(q.ctx, q.found.Login, login, password, q.h.cfg.RemoteAddr(q.r)); err != nil {
		switch {
		case errors.Is(err, q.h.cfg.Refusals.Denied):
			return errUnauthorized
		case errors.Is(err, q.h.cfg.Refusals.Slow):
			return &httpError{status: http.StatusTooManyRequests, msg: "Too many wrong passwords. Wait a minute.", header: map[string]string{"Retry-After": "60"}}
		}
		return err
	}
	q.user = q.found.Login
	if !known {
		if q.r.Method == "MKCALENDAR" || q.r.Method == "MKCOL" || q.r.Method == http.MethodPut {
			return q.misplaced()
		}
		return errNotFound
	}
	if err := q.resolve(); err != nil {
		return err
	}
	if q.gone && (q.r.Method == http.MethodGet || q.r.Method == http.MethodHead) && q.h.open() {
		return errNotFound // who is here everybody can find out: the directory lists them
	}
	if q.path.NoSlash && (q.r.Method == http.MethodGet || q.r.Method == http.MethodHead) && q.path.Kind != KindUnmapped && q.path.Kind != KindBusy {
		http.Redirect(q.w, q.r, q.path.String(), http.StatusMovedPermanently)
		return nil
	}
	if q.path.NoSlash && q.path.Kind.collection() && q.path.Kind != KindUnmapped {
		q.w.Header().Set("Content-Location", q.path.String())
	}
	m, ok := methods[q.path.Kind][q.r.Method]
	if !ok {
		return q.notAllowed()
	}
	if e := q.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") { // RFC 9110 §8.4, §12.5.3; abuse A15
		return &httpError{status: http.StatusUnsupportedMediaType, msg: "Bodies are read as they are; send this one without Content-Encoding.", header: map[string]string{"Accept-Encoding": "identity"}}
	}
	if q.gone && q.r.Method != http.MethodOptions || q.r.Method == http.MethodPost && q.path.Kind == KindHome && !q.privs.Has(acl.Read) {
		return q.forbidden(acl.Read)
	}
	if m.need != 0 && !q.privsFor(m).Has(m.need) {
		if m.above {
			return forbiddenAt(q.path.above(), m.need)
		}
		return q.forbidden(m.need)
	}
	if m.exists && q.missing() {
		if !looks(q.path.Kind, q.privs) {
			return q.forbidden(acl.Read) // the same as for what is there
		}
		return errNotFound
	}
	if q.user.Rights&storage.RightReadAll != 0 {
		if err := q.audit(); err != nil {
			return err
		}
	}
	if err := q.conditions(); err != nil {
		return err
	}
	return q.quietly(m.serve)
}

// wanted are the columns that the request's own statement loads.
func wanted(p Path, method string) storage.Columns {
	switch {
	case p.Kind == KindHome && (method == "PROPFIND" || method == "REPORT"):
		return storage.ColumnTimezone | storage.ColumnContents
	case p.Object == "" && method != http.MethodGet && method != http.MethodHead:
		return storage.ColumnTimezone
	case p.Object == "":
		return storage.ColumnsMeta
	case method == http.MethodGet:
		return storage.ColumnData | storage.ColumnBrief
	case method == http.MethodHead:
		return storage.ColumnBrief
	case method == http.MethodPut, method == http.MethodDelete:
		return storage.ColumnPresence
	}
	return storage.ColumnTimezone
}

func kindFor(c *storage.Collection) Kind {
	k, _ := kindOf(c.Kind)
	return k
}

func kindOf(k storage.CollectionKind) (collection, item Kind) {
	switch k {
	case storage.CollectionInbox:
		return KindInbox, KindInboxItem
	case storage.CollectionOutbox:
		return KindOutbox, KindObject
	case storage.CollectionNotification:
		return KindNotification, KindObject
	}
	return KindCalendar, KindObject
}

// readXML parses a request body; nil when there is none.
func (q *request) readXML() (*davxml.Node, error) {
	if q.r.Body == nil || q.r.ContentLength == 0 {
		return nil, nil
	}
	return davxml.Parse(http.MaxBytesReader(q.w, q.r.Body, q.h.cfg.MaxXML), davxml.Limits{Bytes: q.h.cfg.MaxXML})
}

// depth reads the Depth header; missing is def (RFC 4918 §10.2).
func (q *request) depth(def int) (int, error) {
	switch v := strings.ToLower(strings.TrimSpace(q.r.Header.Get("Depth"))); v {
	case "":
		return def, nil
	case "0":
		return 0, nil
	case "1", "1,noroot":
		return 1, nil
	case "infinity":
		return infinite, nil
	}
	return 0, badRequest("Depth is 0, 1 or infinity")
}

const infinite = 1 << 20

// prefers reports what the Prefer and Brief headers ask for (RFC 7240, 8144).
func (q *request) prefers(what string) bool {
	if what == "return=minimal" && strings.EqualFold(strings.TrimSpace(q.r.Header.Get("Brief")), "t") {
		return true
	}
	for _, line := range q.r.Header.Values("Prefer") {
		for p := range strings.SplitSeq(line, ",") {
			p, _, _ = strings.Cut(strings.ToLower(p), ";")
			p = strings.Map(func(r rune) rune { // a value may be quoted (RFC 7240 §2)
				if r == ' ' || r == '\t' || r == '"' {
					return -1
				}
				return r
			}, p)
			if p == what || what == "return=minimal" && p == "return-minimal" || what == "return=representation" && p == "return-representation" {
				return true
			}
		}
	}
	return false
}

// multistatus starts a streamed 207.
func (q *request) multistatus() *davxml.Multistatus {
	minimal := q.multistatusHeader()
	return davxml.NewMultistatus(&statusWriter{w: q.w, status: http.StatusMultiStatus, tracing: q.tracing},
		davxml.Options{Minimal: minimal, Whole: q.length})
}

// length says how long an answer is that is written at once: net/http would send
// it in chunks, and a program would have to wait for the last one.
func (q *request) length(octets int) { q.w.Header().Set("Content-Length", itoa(octets)) }

// multistatusHeader sets the header fields of a multistatus and tells whether
// it shall be a minimal one.
func (q *request) multistatusHeader() (minimal bool) {
	h := q.w.Header()
	h.Set("Content-Type", "application/xml; charset=utf-8")
	if minimal = q.prefers("return=minimal"); minimal {
		h.Set("Preference-Applied", "return=minimal")
		h.Add("Vary", "Prefer, Brief")
	}
	return minimal
}

// now is the time, which no kept answer is made of.
func (q *request) now() time.Time {
	if q.tracing != nil {
		q.tracing.timed = true
	}
	return q.h.cfg.Now()
}

// statusWriter sends the status line with the first octets, so that an error
// before them can still become another answer.
type statusWriter struct {
	w       http.ResponseWriter
	status  int
	sent    bool
	tracing *tracing
}

func (s *statusWriter) Write(b []byte) (int, error) {
	if !s.sent {
		s.sent = true
		s.w.WriteHeader(s.status)
	}
	if s.tracing != nil {
		s.tracing.wrote(b)
	}
	return s.w.Write(b)
}

// sameHost accepts absolute URIs that name this server.
func (q *request) sameHost(u *url.URL) bool {
	if strings.EqualFold(u.Host, q.r.Host) {
		return true
	}
	if q.h.cfg.ExternalURL == nil {
		return false
	}
	e, err := url.Parse(q.h.cfg.ExternalURL(q.r))
	return err == nil && strings.EqualFold(e.Host, u.Host)
}

func (q *request) actor() scheduling.Actor {
	return scheduling.Actor{Account: *q.found.Home, By: *q.user}
}

func (q *request) requestID() string { return q.h.cfg.RequestID(q.ctx) }

func (q *request) objectKey() storage.ObjectKey {
	return storage.ObjectKey{CollectionKey: q.found.Collection.CollectionKey, Name: q.path.Object}
}

func quote(tag string) string { return `"` + tag + `"` }

// etags reads an If-Match or If-None-Match list; nil when the header is
// absent. Weak tags never match (RFC 9110 §13.1.1), nor what is no tag, so they are
// kept apart by a quote, which no tag has.
func etags(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	out := []string{}
	for _, line := range values {
		for t := range strings.SplitSeq(line, ",") {
			t = strings.ToValidUTF8(strings.TrimSpace(t), "\ufffd") // no tag of ours, and the database shall not choke on it
			if t == "*" {
				out = append(out, t)
			} else if len(t) >= 2 && t[0] == '"' && t[len(t)-1] == '"' {
				out = append(out, t[1:len(t)-1])
			} else if t != "" {
				out = append(out, `"`+t)
			}
		}
	}
	return out
}

// weakEtags reads an If-None-Match list, which is compared weakly: a tag is equal to
// its weak form (RFC 9110 §13.1.2).
func weakEtags(values []string) []string {
	out := etags(values)
	for i, t := range out {
		if t, ok := strings.CutPrefix(t, `"W/`); ok && len(t) >= 2 && t[0] == '"' && t[len(t)-1] == '"' {
			out[i] = t[1 : len(t)-1]
		}
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
