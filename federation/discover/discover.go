package discover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Kind is where a message for an address goes.
type Kind int

const (
	// ISchedule: POST to one of the endpoints.
	ISchedule Kind = iota + 1
	// Mail: the domain offers no iSchedule service; iMIP.
	Mail
	// Temporary: not to be found out now; keep the message and ask again.
	Temporary
	// Invalid: no address that can be delivered to; see Status.
	Invalid
	// Local: one of our own domains.
	Local
)

func (k Kind) String() string {
	switch k {
	case ISchedule:
		return "iSchedule"
	case Mail:
		return "mail"
	case Temporary:
		return "temporary failure"
	case Invalid:
		return "invalid"
	case Local:
		return "local"
	}
	return "undecided"
}

// Endpoint is one place to POST to.
type Endpoint struct {
	// URL to ask for capabilities and, after its redirects, to POST to.
	URL string
	// Identity for [WithIdentity]; zero for a configured URL.
	Identity Identity
}

// Decision is what an address leads to.
type Decision struct {
	Kind   Kind
	Domain string // as A-label; empty when Invalid
	// Endpoints in the order to be tried: the next one only when the one
	// before cannot be connected to.
	Endpoints []Endpoint
	// Status is the iTIP request status of an Invalid address.
	Status string
	// Absent: the domain says expressly (SRV target ".") that it has no such
	// service.
	Absent bool
	// Authentic: the SRV answer was validated by DNSSEC.
	Authentic bool
	// Err is the cause of Temporary and Invalid.
	Err error
	// Reason explains the decision to an administrator.
	Reason string
}

// FinderConfig configures a Finder. Only Resolver is needed.
type FinderConfig struct {
	Resolver *Resolver
	// Policy is that of the dialer: endpoints it can never reach are left out.
	Policy AddressPolicy
	// Overrides maps a domain to the URL of its endpoint, without DNS.
	Overrides map[string]string
	// Override is asked before Overrides; "" means none. What it gives is
	// checked as Overrides are, and a bad one counts as a domain that cannot be
	// reached now.
	Override func(domain string) string
	// Local reports whether a domain (lower case, A-label) is one of ours.
	Local func(domain string) bool
	// Self reports whether a host name (lower case) is our own server: an SRV
	// record of a foreign domain must not lead a message back to us.
	Self func(host string) bool
	// WalkParents asks parent domains when a domain has no SRV record. It
	// needs PublicSuffix, which is never asked for.
	WalkParents  bool
	PublicSuffix func(domain string) bool
	// IntN draws from [0, n) for SRV weights; nil means math/rand.
	IntN func(n int) int
}

// Finder decides where messages go.
type Finder struct{ c FinderConfig }

const (
	serviceLabel = "_ischedules._tcp." // the label without TLS is never asked for
	wellKnown    = "/.well-known/ischedule"
	maxWalk      = 5
	maxEndpoints = 8
)

// NewFinder checks the configuration: override URLs must be https.
func NewFinder(c FinderConfig) (*Finder, error) {
	if c.Resolver == nil {
		return nil, errors.New("discover: no resolver")
	}
	if c.IntN == nil {
		c.IntN = rand.IntN
	}
	overrides := make(map[string]string, len(c.Overrides))
	for domain, text := range c.Overrides {
		d, err := NormalizeDomain(domain)
		if err != nil {
			return nil, fmt.Errorf("override for %q: %w", domain, err)
		}
		if overrides[d], err = overrideURL(text); err != nil {
			return nil, fmt.Errorf("override for %s: %w", domain, err)
		}
	}
	c.Overrides = overrides
	return &Finder{c}, nil
}

// overrideURL checks the URL of a configured endpoint.
func overrideURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%w: %q", ErrScheme, text)
	}
	if u.Path == "" {
		u.Path = wellKnown
	}
	return u.String(), nil
}

// Discover decides where a message for a calendar user address goes. It makes
// DNS queries only, and answers from the cache when it can.
//
// ischedule §2.1, §2.2.
func (f *Finder) Discover(ctx context.Context, address string) Decision {
	domain, literal, err := ParseAddress(address)
	if err != nil {
		return Decision{Kind: Invalid, Status: "3.7", Err: err, Reason: err.Error()}
	}
	if literal {
		return Decision{Kind: Mail, Domain: domain, Reason: "address literal: no DNS"}
	}
	return f.DiscoverDomain(ctx, domain)
}

