package ischedule

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// Locator finds the iSchedule endpoints of a domain; *discover.Finder is one.
type Locator interface {
	DiscoverDomain(ctx context.Context, domain string) discover.Decision
}

// SignerSource gives the key that signs for one of our domains.
type SignerSource interface {
	// Signer returns the signer for messages of domain to peer, with the query
	// methods this peer can use; nil without an error when the domain has no
	// active key.
	Signer(ctx context.Context, domain, peer string) (*dkim.Signer, error)
}

// ClientConfig is what the client works with. Locator, Signers, HTTP and Now
// are required.
type ClientConfig struct {
	Locator Locator
	Signers SignerSource
	// HTTP is the transport of discover.NewHTTPClient: it checks names and
	// addresses, and honours discover.WithIdentity.
	HTTP http.RoundTripper
	Now  func() time.Time

	Rand      io.Reader     // ids of free-busy questions; nil: crypto/rand
	UserAgent string        // without a comma; "" means "Kalends"
	Timeout   time.Duration // for one request with its answer; 0: 30 s
	// Draft01 lets messages go to draft -01 peers in their dialect; without it
	// they count as unable.
	Draft01 bool
	// Dialect overrides what a domain's capabilities say; nil: nothing.
	Dialect func(domain string) (Dialect, bool)
	Log     *slog.Logger
}

// Client sends messages and free-busy questions to the servers of other
// domains. It may be used by several goroutines.
type Client struct {
	cfg   ClientConfig
	cache *capabilityCache
	slow  *breaker
}

// NewClient completes the configuration with defaults.
func NewClient(cfg ClientConfig) *Client {
	if cfg.UserAgent == "" {
		cfg.UserAgent = "Kalends"
	}
	cfg.UserAgent = strings.ReplaceAll(cfg.UserAgent, ",", ";")
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, cache: newCapabilityCache(), slow: newBreaker()}
}

// Delivery is the result for one recipient with what to do next. Disposition
// Mail means that nothing was delivered and that this peer cannot take the
// message by iSchedule at all.
type Delivery struct {
	scheduling.RecipientResult
	Disposition Disposition
}

// Send carries one message to the recipients of its domain: it finds the
// endpoint, compares the message with the peer's capabilities, and posts it
// signed, in as many requests as the peer's limits ask for. There is one
// Delivery per recipient, in order; each has the whole trace.
func (c *Client) Send(ctx context.Context, p scheduling.Parcel) []Delivery {
	j := &job{c: c, domain: p.Domain, wireID: p.WireID, originator: p.Originator, recipients: p.Recipients, body: p.Body}
	return j.run(ctx)
}

// FreeBusy asks for busy time. A Delivery that is Done has the peer's VCALENDAR
// in Calendar.
func (c *Client) FreeBusy(ctx context.Context, q scheduling.Question) []Delivery {
	id := make([]byte, 16)
	if _, err := io.ReadFull(c.cfg.Rand, id); err != nil {
		j := &job{c: c, recipients: q.Recipients}
		return j.all(nil, j.recipients, retry("no randomness: %v", err))
	}
	j := &job{c: c, domain: q.Domain, wireID: hex.EncodeToString(id), originator: q.Originator, recipients: q.Recipients, body: q.Body}
	return j.run(ctx)
}

// Probe is what a connection test finds.
type Probe struct {
	Endpoint string // for POST
	Caps     *Capabilities
	Trace    []scheduling.Step
	Date     string    // the peer's clock in its answer; "" when it was not asked now, or did not say
	Asked    time.Time // our clock before the question and
	Answered time.Time // after the answer
}

// Probe finds a domain's endpoint and reads its capabilities, without a
// message: the outgoing half of a connection test. With an error there is the
// Trace.
func (c *Client) Probe(ctx context.Context, domain string) (Probe, error) {
	j := &job{c: c, domain: domain}
	if stop := j.find(ctx); stop != nil {
		if stop.cause != nil {
			return Probe{Trace: j.trace}, fmt.Errorf("%s: %w", stop.text, stop.cause)
		}
		return Probe{Trace: j.trace}, errors.New(stop.text)
	}
	p := j.seen
	p.Endpoint, p.Caps, p.Trace = j.peer.endpoint, j.peer.caps, j.trace
	return p, nil
}

// job is one message on its way to one domain.
type job struct {
	c          *Client
	domain     string
	wireID     string
	originator calendar.Address
	recipients []calendar.Address
	body       []byte

	object    *calendar.Object
	outline   Outline
	signer    *dkim.Signer
	endpoints []discover.Endpoint // of the domain, in order
	next      int                 // index of the one in use
	peer      *peerState
	lost      *stop // every server failed after the message was prepared
	trace     []scheduling.Step
	seen      Probe // the clocks of the last question for capabilities
}

// stop ends a job (or one POST of it) for all its recipients.
type stop struct {
	disposition Disposition
	code        string
	text        string // for the delivery view
	detail      string // the peer's words
	unreached   bool   // no connection came about
	busy        bool   // another question now would fare no better
	cause       error  // of a connection that did not come about
}

func retry(format string, args ...any) *stop {
	return &stop{disposition: Retry, code: StatusUnavailable, text: fmt.Sprintf(format, args...)}
}

// failed is what an exchange that failed means: an address that must not be
// dialled will not become one that may, all else may pass.
func (j *job) failed(err error) *stop {
	if errors.Is(err, discover.ErrForbiddenAddress) {
		return byMail(StatusNoRoute, "%s is at an address that is not connected to", j.domain)
	}
	s := retry("%s cannot be reached", j.domain)
	s.detail, s.unreached, s.busy, s.cause = clip(err.Error()), errors.Is(err, errConnect), true, err
	return s
}

