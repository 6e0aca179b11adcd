package ischedule

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// DefaultMaxContentLength bounds the body of a request, in octets.
const DefaultMaxContentLength = 1 << 20

// Peer is what configuration says about one peer domain.
type Peer struct {
	Blocked bool     // nothing is taken from it
	Dialect Dialect  // the signature form it may use besides the present one
	Signers []string // further d= values that may sign for it
	Rates   Rates    // where not 0, in place of those for everybody
	// DialectFixed: Dialect is what configuration says; the peer is not asked.
	DialectFixed bool
}

// HandlerConfig is what the inbound handler works with. Receiver, Keys, Serial,
// Now and Local are required.
type HandlerConfig struct {
	Receiver     scheduling.Receiver
	Keys         dkim.KeySource
	Serial       SerialStore
	Now          func() time.Time
	Local        func(domain string) bool // one of our own domains
	Capabilities Capabilities             // what we offer and hold peers to; Serial is filled in
	Rates        Rates

	// Peer looks a domain up in the configuration; nil knows nobody.
	Peer func(domain string) Peer
	// Dialects asks a domain's own endpoint for the dialect it speaks, as
	// Client.DialectOf does; nil: only what Peer says counts. It is called for
	// domains whose signature has passed, at most once in 10 minutes each.
	Dialects func(ctx context.Context, domain string) (Dialect, error)
	// Remote is the address a request came from, behind trusted proxies too;
	// nil takes RemoteAddr.
	Remote func(*http.Request) netip.Addr
	// PublicSuffix tells whether strangers register names below a name.
	PublicSuffix func(domain string) bool
	// Trusted tells whether a request without signature comes from a server
	// that is configured to be believed for that domain: a client certificate,
	// or shared credentials from its own network. nil trusts nobody.
	Trusted func(r *http.Request, domain string) bool
	// ErrorStatus maps a failure of the Receiver to an HTTP status, e.g. 507
	// when the disk is full; nil or 0 means 503.
	ErrorStatus func(error) int
	// RequestID names the request in logs and deliveries.
	RequestID func(context.Context) string
	// Observe is told the outcome of every POST.
	Observe func(Verdict)
	Log     *slog.Logger
}

// Verdict is the outcome of one POST, for logs and counters.
type Verdict struct {
	Condition        Condition // "" when accepted
	HTTP             int
	DKIM             dkim.Result // "" when the signature was not evaluated
	OriginatorDomain string
	SigningDomain    string
	Selector         string
	MessageID        string
	Reason           string
	Recipients       int
	Took             time.Duration
}

// Handler answers iSchedule requests: capabilities by GET, messages by POST.
// It is mounted at /ischedule and at /.well-known/ischedule alike, without a
// redirect, since some senders follow none for POST.
type Handler struct {
	cfg      HandlerConfig
	limits   *limiter
	dialects *dialectMemory // nil: nobody is asked
	publish  published
}

// NewHandler completes the configuration: what Capabilities leaves out is taken
// from DefaultCapabilities.
func NewHandler(cfg HandlerConfig) *Handler {
	c, d := &cfg.Capabilities, DefaultCapabilities()
	if len(c.Messages) == 0 {
		c.Messages, c.External = d.Messages, d.External
	}
	if len(c.Versions) == 0 {
		c.Versions = d.Versions
	}
	if len(c.DataTypes) == 0 {
		c.DataTypes = d.DataTypes
	}
	if len(c.RScales) == 0 {
		c.RScales = d.RScales
	}
	if c.MaxContentLength <= 0 {
		c.MaxContentLength = d.MaxContentLength
	}
	if c.MaxRecipients <= 0 {
		c.MaxRecipients = d.MaxRecipients
	}
	if c.MaxInstances <= 0 {
		c.MaxInstances = d.MaxInstances
	}
	if cfg.Peer == nil {
		cfg.Peer = func(string) Peer { return Peer{} }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, limits: newLimiter(cfg.Rates)}
	if cfg.Dialects != nil {
		h.dialects = newDialectMemory(cfg.Dialects, cfg.Now)
	}
	return h
}

