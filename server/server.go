// Package server wires Kalends together: configuration, database, listeners,
// TLS, authentication, federation, mail, metrics, and an orderly start and
// stop.
//
// It holds no rule of calendaring. It fails at the start, with one line that
// says what to do, rather than run half; when it is told to stop, running
// requests end and nothing acknowledged is lost.
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/gateway"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/push"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/web"
)

// Timeouts of connections (abuse A15): a slow reader or writer holds a
// connection, never the server.
const (
	headerTimeout = 15 * time.Second
	writeTimeout  = 10 * time.Minute // long listings stream
	idleTimeout   = 3 * time.Minute
	maxHeader     = 64 << 10
)

// Run serves until ctx ends. Messages for the person who started it go to out,
// logs to the standard error.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	if os.Getenv("GOGC") == "" {
		// The live heap is a few megabytes; collecting less often costs some tens
		// of megabytes and saves a twelfth of the processor time of a GET.
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		go keepMemoryGoal(ctx)
	}
	log := NewLogger(&cfg, os.Stderr)
	db, err := OpenDatabase(ctx, &cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return fmt.Errorf("the database schema: %w", err)
	}
	if err := Prepare(ctx, db, cfg, out); err != nil {
		return err
	}
	s, err := assemble(ctx, &cfg, db, log)
	if err != nil {
		return err
	}
	return s.serve(ctx, out)
}

// OpenDatabase opens the configured database; for SQLite it makes the folder.
func OpenDatabase(ctx context.Context, cfg *Config, log *slog.Logger) (*storage.DB, error) {
	if path, ok := strings.CutPrefix(cfg.DatabaseURL, "sqlite:"); ok && !strings.HasPrefix(path, ":memory:") {
		if dir := filepath.Dir(path); dir != "." {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, fmt.Errorf("the folder of the database: %w", err)
			}
		}
	}
	db, err := storage.Open(ctx, cfg.DatabaseURL, storage.Options{MaxConns: cfg.MaxConns, Log: log, Keys: sealer{cfg.KeySecret}, SlowStatement: time.Duration(cfg.SlowStmt), RequestID: RequestID})
	if err != nil {
		return nil, fmt.Errorf("the database %s: %w", redactURL(cfg.DatabaseURL), err)
	}
	return db, nil
}

// server is a running installation.
type server struct {
	cfg     *Config
	db      *storage.DB
	log     *slog.Logger
	sched   *scheduling.Service
	fed     *federationParts
	metrics *metrics
	push    *push.Sender // nil when switched off
	node    string
	public  http.Handler
	cert    *certificate
	httpURL string // of the plain listener, once it listens
}

// CalendarLimits are the limits on text that comes from outside.
func CalendarLimits(cfg *Config) calendar.Limits {
	l := calendar.DefaultLimits()
	l.Bytes = int(cfg.MaxBody)
	return l
}

// SchedulingConfig is what the use cases need of the configuration; commands
// that change calendars use it too.
func SchedulingConfig(cfg *Config, log *slog.Logger) scheduling.Config {
	hold := time.Duration(cfg.HoldDelete)
	if hold == 0 {
		hold = -1
	}
	return scheduling.Config{
		Limits:         CalendarLimits(cfg),
		Quota:          cfg.Quota,
		Rules:          calendar.Rules{MaxSize: int(cfg.MaxBody), MaxInstances: cfg.MaxInstances, MaxAttendees: cfg.MaxAttendees, MinDate: caldav.MinDate, MaxDate: caldav.MaxDate},
		Burst:          cfg.EventBurst,
		PerHour:        cfg.PerHour,
		LocalThreshold: cfg.LocalInline, HoldDelete: hold,
		RetryMin: time.Duration(cfg.RetryMin), RetryMax: time.Duration(cfg.RetryMax), RetryExpiry: time.Duration(cfg.RetryExpiry), Lease: time.Duration(cfg.Lease),
		FreeBusyTypes: cfg.FreeBusyType, FreeBusyAlike: cfg.FreeBusyHide,
		Rand: rand.Reader, Log: log,
	}
}

