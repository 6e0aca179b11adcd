package discover

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Limits of the HTTP client (peers item 8, abuse case A43).
const (
	defaultTimeout    = 30 * time.Second
	headerTimeout     = 25 * time.Second
	tlsTimeout        = 10 * time.Second
	maxHeaderBytes    = 64 << 10
	defaultPerHost    = 4
	maxIdentityHosts  = 64
	idleConnTimeout   = 60 * time.Second
	maxIdleConns      = 256
	maxIdleConnsPerIP = 2
)

// HTTPConfig configures the outgoing HTTP client.
type HTTPConfig struct {
	Dialer *Dialer // needed
	// RootCAs are the trusted authorities; nil: the system's. See [Roots].
	RootCAs *x509.CertPool
	// Timeout of a whole exchange, redirects and body included; 0 means 30 s.
	Timeout time.Duration
	// MaxConnsPerHost bounds parallel connections to one host; 0 means 4.
	MaxConnsPerHost int
	// AllowHTTP permits http URLs (subscriptions to feeds); redirects from
	// https to http stay refused.
	AllowHTTP bool
	// StrictSRVIdentity demands that a target outside the domain is covered by
	// DNSSEC or that its certificate names the domain (ischedule §2.4).
	StrictSRVIdentity bool
}

// Roots returns the system's certificate authorities and those in extra, a
// series of PEM certificates.
func Roots(extra []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(extra) > 0 && !pool.AppendCertsFromPEM(extra) {
		return nil, errors.New("discover: no PEM certificate in the extra authorities")
	}
	return pool, nil
}

// NewHTTPClient returns the client for all outgoing HTTP: https only, TLS 1.2
// or newer, names and chains always checked, addresses checked by the dialer,
// no proxy from the environment, redirects of GET as [Redirect] says, POST
// redirects returned to the caller. Put an [Identity] in the request's context
// for endpoints found by SRV.
func NewHTTPClient(c HTTPConfig) *http.Client {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxConnsPerHost <= 0 {
		c.MaxConnsPerHost = defaultPerHost
	}
	t := &transport{config: c, byIdentity: map[identityKeyOf]*list.Element{}, recent: list.New()}
	t.shared = t.newTransport(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs}, false)
	t.shared1 = t.newTransport(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs}, true)
	return &http.Client{Transport: t, Timeout: c.Timeout, CheckRedirect: checkRedirect}
}

// transport sends a request over the shared connections when the certificate
// names the host, which is the normal case. Only when it does not and the
// request has an Identity, a pool of connections of its own is used: what one
// domain's certificate proves must not serve another domain.
type transport struct {
	config HTTPConfig
	shared *http.Transport
	// shared1 speaks HTTP/1.1 only, see [WithHTTP1].
	shared1 *http.Transport

	mu         sync.Mutex
	byIdentity map[identityKeyOf]*list.Element // of *identityPool
	recent     *list.List
}

// identityKeyOf is what a pool of connections is for.
type identityKeyOf struct {
	id    Identity
	http1 bool
}

type identityPool struct {
	id   identityKeyOf
	pool *http.Transport
}

type http1Key struct{}

// WithHTTP1 returns a context whose requests through [NewHTTPClient] use
// HTTP/1.1, which keeps the spelling of header names: signatures of draft -01
// cover it (ischedule §11).
func WithHTTP1(ctx context.Context) context.Context { return context.WithValue(ctx, http1Key{}, true) }

