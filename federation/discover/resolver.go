package discover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits of lookups and of their cache (ischedule §2.2).
const (
	minPositiveTTL = time.Minute
	maxPositiveTTL = 24 * time.Hour
	maxNegativeTTL = time.Hour

	defaultTry     = 2 * time.Second
	defaultRounds  = 2
	defaultEntries = 4096
	maxLookup      = 10 * time.Second
	maxRecords     = 64
	udpSize        = 1232 // what passes without fragments (DNS flag day 2020)
)

// ResolverConfig configures a Resolver. The zero value uses the system's
// servers.
type ResolverConfig struct {
	// Servers are recursive name servers as host:port; none: those of
	// /etc/resolv.conf, and without them one on this machine.
	Servers []string
	// Try is the time limit of one question to one server; 0 means 2 s.
	Try time.Duration
	// Rounds is how often all servers are asked; 0 means 2.
	Rounds int
	// MaxEntries bounds the cache; 0 means 4096.
	MaxEntries int
	// Now is the clock of the cache; nil means time.Now.
	Now func() time.Time
}

// Resolver asks recursive name servers and caches their answers. It may be
// used by several goroutines; the same question is asked once at a time.
type Resolver struct {
	servers []string
	try     time.Duration
	rounds  int
	now     func() time.Time
	cache   *memo[question, *answer]
}

type question struct {
	name string // lower case, with final dot
	kind uint16
}

func (q question) String() string {
	return dns.TypeToString[q.kind] + " " + strings.TrimSuffix(q.name, ".")
}

// answer is what one question gave, an error included.
type answer struct {
	srv       []SRV
	txt       [][]string
	mx        []MX
	addrs     []netip.Addr
	authentic bool
	err       error
}

// SRV is one service record (RFC 2782). Target is lower case, without the
// final dot; "." stays ".".
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}

// Meta tells about an answer.
type Meta struct {
	// Authentic is the AD bit: the configured server says that it validated
	// the answer with DNSSEC. Believe it as far as the way to that server.
	Authentic bool
	Fetched   time.Time
	Cached    bool
}

// NewResolver checks the configuration; it asks nothing yet.
func NewResolver(c ResolverConfig) (*Resolver, error) {
	r := &Resolver{try: c.Try, rounds: c.Rounds, now: c.Now}
	if r.try <= 0 {
		r.try = defaultTry
	}
	if r.rounds <= 0 {
		r.rounds = defaultRounds
	}
	if r.now == nil {
		r.now = time.Now
	}
	if c.MaxEntries <= 0 {
		c.MaxEntries = defaultEntries
	}
	r.cache = newMemo[question, *answer](r.now, c.MaxEntries, maxLookup)
	for _, s := range c.Servers {
		host, port, err := net.SplitHostPort(s)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("discover: name server %q is not host:port", s)
		}
		r.servers = append(r.servers, s)
	}
	if len(r.servers) == 0 {
		var err error
		if r.servers, err = systemServers("/etc/resolv.conf"); err != nil {
			return nil, fmt.Errorf("discover: no name server configured and none from the system: %w", err)
		}
	}
	return r, nil
}

// systemServers are the name servers of a resolv.conf. As for the system's own
// resolver, one that is missing or names none means a name server on this
// machine: the server starts without a network, and what it then cannot look up
// is tried again later.
func systemServers(path string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		conf = &dns.ClientConfig{Port: "53"}
	case err != nil:
		return nil, err
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1", "::1"}
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	return servers, nil
}

// LookupSRV returns the service records of name, in the order of the answer:
// see [OrderSRV].
func (r *Resolver) LookupSRV(ctx context.Context, name string) ([]SRV, Meta, error) {
	a, m, err := r.lookup(ctx, name, dns.TypeSRV, time.Time{})
	if err != nil {
		return nil, m, err
	}
	return a.srv, m, nil
}

// LookupTXT returns the TXT records of name, each as its strings. Octets are
// as in the record, without the escapes of zone files.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([][]string, Meta, error) {
	return r.lookupTXT(ctx, name, time.Time{})
}

