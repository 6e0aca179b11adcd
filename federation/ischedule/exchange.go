package ischedule

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/kalends/kalends/federation/discover"
)

// reply is a peer's answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
	tls    string // "TLS 1.3", for the trace
}

var errConnect = errors.New("no connection")

// exchange sends one request and reads at most limit octets of the answer (one
// more, so that the reader sees that it is too long). errConnect: nothing was
// sent. Redirects are left to the caller.
func (c *Client) exchange(ctx context.Context, domain string, id discover.Identity, method, target string, header http.Header, body []byte, limit int64) (reply, error) {
	start := c.cfg.Now()
	if err := c.slow.allow(domain, start); err != nil {
		return reply{}, err
	}
	r, err := c.roundTrip(ctx, id, method, target, header, body, limit)
	c.slow.report(domain, start, c.cfg.Now(), err)
	return r, err
}

func (c *Client) roundTrip(ctx context.Context, id discover.Identity, method, target string, header http.Header, body []byte, limit int64) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	connected := false
	ctx = discover.WithIdentity(ctx, id)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", errConnect, err)
	}
	if header != nil {
		req.Header = header
	}
	req.Host = hostHeader(req.URL)
	if method == http.MethodGet {
		req.Body = nil
	}
	resp, err := c.cfg.HTTP.RoundTrip(req)
	if err != nil {
		if !connected {
			err = fmt.Errorf("%w: %w", errConnect, err)
		}
		return reply{}, err
	}
	defer resp.Body.Close()
	out := reply{status: resp.StatusCode, header: resp.Header}
	if resp.TLS != nil {
		out.tls = tls.VersionName(resp.TLS.Version)
	}
	if out.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return reply{}, fmt.Errorf("reading the answer: %w", err)
	}
	return out, nil
}

// withQuery sets the query of an endpoint.
func withQuery(endpoint, query string) string {
	base, _, _ := strings.Cut(endpoint, "?")
	if query == "" {
		return base
	}
	return base + "?" + query
}

// redirected gives the place that a 3xx answer points to, "" when the answer is
// none, and an error when it must not be followed (ischedule §2.3).
func redirected(method, from string, r reply, hop int) (string, error) {
	if r.status < 300 || r.status > 399 || r.status == http.StatusNotModified {
		return "", nil
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	to, err := discover.Redirect(method, r.status, base, r.header.Get("Location"), hop)
	if err != nil {
		return "", err
	}
	return to.String(), nil
}
