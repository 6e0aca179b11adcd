package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/federation"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/storage"
)

// PeerSettings are what administrators say about one other domain. Empty
// fields leave the matter to the settings of "*", and those to the defaults.
type PeerSettings struct {
	Policy   string   `json:"policy,omitempty"`   // prefer, ischedule-only, mail-only or both
	Dialect  string   `json:"dialect,omitempty"`  // final or draft-01; empty: its capabilities tell
	Endpoint string   `json:"endpoint,omitempty"` // https URL in place of the DNS
	Signers  []string `json:"signers,omitempty"`  // further d= that may sign for it
	Blocked  bool     `json:"blocked,omitempty"`
	FreeBusy string   `json:"freebusy,omitempty"` // yes: may ask under ischedule_freebusy = listed; no: never

	// Keys exchanged with the administrators of the other side (ischedule §7.5):
	// theirs by selector as key records, and whether they have ours.
	Keys    map[string]string `json:"keys,omitempty"`
	HasOurs string            `json:"private_exchange,omitempty"` // yes

	Messages        int `json:"messages_per_minute,omitempty"`
	Questions       int `json:"questions_per_minute,omitempty"`
	QuestionsPerDay int `json:"questions_per_day,omitempty"`

	// What makes a request without a signature believed (ischedule §1): a
	// client certificate, or the shared password from one of the networks.
	Certificates []string `json:"certificates,omitempty"` // SHA-256 of the public key, hexadecimal
	PasswordHash string   `json:"password_hash,omitempty"`
	Networks     Nets     `json:"-"`
	NetworkList  []string `json:"networks,omitempty"`
}

func readPeer(text string) (PeerSettings, error) {
	var p PeerSettings
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, err
	}
	return p, p.Networks.UnmarshalText([]byte(strings.Join(p.NetworkList, ",")))
}

// peerList knows the settings of other domains; like domainList it asks the
// database again every few seconds, so that a block acts on all nodes soon.
type peerList struct {
	db  *storage.DB
	mu  sync.Mutex
	at  time.Time
	all map[string]PeerSettings
}

func (l *peerList) table() map[string]PeerSettings {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.all == nil || now.Sub(l.at) > 5*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		rows, err := l.db.Peers(ctx)
		if err != nil {
			return l.all // better what was known a moment ago than nothing
		}
		all := make(map[string]PeerSettings, len(rows))
		for _, r := range rows {
			if p, err := readPeer(r.Settings); err == nil {
				all[r.Name] = p
			}
		}
		l.all, l.at = all, now
	}
	return l.all
}

// of are the settings of a domain, completed by those for all.
func (l *peerList) of(domain string) (p PeerSettings, listed bool) {
	all := l.table()
	p, listed = all[domain]
	every := all[storage.EveryPeer]
	if p.Policy == "" {
		p.Policy = every.Policy
	}
	for _, f := range []struct{ own, every *int }{{&p.Messages, &every.Messages}, {&p.Questions, &every.Questions}, {&p.QuestionsPerDay, &every.QuestionsPerDay}} {
		if *f.own == 0 {
			*f.own = *f.every
		}
	}
	return p, listed
}

// policy is how messages reach a domain.
func (l *peerList) policy(domain string) federation.Policy {
	p, _ := l.of(domain)
	if p.Policy == "prefer" {
		return federation.Prefer
	}
	return federation.Policy(p.Policy)
}

func (l *peerList) endpoint(domain string) string { p, _ := l.of(domain); return p.Endpoint }

func (l *peerList) dialect(domain string) (ischedule.Dialect, bool) {
	p, _ := l.of(domain)
	if p.Dialect == "" {
		return 0, false
	}
	d, err := ischedule.ParseDialect(p.Dialect)
	return d, err == nil
}

// keys are the records of a key that administrators exchanged: it counts whatever
// the signature says about where it can be looked up (ischedule §7.5).
func (l *peerList) keys(domain, selector string) []string {
	p, _ := l.of(domain)
	if r, ok := p.Keys[strings.ToLower(selector)]; ok {
		return []string{r}
	}
	return nil
}

// hasOurs tells whether a domain got our keys by its administrators.
func (l *peerList) hasOurs(domain string) bool { p, _ := l.of(domain); return p.HasOurs == "yes" }

// inbound is what the receiver needs to know.
func (l *peerList) inbound(domain string) ischedule.Peer {
	p, _ := l.of(domain)
	d, fixed := l.dialect(domain)
	return ischedule.Peer{Blocked: p.Blocked, Dialect: d, DialectFixed: fixed, Signers: p.Signers,
		Rates: ischedule.Rates{Messages: p.Messages, Questions: p.Questions, QuestionsPerDay: p.QuestionsPerDay}}
}

// trusted tells whether a request without signature is believed for a domain.
func (l *peerList) trusted(r *http.Request, domain string) bool {
	p, listed := l.of(domain)
	if !listed || p.Blocked {
		return false
	}
	inside := func() bool { return trusted(p.Networks, info(r.Context()).remote) }
	if len(p.Certificates) > 0 && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && (len(p.Networks) == 0 || inside()) {
		if slices.Contains(p.Certificates, fingerprint(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)) {
			return true
		}
	}
	user, password, ok := r.BasicAuth()
	if p.PasswordHash == "" || !ok || !inside() {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(hashSecret(password)), []byte(p.PasswordHash)) == 1 && strings.EqualFold(user, domain)
}

// wantsCertificates tells whether any peer proves itself by a certificate;
// only then clients are asked for one.
func (l *peerList) wantsCertificates() bool {
	for _, p := range l.table() {
		if len(p.Certificates) > 0 {
			return true
		}
	}
	return false
}

// askForCertificates makes a listener ask clients for a certificate while a
// peer is configured that has one. What it proves is the possession of its key;
// which key counts is in the peer's settings.
func (l *peerList) askForCertificates(conf *tls.Config) {
	asking := conf.Clone()
	asking.ClientAuth = tls.RequestClientCert
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if l.wantsCertificates() {
			return asking, nil
		}
		return nil, nil
	}
}

// freeBusy tells whether a domain may ask for busy times (ischedule §5): weak
// means that no signature vouches for it.
func (l *peerList) freeBusy(rule, domain string, weak bool) bool {
	p, _ := l.of(domain)
	switch {
	case p.FreeBusy == "no" || rule == "nobody":
		return false
	case p.FreeBusy == "yes":
		return true
	case rule == "listed":
		return false
	}
	return rule == "all" || !weak
}

func fingerprint(spki []byte) string { return hexOf(sha256.Sum256(spki)) }
func hashSecret(s string) string     { return hexOf(sha256.Sum256([]byte("peer\x00" + s))) }
func hexOf(sum [32]byte) string      { return hex.EncodeToString(sum[:]) }

// newPeerSecret has 160 random bits, so that a plain hash keeps it safe.
func newPeerSecret() (string, error) {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}

// remoteAddr is where a request came from, behind trusted proxies too.
func remoteAddr(r *http.Request) netip.Addr { return info(r.Context()).remote }
