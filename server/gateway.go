package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/gateway"
	"github.com/kalends/kalends/federation/imip"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// backends connects gateway domains with the calendar systems behind them.
type backends struct {
	f      *federationParts
	secret []byte
	rate   *imip.Buckets
}

// newGateway wires both directions: the client to backends, and the handler of
// what they submit.
func (f *federationParts) newGateway(ctx context.Context) error {
	secret, err := secretOf(ctx, f.s.db, "gateway.backend")
	if err != nil {
		return err
	}
	b := &backends{f: f, secret: secret, rate: &imip.Buckets{Sender: 20000, Domain: 20000, Recipient: 20000}}
	f.gateway = &gateway.Client{Find: b.find, HTTP: f.out.HTTP, Now: time.Now, Mail: b.lmtp}
	f.transport.Gateway, f.transport.IsGateway = f.gateway, f.domains.gateway
	f.submissions = &gateway.Handler{Token: b.token, Submitter: f.s.sched, Limits: CalendarLimits(f.s.cfg), RequestID: RequestID, Log: f.s.log,
		Allow: func(domain string) bool { return b.rate.Allow("backend@"+domain, domain, time.Now()) }}
	return nil
}

// before puts the backends before the receiver of our own people.
func (f *federationParts) before(r scheduling.Receiver) scheduling.Receiver {
	return gateway.Receiver{Receiver: r, Client: f.gateway, Gateway: func(ctx context.Context, a calendar.Address) (bool, error) {
		if !f.domains.gateway(a.Domain()) {
			return false, nil
		}
		found, err := f.s.db.Recipients(ctx, []string{a.Key()})
		return len(found) == 0, err
	}}
}

func (b *backends) find(ctx context.Context, domain string) (gateway.Backend, bool, error) {
	d, ok, err := domainRow(ctx, b.f.s.db, domain)
	if err != nil || !ok || d.Role != storage.RoleGateway {
		return gateway.Backend{}, false, err
	}
	return gateway.Backend{Domain: d.Name, URL: d.Backend, Secret: backendSecret(b.secret, d)}, true, nil
}

func domainRow(ctx context.Context, db *storage.DB, domain string) (storage.Domain, bool, error) {
	list, err := db.ListDomains(ctx)
	if err != nil {
		return storage.Domain{}, false, err
	}
	for _, d := range list {
		if d.Name == domain {
			return d, true, nil
		}
	}
	return storage.Domain{}, false, nil
}

// backendSecret is what we show to a backend: made of the installation's own
// secret, so that the domain's row does not hold it.
func backendSecret(secret []byte, d storage.Domain) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("kalends-backend\x00" + d.Name + "\x00" + d.Nonce))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

func tokenHash(token string) string {
	h := sha256.Sum256([]byte("kalends-gateway\x00" + token))
	return hex.EncodeToString(h[:])
}

// token checks what a backend shows to us; it takes the same time for a domain
// that is no gateway.
func (b *backends) token(ctx context.Context, domain, token string) (bool, error) {
	d, ok, err := domainRow(ctx, b.f.s.db, domain)
	if err != nil {
		return false, err
	}
	want := strings.Repeat("0", 64)
	if ok && d.Role == storage.RoleGateway && d.Token != "" {
		want = d.Token
	}
	return hmac.Equal([]byte(tokenHash(token)), []byte(want)), nil
}

// lmtp carries messages to a backend that takes mails.
func (b *backends) lmtp(addr string) scheduling.Transport {
	f := b.f
	return &imip.Transport{Rules: f.mailRules, Submit: &imip.LMTP{Addr: addr, Dial: f.out.Dialer.DialContext, Hello: "localhost"}, Keys: f.keys, LoopID: f.loop, Limits: CalendarLimits(f.s.cfg), Now: time.Now}
}

// BackendInfo is shown once, when a gateway is set up.
type BackendInfo struct {
	Domain string `json:"domain"`
	URL    string `json:"backend"`
	Secret string `json:"secret"` // that we show to the backend
	Token  string `json:"token"`  // that the backend shows to us
	Submit string `json:"submit"` // where it submits
}

// SetGateway makes a domain of ours a gateway to a backend, with a new secret
// and a new token.
func (a *Admin) SetGateway(ctx context.Context, name, backend string) (BackendInfo, error) {
	d, err := a.domainOf(ctx, name)
	if err != nil {
		return BackendInfo{}, err
	}
	if err := gateway.CheckURL(backend); err != nil {
		return BackendInfo{}, usage("%v", err)
	}
	secret, err := secretOf(ctx, a.db, "gateway.backend")
	if err != nil {
		return BackendInfo{}, err
	}
	var r [40]byte
	if _, err := rand.Read(r[:]); err != nil {
		return BackendInfo{}, err
	}
	row := storage.Domain{Name: d, Role: storage.RoleGateway, Backend: backend, Nonce: hex.EncodeToString(r[:16])}
	token := hex.EncodeToString(r[16:])
	row.Token = tokenHash(token)
	if err := a.db.SetBackend(ctx, row); err != nil {
		return BackendInfo{}, err
	}
	info := BackendInfo{Domain: d, URL: backend, Secret: backendSecret(secret, row), Token: token, Submit: strings.TrimSuffix(a.cfg.ExternalURL, "/") + gateway.Path + d}
	return info, a.audit(ctx, "domain.gateway", d, backend)
}

// SetLocal makes a gateway domain an ordinary one again.
func (a *Admin) SetLocal(ctx context.Context, name string) error {
	d, err := a.domainOf(ctx, name)
	if err != nil {
		return err
	}
	if err := a.db.SetBackend(ctx, storage.Domain{Name: d}); err != nil {
		return err
	}
	return a.audit(ctx, "domain.local", d, "")
}

// submitted serves what backends submit: over TLS, from loopback, or through a
// trusted proxy.
func (f *federationParts) submitted() http.Handler { return private(f.submissions) }