// MX is one mail exchanger (RFC 5321 §5.1). Host is lower case, without the
// final dot; "." says that the domain takes no mail (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}

// LookupMX returns the mail exchangers of a domain, in the order of the answer.
func (r *Resolver) LookupMX(ctx context.Context, domain string) ([]MX, Meta, error) {
	a, m, err := r.lookup(ctx, domain, dns.TypeMX, time.Time{})
	if err != nil {
		return nil, m, err
	}
	return a.mx, m, nil
}

// lookupTXT does not use an answer that was fetched before notBefore.
func (r *Resolver) lookupTXT(ctx context.Context, name string, notBefore time.Time) ([][]string, Meta, error) {
	a, m, err := r.lookup(ctx, name, dns.TypeTXT, notBefore)
	if err != nil {
		return nil, m, err
	}
	return a.txt, m, nil
}

// LookupAddrs returns the IPv4 and then the IPv6 addresses of a host. With one
// family answered, a failure of the other is no error.
func (r *Resolver) LookupAddrs(ctx context.Context, host string) ([]netip.Addr, Meta, error) {
	type result struct {
		a   *answer
		m   Meta
		err error
	}
	six := make(chan result, 1)
	go func() {
		a, m, err := r.lookup(ctx, host, dns.TypeAAAA, time.Time{})
		six <- result{a, m, err}
	}()
	a4, m, err4 := r.lookup(ctx, host, dns.TypeA, time.Time{})
	v6 := <-six
	var out []netip.Addr
	if err4 == nil {
		out = append(out, a4.addrs...)
	}
	if v6.err == nil {
		out = append(out, v6.a.addrs...)
		m.Authentic = m.Authentic && v6.m.Authentic
	}
	switch {
	case len(out) > 0:
		return out, m, nil
	case err4 != nil && !errors.Is(err4, ErrNotFound):
		return nil, m, err4
	default:
		return nil, m, v6.err
	}
}

func (r *Resolver) lookup(ctx context.Context, name string, kind uint16, notBefore time.Time) (*answer, Meta, error) {
	q := question{strings.ToLower(dns.Fqdn(name)), kind}
	if !validOwner(q.name) {
		return nil, Meta{}, &LookupError{fmt.Sprintf("%s %q", dns.TypeToString[kind], name), ErrInvalidName}
	}
	a, fetched, cached, err := r.cache.get(ctx, q, notBefore, func(ctx context.Context) (*answer, time.Duration) {
		return r.ask(ctx, q)
	})
	if err != nil { // the caller's own deadline
		return nil, Meta{}, &LookupError{q.String(), fmt.Errorf("%w: %w", ErrTemporary, err)}
	}
	return a, Meta{a.authentic, fetched, cached}, a.err
}

// validOwner allows LDH labels and the underscore of service labels.
func validOwner(fqdn string) bool {
	name := strings.TrimSuffix(fqdn, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; !isLDH(c) && c != '_' {
				return false
			}
		}
	}
	return true
}

