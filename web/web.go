package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Authenticator verifies a password against the account found for login (nil
// when there is none). Config.Refusals tells its refusals from faults.
type Authenticator interface {
	Check(ctx context.Context, account *storage.Account, login, password string, remote netip.Addr) error
}

// Refusals of an Authenticator, matched with errors.Is.
type Refusals struct{ Denied, Slow error }

// Config is what the pages need to know. Secret, Auth, Hash and NewAppPassword
// are required.
type Config struct {
	Secret         []byte // of the installation, at least 32 octets; signs sessions
	Auth           Authenticator
	Refusals       Refusals
	Hash           func(password string) (string, error)
	NewAppPassword func() (password, hash string, err error)
	ExternalURL    func(*http.Request) string     // scheme://host without a final slash
	RemoteAddr     func(*http.Request) netip.Addr // who asks, behind trusted proxies
	RequestID      func(context.Context) string   // "" when there is none
	// DNSHints are, for administrators, the records that are missing in the DNS. An
	// error says that it could not be asked for all.
	DNSHints func(context.Context) ([]string, error)
	Limits   calendar.Limits  // of stored objects that are parsed
	Now      func() time.Time // time.Now
	Log      *slog.Logger     // slog.Default()
}

// site is the handler with what it needs.
type site struct {
	db    *storage.DB
	sched *scheduling.Service
	cfg   Config
	pages pages
	key   []byte // derived from Config.Secret for sessions alone
}

// New returns the handler of everything under / that no other handler serves.
func New(db *storage.DB, sched *scheduling.Service, cfg Config) (http.Handler, error) {
	if len(cfg.Secret) < 32 {
		return nil, errors.New("web: the session secret needs at least 32 octets")
	}
	if cfg.Auth == nil || cfg.Hash == nil || cfg.NewAppPassword == nil {
		return nil, errors.New("web: Auth, Hash and NewAppPassword are required")
	}
	if cfg.ExternalURL == nil {
		cfg.ExternalURL = func(r *http.Request) string {
			scheme := "http://"
			if r.TLS != nil {
				scheme = "https://"
			}
			return scheme + r.Host
		}
	}
	if cfg.RemoteAddr == nil {
		cfg.RemoteAddr = func(r *http.Request) netip.Addr {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return a.Addr().Unmap()
		}
	}
	if cfg.RequestID == nil {
		cfg.RequestID = func(context.Context) string { return "" }
	}
	if cfg.DNSHints == nil {
		cfg.DNSHints = func(context.Context) ([]string, error) { return nil, nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p, err := loadPages()
	if err != nil {
		return nil, err
	}
	s := &site{db: db, sched: sched, cfg: cfg, pages: p, key: sessionKey(cfg.Secret)}
	return s.protect(s.routes()), nil
}

// access says who may see a page.
type access uint8

const (
	anybody access = iota
	signedIn
	admins
)

// page is a handler of one request. An error becomes an error page.
type page func(q *request) error

// request is one request on its way through the pages.
type request struct {
	*http.Request
	s     *site
	w     http.ResponseWriter
	ctx   context.Context
	user  *storage.Account // nil: nobody is signed in
	nonce string           // of the style elements of this answer
}

func (s *site) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, who access, p page) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.run(w, r, who, p) })
	}
	on("GET /{$}", anybody, (*request).home)
	on("POST /sign-in", anybody, (*request).signIn)
	on("POST /sign-out", anybody, (*request).signOut)
	on("GET /connect", anybody, (*request).connect)
	on("GET /apple.mobileconfig", signedIn, (*request).appleProfile)

	on("GET /event/{calendar}/{name}", signedIn, (*request).event)
	on("POST /event/{calendar}/{name}", signedIn, (*request).answerEvent)
	on("GET /invitations", signedIn, (*request).invitations)
	on("POST /invitations/news/{name}", signedIn, (*request).decideNews)
	on("GET /held", signedIn, (*request).held)
	on("POST /held/{id}", signedIn, (*request).decideHeld)
	on("GET /held/{id}/file", signedIn, (*request).heldFile)
	on("POST /held/unblock", signedIn, (*request).unblock)
	on("GET /api/held", signedIn, (*request).heldJSON)
	on("POST /api/held/{id}", signedIn, (*request).decideJSON)

	on("GET /api/deliveries", signedIn, (*request).deliveriesJSON)
	on("GET /api/admin/deliveries", admins, (*request).adminDeliveriesJSON)

	on("GET /rsvp/{token}", anybody, (*request).rsvp)
	on("POST /rsvp/{token}", anybody, (*request).answerRSVP)

	on("GET /settings", signedIn, (*request).settings)
	on("POST /settings/profile", signedIn, (*request).saveProfile)
	on("POST /settings/password", signedIn, (*request).changePassword)
	on("POST /settings/app-passwords", signedIn, (*request).addAppPassword)
	on("POST /settings/app-passwords/{id}/revoke", signedIn, (*request).revokeAppPassword)

	on("GET /admin", admins, (*request).adminOverview)
	on("GET /admin/accounts", admins, (*request).adminAccounts)
	on("GET /admin/queue", admins, (*request).adminQueue)
	on("POST /admin/queue/{account}/{id}", admins, (*request).adminDelivery)

	mux.HandleFunc("GET /assets/{version}/{name}", s.asset)
	on("/", anybody, func(*request) error { return errNoPage })
	return mux
}