// DefaultCapabilities is what is implemented, with the default limits. Inline
// attachments are refused (WD 11.4); dates have no limit.
func DefaultCapabilities() Capabilities {
	methods := []string{"REQUEST", "ADD", "REPLY", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"}
	return Capabilities{
		Versions: []string{Version},
		Messages: []MessageSupport{
			{"VEVENT", methods},
			{"VTODO", methods},
			{"VFREEBUSY", []string{"REQUEST"}},
		},
		DataTypes:        []DataType{{"text/calendar", "2.0"}},
		External:         true,
		RScales:          []string{"GREGORIAN"},
		MaxContentLength: DefaultMaxContentLength,
		MaxInstances:     DefaultMaxInstances,
		MaxRecipients:    DefaultMaxRecipients,
	}
}

const allowed = "OPTIONS, GET, HEAD, POST"

// ServeHTTP answers one request. Every answer carries iSchedule-Version and,
// as soon as the store could be read once, iSchedule-Capabilities.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerVersion, Version)
	ready := h.publish.load(r.Context(), &h.cfg.Capabilities, h.cfg.Serial, h.cfg.Now())
	if ready == nil {
		w.Header().Set(headerCapabilities, h.publish.serial)
	} else {
		h.cfg.Log.ErrorContext(r.Context(), "ischedule: capabilities", "err", ready)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.get(w, r, ready)
	case http.MethodPost:
		h.post(w, r)
	case http.MethodOptions:
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", allowed)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// get serves the capabilities (WD 7). WD asks with ?action=capabilities or
// with nothing, -01 asked with ?query=capabilities and gets its own words.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, ready error) {
	q := r.URL.Query()
	doc := &h.publish.final
	switch {
	case q.Has("action"):
		if q.Get("action") != "capabilities" {
			http.Error(w, "unknown action", http.StatusBadRequest)
			return
		}
	case q.Has("query"):
		if q.Get("query") != "capabilities" {
			http.Error(w, "unknown query", http.StatusBadRequest)
			return
		}
		doc = &h.publish.draft
	}
	if ready != nil {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "capabilities cannot be read now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("ETag", doc.etag)
	http.ServeContent(w, r, "", h.publish.since, bytes.NewReader(doc.body))
}

// post runs the checks and answers. There is one path through them: accept
// gives results or an *Error.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	start := h.cfg.Now()
	var v Verdict
	results, refusal := h.accept(w, r, start, &v)
	// WD 8.1: neither answer may be cached or changed on the way.
	w.Header().Set("Cache-Control", "no-cache, no-transform")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	v.HTTP = http.StatusOK
	var body []byte
	if refusal != nil {
		v.HTTP, v.Condition = refusal.HTTPStatus(), refusal.Condition
		if refusal.Err != nil {
			v.Reason = refusal.Err.Error()
		}
		if refusal.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((refusal.RetryAfter+time.Second-1)/time.Second)))
		}
		if refusal.Close {
			w.Header().Set("Connection", "close")
		}
		if refusal.Condition != "" {
			body = ErrorDocument(refusal.Condition, refusal.Public)
		}
	} else {
		body = ResponseDocument(results)
	}
	v.Recipients = len(results)
	v.Took = h.cfg.Now().Sub(start)
	h.report(r.Context(), v)
	if body == nil {
		http.Error(w, strings.ToLower(http.StatusText(v.HTTP)), v.HTTP)
		return
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(v.HTTP)
	w.Write(body)
}

// report logs a verdict with its reason, which the peer does not learn.
func (h *Handler) report(ctx context.Context, v Verdict) {
	if h.cfg.Observe != nil {
		h.cfg.Observe(v)
	}
	level, msg := slog.LevelInfo, "ischedule: accepted"
	if v.Condition != "" || v.HTTP != http.StatusOK {
		level, msg = slog.LevelWarn, "ischedule: refused"
	}
	h.cfg.Log.LogAttrs(ctx, level, msg,
		slog.String("condition", string(v.Condition)), slog.Int("http", v.HTTP), slog.String("dkim", string(v.DKIM)),
		slog.String("domain", v.OriginatorDomain), slog.String("d", v.SigningDomain), slog.String("s", v.Selector),
		slog.String("message_id", clip(v.MessageID)), slog.Int("recipients", v.Recipients), slog.String("reason", clip(v.Reason)))
}