func isLDH(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

// ask asks the servers in turn until one gives an answer, yes or no.
func (r *Resolver) ask(ctx context.Context, q question) (*answer, time.Duration) {
	var last error
	for range r.rounds {
		for _, server := range r.servers {
			msg, err := r.exchange(ctx, server, q)
			if err == nil {
				var a *answer
				var ttl time.Duration
				if a, ttl, err = readAnswer(msg, q); err == nil {
					return a, ttl
				}
			}
			last = err
			if ctx.Err() != nil {
				break
			}
		}
	}
	return &answer{err: &LookupError{q.String(), fmt.Errorf("%w: %w", ErrTemporary, last)}}, 0
}

// exchange asks one server, by UDP and on truncation again by TCP.
func (r *Resolver) exchange(ctx context.Context, server string, q question) (*dns.Msg, error) {
	msg := new(dns.Msg)
	msg.SetQuestion(q.name, q.kind)
	msg.AuthenticatedData = true // RFC 6840 §5.7: we understand the AD bit
	msg.SetEdns0(udpSize, false)
	client := dns.Client{Net: "udp", UDPSize: udpSize, Timeout: r.try}
	in, _, err := client.ExchangeContext(ctx, msg, server)
	if err == nil && in.Rcode == dns.RcodeFormatError { // a server without EDNS, RFC 6891 §7
		msg.Extra = nil
		in, _, err = client.ExchangeContext(ctx, msg, server)
	}
	if err == nil && in.Truncated || errors.Is(err, dns.ErrBuf) {
		client.Net = "tcp"
		in, _, err = client.ExchangeContext(ctx, msg, server)
	}
	if err != nil {
		return nil, err
	}
	if !in.Response || len(in.Question) != 1 || in.Question[0].Qtype != q.kind ||
		!strings.EqualFold(in.Question[0].Name, q.name) {
		return nil, errors.New("answer to another question")
	}
	return in, nil
}

// readAnswer sorts an answer into records, a lasting no (ErrNotFound inside the
// answer) or a failure of the server (error).
func readAnswer(msg *dns.Msg, q question) (*answer, time.Duration, error) {
	switch msg.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return nil, 0, errors.New(dns.RcodeToString[msg.Rcode])
	}
	a := &answer{authentic: msg.AuthenticatedData}
	ttl, found := maxPositiveTTL, 0
	owner := q.name
	for range 8 { // the chain of aliases, RFC 1034 §3.6.2
		next := ""
		for _, rr := range msg.Answer {
			h := rr.Header()
			if !strings.EqualFold(h.Name, owner) {
				continue
			}
			switch rr := rr.(type) {
			case *dns.CNAME:
				if q.kind != dns.TypeCNAME {
					next = rr.Target
				}
			default:
				if h.Rrtype != q.kind || found >= maxRecords || !a.add(rr) {
					continue
				}
				found++
			}
			ttl = min(ttl, time.Duration(h.Ttl)*time.Second)
		}
		if found > 0 || next == "" {
			break
		}
		owner = next
	}
	if found > 0 {
		return a, max(ttl, minPositiveTTL), nil
	}
	// RFC 2308 §5: a no is kept as long as the SOA says; without SOA not at all.
	negative, soa, referral := time.Duration(0), false, false
	for _, rr := range msg.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			soa = true
			negative = min(time.Duration(min(rr.Hdr.Ttl, rr.Minttl))*time.Second, maxNegativeTTL)
		case *dns.NS:
			referral = true
		}
	}
	if msg.Rcode == dns.RcodeSuccess && referral && !soa && !msg.Authoritative && !msg.RecursionAvailable {
		return nil, 0, errors.New("server does not recurse")
	}
	a.err = &LookupError{q.String(), ErrNotFound}
	return a, negative, nil
}

func (a *answer) add(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.SRV:
		target := strings.ToLower(rr.Target)
		if target != "." {
			target = strings.TrimSuffix(target, ".")
		}
		a.srv = append(a.srv, SRV{rr.Priority, rr.Weight, rr.Port, target})
	case *dns.MX:
		host := strings.ToLower(rr.Mx)
		if host != "." {
			host = strings.TrimSuffix(host, ".")
		}
		a.mx = append(a.mx, MX{rr.Preference, host})
	case *dns.TXT:
		strs := make([]string, len(rr.Txt))
		for i, s := range rr.Txt {
			strs[i] = unescape(s)
		}
		a.txt = append(a.txt, strs)
	case *dns.A:
		ip, ok := netip.AddrFromSlice(rr.A.To4())
		if ok {
			a.addrs = append(a.addrs, ip)
		}
		return ok
	case *dns.AAAA:
		// Mapped forms are kept as they are: the address check refuses them.
		ip, ok := netip.AddrFromSlice(rr.AAAA.To16())
		if ok {
			a.addrs = append(a.addrs, ip)
		}
		return ok
	default:
		return false
	}
	return true
}
