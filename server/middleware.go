package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
)

type requestKey struct{}

// requestInfo is what the outermost layer finds out about a request.
type requestInfo struct {
	id     string
	remote netip.Addr // the client, behind trusted proxies
	secure bool       // TLS, a loopback connection, or vouched for by a trusted proxy
	proxy  bool       // the connection comes from a trusted proxy
	tls    bool
	host   string
}

func info(ctx context.Context) *requestInfo {
	if i, ok := ctx.Value(requestKey{}).(*requestInfo); ok {
		return i
	}
	return &requestInfo{}
}

// RequestID is the id that runs from a request through the queue to the peer's
// answer.
func RequestID(ctx context.Context) string { return info(ctx).id }

func newRequestID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails on supported systems
	return hex.EncodeToString(b[:])
}

// identify gives every request its id, finds out where it came from, and
// guards the handlers below against panics.
func identify(cfg *Config, log *slog.Logger, observe func(method string, status int, took time.Duration), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		in := &requestInfo{id: newRequestID(), tls: r.TLS != nil, host: r.Host}
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)
		in.remote = peer.Addr().Unmap()
		in.proxy = trusted(cfg.Proxies, in.remote)
		in.secure = in.tls || in.remote.IsLoopback()
		if in.proxy {
			if a, ok := forwardedFor(r.Header, cfg.Proxies); ok {
				in.remote = a
			}
			in.secure = true
			if proto := r.Header.Get("X-Forwarded-Proto"); proto != "" {
				in.tls = strings.EqualFold(proto, "https")
			}
		}
		h := w.Header()
		h.Set("X-Request-Id", in.id)
		if in.tls {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		// RFC 9112 §6.1: a request with both lengths may be an attempt to smuggle
		// another one, so its connection must not live on. net/http takes the
		// chunked form and hides that there was a Content-Length; hence no
		// connection lives on after a chunked request.
		if len(r.TransferEncoding) > 0 {
			h.Set("Connection", "close")
		}
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.Error("a request panicked", "method", r.Method, "path", loggedPath(r.URL.Path), "panic", p, "request", in.id, "stack", string(debug.Stack()))
				if !rec.wrote {
					http.Error(rec, "The server failed; the request id is "+in.id+".", http.StatusInternalServerError)
				} else {
					panic(http.ErrAbortHandler)
				}
			}
			status := rec.status
			if status == 0 {
				status = http.StatusOK
			}
			took := time.Since(start)
			observe(r.Method, status, took)
			if log.Enabled(r.Context(), slog.LevelDebug) {
				log.Debug("request", "method", r.Method, "path", loggedPath(r.URL.Path), "status", status, "ms", took.Milliseconds(), "remote", in.remote, "request", in.id)
			}
		}()
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, in))
		body := watchBody(r)
		next.ServeHTTP(rec, r)
		body.discard(w, r.Header.Get("Expect") != "")
	})
}

// loggedPath is a path as it may stand in a log: the rest of a link from a mail
// is a secret (A53).
func loggedPath(path string) string {
	if strings.HasPrefix(path, "/rsvp/") {
		return "/rsvp/…"
	}
	return path
}

type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= 200 {
		r.wrote, r.status = true, status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if !r.wrote {
		r.wrote, r.status = true, http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush streams what was written.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

func trusted(nets Nets, a netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor is the last address in X-Forwarded-For that is not itself a
// trusted proxy; what stands before it anybody could have written.
func forwardedFor(h http.Header, proxies Nets) (netip.Addr, bool) {
	var list []string
	for _, line := range h.Values("X-Forwarded-For") {
		list = append(list, strings.Split(line, ",")...)
	}
	for i := len(list) - 1; i >= 0; i-- {
		s := strings.TrimSpace(list[i])
		if host, _, err := net.SplitHostPort(s); err == nil {
			s = host
		}
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil {
			return netip.Addr{}, false
		}
		if a = a.Unmap(); !trusted(proxies, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// private serves the handler only where a password cannot be overheard: over
// TLS, on loopback, or behind a trusted proxy. Elsewhere it answers 403 before
// the password is looked at.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !info(r.Context()).secure {
			http.Error(w, "This server takes passwords over https only. Use https, or list your proxy under trusted_proxies.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