func byMail(code, format string, args ...any) *stop {
	return &stop{disposition: Mail, code: code, text: fmt.Sprintf(format, args...)}
}

func (j *job) step(since time.Time, what, format string, args ...any) {
	now := j.c.cfg.Now()
	j.trace = append(j.trace, scheduling.Step{At: since, What: what, Text: clip(fmt.Sprintf(format, args...)), Took: now.Sub(since)})
}

// run does all steps and spreads the outcome over the recipients.
func (j *job) run(ctx context.Context) []Delivery {
	out := make([]Delivery, 0, len(j.recipients))
	if s := j.prepare(ctx); s != nil {
		out = j.all(out, j.recipients, s)
	} else {
		for _, part := range j.parts(j.recipients) {
			out = append(out, j.carry(ctx, part)...)
		}
	}
	for i := range out {
		out[i].Trace = slices.Clip(j.trace) // shared, so that appending copies it
	}
	return out
}

// all gives every one of rs the same outcome.
func (j *job) all(out []Delivery, rs []calendar.Address, s *stop) []Delivery {
	for _, r := range rs {
		out = append(out, Delivery{
			RecipientResult: scheduling.RecipientResult{
				Recipient: r, Status: s.code + ";" + s.text, Retry: s.disposition == Retry, Transport: "ischedule", Proof: j.proof(), Detail: s.detail,
			},
			Disposition: s.disposition,
		})
	}
	return out
}

func (j *job) proof() string {
	if j.signer == nil {
		return ""
	}
	return j.signer.Domain
}

// prepare does what is needed once: read the message, find the peer, compare.
func (j *job) prepare(ctx context.Context) *stop {
	o, err := calendar.Parse(j.body, calendar.Limits{})
	if err != nil {
		return &stop{disposition: Fail, code: StatusNotSupported, text: "the message cannot be read", detail: err.Error()}
	}
	j.object = o
	if j.signer, err = j.c.cfg.Signers.Signer(ctx, j.originator.Domain(), j.domain); err != nil {
		return retry("signing key: %v", err)
	}
	if j.signer == nil {
		// WD rests on the signature: without a key we cannot speak.
		return byMail(StatusNoRoute, "%s has no active signing key", j.originator.Domain())
	}
	if s := j.find(ctx); s != nil {
		return s
	}
	if j.outline, err = outlineOf(o, len(j.body), j.peer.caps.MaxInstances); err != nil {
		// What cannot be measured is left to the peer to judge.
		j.step(j.c.cfg.Now(), "capabilities", "not measured: %v", err)
	}
	return j.fits()
}

// fits compares the message with what is known of the peer.
func (j *job) fits() *stop {
	if s := j.usable(); s != nil {
		return s
	}
	err := j.peer.caps.Fits(j.outline)
	var misfit *Misfit
	if !errors.As(err, &misfit) {
		return nil
	}
	code := StatusNotSupported
	if misfit.Limit == "rscales" {
		code = StatusNoCapability
	}
	j.step(j.c.cfg.Now(), "capabilities", "does not fit: %s: %s", misfit.Limit, misfit.Detail)
	return byMail(code, "%s does not take this message (%s)", j.domain, misfit.Limit)
}

// usable tells whether we and the peer have a dialect in common.
func (j *job) usable() *stop {
	if j.dialect() == DialectDraft01 && !j.c.cfg.Draft01 {
		return byMail(StatusNotSupported, "%s speaks an old draft of iSchedule", j.domain)
	}
	for _, v := range j.peer.caps.Versions {
		if v == Version {
			return nil
		}
	}
	return byMail(StatusNotSupported, "%s does not speak iSchedule %s", j.domain, Version)
}

func (j *job) dialect() Dialect {
	if j.c.cfg.Dialect != nil {
		if d, ok := j.c.cfg.Dialect(j.domain); ok {
			return d
		}
	}
	return j.peer.dialect
}

// find locates the domain, once, and reads the capabilities of the first
// server from j.next on that can be reached.
func (j *job) find(ctx context.Context) *stop {
	if j.endpoints == nil {
		start := j.c.cfg.Now()
		d := j.c.cfg.Locator.DiscoverDomain(ctx, j.domain)
		j.step(start, "dns", "%s: %s", d.Kind, d.Reason)
		switch {
		case d.Kind == discover.Temporary:
			return retry("%s cannot be looked up now", j.domain)
		case d.Kind == discover.Invalid, d.Kind == discover.Local:
			// Our own people are never reached through the network.
			return &stop{disposition: Fail, code: StatusUnknownUser, text: "Invalid calendar user"}
		case d.Kind != discover.ISchedule || len(d.Endpoints) == 0:
			return byMail(StatusNoRoute, "%s offers no iSchedule", j.domain)
		}
		j.endpoints = d.Endpoints
	}
	last := retry("no server of %s can be reached", j.domain)
	for ; j.next < len(j.endpoints); j.next++ {
		peer, s := j.c.capabilities(ctx, j, j.endpoints[j.next])
		if s == nil {
			j.peer = peer
			return nil
		}
		last = s
		// RFC 2782: the next target only when this one cannot be reached.
		if !s.unreached {
			break
		}
	}
	return last
}

// server is the endpoint in use.
func (j *job) server() discover.Endpoint { return j.endpoints[min(j.next, len(j.endpoints)-1)] }