// DiscoverDomain is Discover for a domain in the form that [NormalizeDomain]
// gives.
func (f *Finder) DiscoverDomain(ctx context.Context, domain string) Decision {
	if f.c.Local != nil && f.c.Local(domain) {
		return Decision{Kind: Local, Domain: domain, Reason: "local domain"}
	}
	if f.c.Override != nil {
		if text := f.c.Override(domain); text != "" {
			u, err := overrideURL(text)
			if err != nil {
				return Decision{Kind: Temporary, Domain: domain, Err: err, Reason: "the configured endpoint cannot be used: " + err.Error()}
			}
			return Decision{Kind: ISchedule, Domain: domain, Endpoints: []Endpoint{{URL: u}}, Reason: "configured endpoint"}
		}
	}
	if u, ok := f.c.Overrides[domain]; ok {
		return Decision{Kind: ISchedule, Domain: domain, Endpoints: []Endpoint{{URL: u}}, Reason: "configured endpoint"}
	}
	owner := domain
	for range maxWalk {
		records, meta, err := f.c.Resolver.LookupSRV(ctx, serviceLabel+owner)
		switch {
		case err == nil:
			d := f.fromSRV(ctx, owner, records, meta)
			d.Domain = domain
			return d
		case !errors.Is(err, ErrNotFound):
			if errors.Is(err, ErrTemporary) {
				return Decision{Kind: Temporary, Domain: domain, Err: err, Reason: err.Error()}
			}
			// A name too long for the service label: it can have no record.
			return Decision{Kind: Mail, Domain: domain, Err: err, Reason: err.Error()}
		}
		next, ok := f.parent(owner)
		if !ok || f.c.Local != nil && f.c.Local(next) {
			break
		}
		owner = next
	}
	return Decision{Kind: Mail, Domain: domain, Reason: "no SRV record " + serviceLabel + domain}
}

// parent is the next name of the walk; it ends at the registrable domain.
func (f *Finder) parent(domain string) (string, bool) {
	if !f.c.WalkParents || f.c.PublicSuffix == nil || f.c.PublicSuffix(domain) {
		return "", false
	}
	_, parent, ok := strings.Cut(domain, ".")
	return parent, ok && strings.Contains(parent, ".") && !f.c.PublicSuffix(parent)
}

// fromSRV turns the service records of owner into a decision.
func (f *Finder) fromSRV(ctx context.Context, owner string, records []SRV, meta Meta) Decision {
	d := Decision{Kind: Mail, Authentic: meta.Authentic}
	if len(records) == 1 && records[0].Target == "." {
		d.Absent = true
		d.Reason = owner + " says by SRV that it has no iSchedule service"
		return d
	}
	txt, _, err := f.c.Resolver.LookupTXT(ctx, serviceLabel+owner)
	if err != nil && !errors.Is(err, ErrNotFound) {
		// The path may be in the record that could not be had.
		return Decision{Kind: Temporary, Authentic: meta.Authentic, Err: err, Reason: err.Error()}
	}
	path := TXTPath(txt)
	if path == "" {
		path = wellKnown
	}
	var refused error
	for _, r := range OrderSRV(records, f.c.IntN) {
		if len(d.Endpoints) == maxEndpoints {
			break
		}
		if r.Target == "." || r.Port == 0 || !validHost(r.Target) {
			refused = fmt.Errorf("%w: SRV target %q port %d", ErrInvalidName, r.Target, r.Port)
			continue
		}
		if f.c.Self != nil && f.c.Self(r.Target) {
			refused = fmt.Errorf("%w: SRV target %s is this server", ErrForbiddenAddress, r.Target)
			continue
		}
		if err := f.reachable(ctx, r.Target); err != nil {
			refused = err
			continue
		}
		host, target := r.Target, net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port)))
		if r.Port != 443 {
			host = target
		}
		d.Endpoints = append(d.Endpoints, Endpoint{
			URL:      "https://" + host + path,
			Identity: Identity{Target: target, Domain: owner, Service: "ischedules", Authentic: meta.Authentic},
		})
	}
	if len(d.Endpoints) == 0 {
		d.Err, d.Reason = refused, fmt.Sprintf("no usable SRV target: %v", refused)
		return d
	}
	d.Kind, d.Reason = ISchedule, "SRV record of "+owner
	return d
}

// reachable refuses a target all of whose addresses are forbidden. When they
// cannot be looked up now, the dialer will see.
func (f *Finder) reachable(ctx context.Context, host string) error {
	addrs, _, err := f.c.Resolver.LookupAddrs(ctx, host)
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if err = f.c.Policy.Check(a); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", host, err)
}