func assemble(ctx context.Context, cfg *Config, db *storage.DB, log *slog.Logger) (*server, error) {
	s := &server{cfg: cfg, db: db, log: log, metrics: newMetrics(db, log)}
	host, _ := os.Hostname()
	s.node = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), newRequestID()[:6])
	sc := SchedulingConfig(cfg, log)
	sc.Node, sc.Observe = s.node, s.metrics.event
	var err error
	if sc.LinkSecret, err = secretOf(ctx, db, "mail.link"); err != nil {
		return nil, err
	}
	s.sched = scheduling.New(db, nil, sc)
	fed, err := newFederation(ctx, s)
	if err != nil {
		return nil, err
	}
	s.fed = fed
	s.sched.SetTransport(fed.transport)
	checker, err := auth.NewChecker(db, time.Now)
	if err != nil {
		return nil, err
	}
	remote := func(r *http.Request) netip.Addr { return info(r.Context()).remote }
	registrations, err := s.newPush(ctx)
	if err != nil {
		return nil, err
	}
	dav := caldav.New(db, s.sched, checker, caldav.Config{
		MaxBody: cfg.MaxBody, MaxInstances: cfg.MaxInstances, MaxAttendees: cfg.MaxAttendees, Limits: sc.Limits,
		Quota: cfg.Quota, MaxCalendars: cfg.MaxCalendars, Directory: caldav.Directory(cfg.Directory), ZoneServices: cfg.ZoneServices,
		ExternalURL: s.externalURL, RemoteAddr: remote, RequestID: RequestID,
		Refusals: caldav.Refusals{Denied: auth.ErrDenied, Slow: auth.ErrSlow}, Push: registrations, Log: log,
	})
	// An app password is for one program; it opens no pages (abuse A23).
	people, err := auth.NewChecker(nil, time.Now)
	if err != nil {
		return nil, err
	}
	secret, err := secretOf(ctx, db, "web.session")
	if err != nil {
		return nil, err
	}
	pages, err := web.New(db, s.sched, web.Config{
		Secret: secret, Auth: people, Hash: auth.Hash, NewAppPassword: auth.NewAppPassword, ExternalURL: s.externalURL, RemoteAddr: remote, RequestID: RequestID,
		Refusals: web.Refusals{Denied: auth.ErrDenied, Slow: auth.ErrSlow}, Now: time.Now, Log: log,
		DNSHints: func(ctx context.Context) ([]string, error) { return DNSHints(ctx, db, cfg, s.fed.out.Resolver) },
	})
	if err != nil {
		return nil, err
	}
	s.public = s.routes(dav, pages)
	if cfg.TLSCert != "" {
		if s.cert, err = loadCertificate(cfg.TLSCert, cfg.TLSKey, log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// secretOf is a random secret of 32 octets that all nodes share.
func secretOf(ctx context.Context, db *storage.DB, name string) ([]byte, error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	text, err := db.SettingOrSet(ctx, "secret."+name, hex.EncodeToString(b[:]))
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(text)
}

// davMethods are the methods that DAV clients send to / while they look for
// their way in.
func isDAV(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return false
	}
	return true
}

// routes decides by the path alone who serves a request. It does not clean
// paths: the DAV side has one parser for them.
func (s *server) routes(dav, pages http.Handler) http.Handler {
	compressed, err := gzhttp.NewWrapper(gzhttp.ContentTypes([]string{"application/xml", "text/xml", "text/html", "text/css", "application/json"}), gzhttp.MinSize(1024))
	if err != nil {
		panic(err) // the options above are constant
	}
	plain := private(dav)
	dav = compressed(plain)
	pages = compressed(private(pages))
	keys := ischedule.KeyHandler{Keys: s.fed.keys}
	inbound, submitted := s.fed.inbound, s.fed.submitted()
	return identify(s.cfg, s.log, s.metrics.request, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case r.Method == http.MethodPost && strings.HasPrefix(p, "/dav/") && s.foreign(r):
			http.Error(w, "Pages of other sites may not change calendars.", http.StatusForbidden)
		case p == "/dav" || strings.HasPrefix(p, "/dav/"):
			switch r.Method {
			case http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodOptions:
				plain.ServeHTTP(w, r)
			case http.MethodGet: // an object's strong ETag names its very octets
				if strings.HasSuffix(p, "/") {
					dav.ServeHTTP(w, r)
				} else {
					plain.ServeHTTP(w, r)
				}
			default:
				dav.ServeHTTP(w, r)
			}
		case p == "/.well-known/caldav" || p == "/.well-known/caldav/":
			// RFC 6764 §5: any method; the target is on the same host.
			http.Redirect(w, r, s.externalURL(r)+"/dav/", http.StatusMovedPermanently)
		case p == "/ischedule" || p == "/.well-known/ischedule":
			// Plain HTTP answers proxies that did the TLS, nobody else.
			if in := info(r.Context()); r.TLS == nil && !in.proxy {
				http.Error(w, "iSchedule is served over https only.", http.StatusForbidden)
				return
			}
			inbound.ServeHTTP(w, r)
		case strings.HasPrefix(p, gateway.Path):
			submitted.ServeHTTP(w, r)
		case strings.HasPrefix(p, ischedule.KeyPath):
			keys.ServeHTTP(w, r)
		case p == "/" && isDAV(r.Method):
			dav.ServeHTTP(w, r)
		case isDAV(r.Method) && r.Method != http.MethodOptions:
			// Paths that clients probe before they find /dav/ (clients.md 4).
			if _, _, ok := r.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="Kalends", charset="UTF-8"`)
				http.Error(w, "Sign in.", http.StatusUnauthorized)
				return
			}
			http.NotFound(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	}))
}

var crossOrigin = http.NewCrossOriginProtection()

// foreign tells that a page of another site made a browser send a request,
// perhaps with a password that it remembers (abuse A19). POST alone can be sent
// so: for every other method that changes something a browser asks first, and
// is not allowed to.
func (s *server) foreign(r *http.Request) bool {
	seen := *r
	if u, err := url.Parse(s.externalURL(r)); err == nil && u.Host != "" {
		seen.Host = u.Host // what a browser calls us, also behind a proxy
	}
	return crossOrigin.Check(&seen) != nil
}

// externalURL is scheme://host for links and redirects: configured, or where
// the request came in. Forwarded host names are never believed (abuse A18).
func (s *server) externalURL(r *http.Request) string {
	if s.cfg.ExternalURL != "" {
		return s.cfg.ExternalURL
	}
	scheme := "http"
	if info(r.Context()).tls {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// listener is one open socket and what serves it.
type listener struct {
	what  string
	net   net.Listener
	serve func(net.Listener) error
	stop  func(context.Context) error
}

func (s *server) serve(ctx context.Context, out io.Writer) error {
	var open []listener
	closeAll := func() {
		for _, l := range open {
			l.net.Close()
		}
	}
	listen := func(what, addr string, serve func(net.Listener) error, stop func(context.Context) error) error {
		network := "tcp"
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", path
			_ = os.Remove(path) // left behind by a crash
		}
		n, err := net.Listen(network, addr)
		if err != nil {
			closeAll()
			return fmt.Errorf("%s cannot listen on %s: %w", what, addr, err)
		}
		open = append(open, listener{what, n, serve, stop})
		return nil
	}
	web := func(h http.Handler) *http.Server {
		return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: time.Duration(s.cfg.ReadTimeout), WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
			MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), Protocols: protocols()}
	}
	if s.cfg.HTTPListen != "" {
		srv := web(s.public)
		if err := listen("http_listen", s.cfg.HTTPListen, srv.Serve, srv.Shutdown); err != nil {
			return err
		}
		s.httpURL = "http://" + open[len(open)-1].net.Addr().String()
	}
	if s.cfg.HTTPSListen != "" {
		srv := web(s.public)
		conf := s.cert.config()
		s.fed.peers.askForCertificates(conf)
		if err := listen("https_listen", s.cfg.HTTPSListen, func(n net.Listener) error { srv.TLSConfig = conf; return srv.ServeTLS(n, "", "") }, srv.Shutdown); err != nil {
			return err
		}
	}
	if s.cfg.Management != "" {
		srv := web(s.management())
		srv.WriteTimeout = 0 // a CPU profile takes its time
		if err := listen("management_listen", s.cfg.Management, srv.Serve, srv.Shutdown); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		what, addr string
		lmtp       bool
	}{{"smtp_listen", s.cfg.SMTPListen, false}, {"lmtp_listen", s.cfg.LMTPListen, true}} {
		if m.addr == "" {
			continue
		}
		var conf *tls.Config
		if s.cert != nil {
			conf = s.cert.config()
			conf.NextProtos = nil
		}
		srv := s.fed.mailServer(m.lmtp, conf)
		if err := listen(m.what, m.addr, srv.Serve, srv.Shutdown); err != nil {
			return err
		}
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var background sync.WaitGroup
	jobs := []func(context.Context){s.sched.Run, s.sched.RunAlarms, s.janitor, s.watch, s.db.AnalyzeNew}
	if s.push != nil {
		jobs = append(jobs, s.push.Run)
	}
	for _, f := range jobs {
		background.Add(1)
		go func() { defer background.Done(); f(work) }()
	}
	failed := make(chan error, len(open))
	for _, l := range open {
		s.log.Info("listening", "what", l.what, "address", l.net.Addr().String())
		go func() {
			if err := l.serve(l.net); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				failed <- fmt.Errorf("%s: %w", l.what, err)
			}
		}()
	}
	s.welcome(out)
	var result error
	select {
	case <-ctx.Done():
	case result = <-failed:
	}
	// New work is refused, running requests end, then the worker.
	s.log.Info("stopping", "wait", time.Duration(s.cfg.ShutdownWait).String())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(s.cfg.ShutdownWait))
	defer cancel()
	var stopping sync.WaitGroup
	for _, l := range open {
		stopping.Add(1)
		go func() {
			defer stopping.Done()
			if err := l.stop(end); err != nil {
				s.log.Warn("a listener did not stop in time", "what", l.what, "error", err)
			}
		}()
	}
	stopping.Wait()
	stopWork()
	background.Wait()
	s.fed.close()
	s.log.Info("stopped")
	return result
}

// protocols are HTTP/1.1 and HTTP/2, the latter also without TLS for proxies
// that speak it.
func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

func (s *server) welcome(out io.Writer) {
	url := s.cfg.ExternalURL
	if url == "" {
		url = s.httpURL
	}
	if url == "" {
		url = "https://" + s.cfg.HTTPSListen
	}
	fmt.Fprintf(out, "Kalends is running. Web page: %s/   Calendar programs: %s/dav/\n", url, url)
	if len(s.cfg.Domains) == 0 {
		domains, err := s.db.ListDomains(context.Background())
		if err == nil && len(domains) == 0 {
			fmt.Fprintln(out, "No domain is configured, so scheduling is local only. Set KALENDS_DOMAINS, or run `kalends domain add example.org`.")
		}
	}
}

// janitor throws away what nobody needs any more; one node at a time.
func (s *server) janitor(ctx context.Context) {
	const day = 24 * time.Hour
	keep := storage.Retention{Tombstones: 180 * day, Deliveries: 90 * day, InboxRead: 90 * day, Forgotten: 180 * day}
	for {
		wait := 10 * time.Minute
		if mine, err := s.db.Lease(ctx, "janitor", s.node, 15*time.Minute); err == nil && mine {
			swept, err := s.db.Janitor(ctx, time.Now(), keep)
			if err != nil && ctx.Err() == nil {
				s.log.Error("cleaning up failed; it will be tried again", "error", err)
			}
			if swept.More {
				wait = time.Second
			}
			if err := AdvanceKeys(ctx, s.db, time.Now(), PublishedInDNS(s.fed.out)); err != nil && ctx.Err() == nil {
				s.log.Error("keys could not be moved on; it will be tried again", "error", err)
			}
			if err := NewAdmin(s.db, *s.cfg, "server", s.log).RemoveDue(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.log.Error("accounts whose days are over could not be removed; it will be tried again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// watch wakes the worker when another process queued something, and the sender
// of push messages when a calendar changed.
func (s *server) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.db.Watch(ctx, func(topic, key string) {
			switch {
			case topic == storage.TopicDelivery:
				s.sched.Wake()
			case s.push != nil:
				s.push.Notify(topic, key)
			}
		})
		if ctx.Err() != nil {
			return
		}
		s.log.Debug("notifications of the database stopped; polling goes on", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}