func (t *transport) newTransport(conf *tls.Config, http1 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!http1)
	return &http.Transport{
		Protocols:              &protocols,
		DialContext:            t.config.Dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  min(headerTimeout, t.config.Timeout),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxConnsPerHost:        t.config.MaxConnsPerHost,
		MaxIdleConnsPerHost:    maxIdleConnsPerIP,
		MaxIdleConns:           maxIdleConns,
		IdleConnTimeout:        idleConnTimeout,
		DisableCompression:     true, // size limits mean what is on the wire
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !(t.config.AllowHTTP && req.URL.Scheme == "http") {
		closeBody(req)
		return nil, fmt.Errorf("%w: %s", ErrScheme, req.URL.Scheme)
	}
	who, ok := identityOf(req.Context())
	_, http1 := req.Context().Value(http1Key{}).(bool)
	id, shared := identityKeyOf{who, http1}, t.shared
	if http1 {
		shared = t.shared1
	}
	if !ok || req.URL.Scheme != "https" || !strings.EqualFold(who.Target, targetOf(req.URL)) {
		return shared.RoundTrip(req)
	}
	if t.config.StrictSRVIdentity && who.needsDomain(req.URL.Hostname()) {
		return t.pool(id).RoundTrip(req)
	}
	if pool := t.known(id); pool != nil {
		resp, err := pool.RoundTrip(req)
		if errors.Is(err, errIdentity) {
			t.forget(id) // the certificate changed: the next request asks for the host name again
		}
		return resp, err
	}
	resp, err := shared.RoundTrip(req)
	var wrongName x509.HostnameError
	if !errors.As(err, &wrongName) {
		return resp, err
	}
	again, ok := repeatable(req)
	if !ok {
		return nil, err
	}
	resp, second := t.pool(id).RoundTrip(again)
	if second != nil {
		t.forget(id)
		return nil, errors.Join(err, second)
	}
	return resp, nil
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	t.shared.CloseIdleConnections()
	t.shared1.CloseIdleConnections()
	t.mu.Lock()
	defer t.mu.Unlock()
	for el := t.recent.Front(); el != nil; el = el.Next() {
		el.Value.(*identityPool).pool.CloseIdleConnections()
	}
}

func (t *transport) known(id identityKeyOf) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if el, ok := t.byIdentity[id]; ok {
		t.recent.MoveToFront(el)
		return el.Value.(*identityPool).pool
	}
	return nil
}

// pool returns the connections that prove id, at most maxIdentityHosts such.
func (t *transport) pool(id identityKeyOf) *http.Transport {
	if p := t.known(id); p != nil {
		return p
	}
	roots := t.config.RootCAs
	p := &identityPool{id, t.newTransport(&tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		// Verification is not off: VerifyConnection checks the chain and the
		// domain's name in place of the host's.
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return id.id.verifyDomain(cs, roots) },
	}, id.http1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if el, ok := t.byIdentity[id]; ok {
		return el.Value.(*identityPool).pool
	}
	t.byIdentity[id] = t.recent.PushFront(p)
	for t.recent.Len() > maxIdentityHosts {
		t.drop(t.recent.Back())
	}
	return p.pool
}

func (t *transport) forget(id identityKeyOf) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if el, ok := t.byIdentity[id]; ok {
		t.drop(el)
	}
}

func (t *transport) drop(el *list.Element) {
	p := t.recent.Remove(el).(*identityPool)
	delete(t.byIdentity, p.id)
	p.pool.CloseIdleConnections()
}

func targetOf(u *url.URL) string { return net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u)) }

// repeatable returns a copy of a request that failed before it was sent.
func repeatable(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, true
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// ReadLimited reads r to its end, at most limit octets; a longer document is
// ErrTooLarge. The caller closes r.
func ReadLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %d octets", ErrTooLarge, limit)
	}
	return b, nil
}

// permanentFailure reports whether an error of an HTTP exchange will be the
// same on a later try, as far as can be known: a forbidden address, a name or
// certificate problem, a refused redirect.
func permanentFailure(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.Is(err, ErrForbiddenAddress) || errors.Is(err, ErrInvalidName) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrRedirect) || errors.Is(err, ErrScheme) || errors.Is(err, ErrTooLarge) ||
		errors.Is(err, errIdentity) || errors.As(err, &cert)
}

// IsTemporary reports whether an error of this package, or of an exchange with
// its client, may go away by itself.
func IsTemporary(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, ErrTemporary) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	return !permanentFailure(err) && !errors.Is(err, ErrInvalidAddress) && !errors.Is(err, ErrNoMethod)
}