// maxForm bounds the body of a form.
const maxForm = 64 << 10

// run serves one page: the account is read anew on each request, so that a
// changed password or a disabled account ends its sessions at once.
func (s *site) run(w http.ResponseWriter, r *http.Request, who access, p page) {
	q := &request{Request: r, s: s, w: w, ctx: r.Context(), nonce: newNonce()}
	q.headers()
	err := q.identify()
	switch {
	case err != nil:
	case who != anybody && q.user == nil:
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && !q.program() {
			q.redirect("/?next=" + url.QueryEscape(r.URL.RequestURI()))
			return
		}
		err = errSignedOut
	case who == admins && q.user.Rights&storage.RightAdmin == 0:
		err = errNoPage // whether there is an administration is nobody's business
	default:
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err = r.ParseForm(); err != nil {
				err = errBadForm
				break
			}
		}
		err = p(q)
	}
	if err != nil {
		q.fail(err)
	}
}

// protect refuses what another site makes a browser send (A19, A30): requests
// that are not safe must come from our own pages.
func (s *site) protect(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, rsvpPrefix) {
			// Its secret is in the address and not in a cookie, so another site
			// has nothing to lend; with no-referrer its forms have no origin.
			next.ServeHTTP(w, r)
			return
		}
		seen := *r
		if u, err := url.Parse(s.cfg.ExternalURL(r)); err == nil && u.Host != "" {
			seen.Host = u.Host // what the browser calls us, also behind a proxy
		}
		if err := cross.Check(&seen); err != nil {
			q := &request{Request: r, s: s, w: w, ctx: r.Context(), nonce: newNonce()}
			q.headers()
			q.fail(errForeign)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// headers sets what every answer carries.
func (q *request) headers() {
	h := q.w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'nonce-"+q.nonce+"'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// With no-referrer a browser sends "Origin: null" with forms, and over plain
	// HTTP no Sec-Fetch-Site either: our own forms would look foreign there.
	h.Set("Referrer-Policy", "same-origin")
	if q.secure() {
		h.Set("Referrer-Policy", "no-referrer")
	}
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// external is the address of this server as people type it.
func (q *request) external() string { return strings.TrimSuffix(q.s.cfg.ExternalURL(q.Request), "/") }

// redirect sends the browser to a path of ours.
func (q *request) redirect(path string) {
	q.w.Header().Set("Location", path)
	q.w.WriteHeader(http.StatusSeeOther)
}

// here makes a path of ours from what a form or a link says, "/" from anything
// else: a redirect never leads to another site.
func here(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// actor is the signed-in person acting on the own calendars.
func (q *request) actor() scheduling.Actor {
	return scheduling.Actor{Account: *q.user, By: *q.user}
}

func (q *request) now() time.Time    { return q.s.cfg.Now() }
func (q *request) requestID() string { return q.s.cfg.RequestID(q.ctx) }
