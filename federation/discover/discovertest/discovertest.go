// Package discovertest is a name server for tests: a world of records in a few
// maps, served on a loopback port by UDP and TCP. It owns no policy and never
// asks anybody else; it fails by the means of the test.
//
//	dns := discovertest.Start(t, discovertest.World{
//		SRV:  map[string][]discovertest.SRV{"_ischedules._tcp.beta.test": {{Port: 443, Target: "cal.beta.test"}}},
//		Addr: map[string][]string{"cal.beta.test": {"127.0.0.1"}},
//		Fail: []string{"TXT k1._domainkey.beta.test"},
//	})
//	resolver, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{dns.Addr()}})
package discovertest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// SRV is one service record; the final dot of Target may be left out.
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}

// World is all that the server knows. Names have no case and need no final
// dot. A name in none of the maps does not exist (NXDOMAIN); a name without
// records of the type asked for has an empty answer.
//
// Entries of Fail, Silent, Truncate and Authentic are names, or "TYPE name".
type World struct {
	SRV   map[string][]SRV
	TXT   map[string][][]string // records, each of strings of at most 255 octets
	MX    map[string][]string   // hosts, the preferred first
	Addr  map[string][]string   // IPv4 and IPv6 addresses
	CNAME map[string]string
	Empty []string // names that exist without records

	Fail      []string // SERVFAIL
	Refuse    []string // REFUSED
	Silent    []string // no answer at all
	Truncate  []string // by UDP only an empty answer with TC
	Authentic []string // AD is set

	TTL         uint32 // of positive answers; 0 means 300
	NegativeTTL uint32 // SOA minimum; 0 means 300
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Server is a running name server.
type Server struct {
	addr     string
	udp, tcp *dns.Server

	mu      sync.Mutex
	world   World
	queries []string
}

// Start runs a server until the end of the test.
func Start(t TB, w World) *Server {
	t.Helper()
	s, err := New(w)
	if err != nil {
		t.Fatalf("discovertest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// New runs a server on a free port of 127.0.0.1 until Close.
func New(w World) (*Server, error) {
	s := &Server{world: w}
	var packets net.PacketConn
	var streams net.Listener
	var err error
	for range 20 { // a port that is free for both protocols
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		s.addr = packets.LocalAddr().String()
		if streams, err = net.Listen("tcp4", s.addr); err == nil {
			break
		}
		_ = packets.Close()
	}
	if err != nil {
		return nil, err
	}
	s.udp = &dns.Server{PacketConn: packets, Handler: s}
	s.tcp = &dns.Server{Listener: streams, Handler: s}
	var started sync.WaitGroup
	for _, server := range []*dns.Server{s.udp, s.tcp} {
		started.Add(1)
		server.NotifyStartedFunc = started.Done
		go func() { _ = server.ActivateAndServe() }()
	}
	started.Wait()
	return s, nil
}

// Addr is the server as host:port.
func (s *Server) Addr() string { return s.addr }

// Close stops the server.
func (s *Server) Close() {
	_ = s.udp.Shutdown()
	_ = s.tcp.Shutdown()
}

// Change lets the test alter the world.
func (s *Server) Change(f func(w *World)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.world)
}

// Queries returns what was asked so far, as "SRV name" or, over TCP, "SRV name
// tcp", in lower-case names.
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.RecursionAvailable = true
	if len(r.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	q := r.Question[0]
	name := canonical(q.Name)
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := dns.TypeToString[q.Qtype] + " " + name
	if tcp {
		asked += " tcp"
	}
	s.queries = append(s.queries, asked)

	on := func(list []string) bool { return listed(list, q.Qtype, name) }
	if on(s.world.Silent) {
		return
	}
	switch {
	case on(s.world.Fail):
		m.Rcode = dns.RcodeServerFailure
	case on(s.world.Refuse):
		m.Rcode = dns.RcodeRefused
	case on(s.world.Truncate) && !tcp:
		m.Truncated = true
	default:
		s.world.answer(m, q.Name, name, q.Qtype)
		m.AuthenticatedData = on(s.world.Authentic)
	}
	size := dns.MinMsgSize
	if opt := r.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), false)
		size = int(opt.UDPSize())
	}
	if !tcp {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (w *World) answer(m *dns.Msg, owner, name string, kind uint16) {
	ttl := w.TTL
	if ttl == 0 {
		ttl = 300
	}
	for range 8 {
		target, ok := lookup(w.CNAME, name)
		if !ok || kind == dns.TypeCNAME {
			break
		}
		target = dns.Fqdn(target)
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: header(owner, dns.TypeCNAME, ttl), Target: target})
		owner, name = target, canonical(target)
	}
	found := len(m.Answer)
	switch kind {
	case dns.TypeSRV:
		records, _ := lookup(w.SRV, name)
		for _, r := range records {
			m.Answer = append(m.Answer, &dns.SRV{
				Hdr: header(owner, kind, ttl), Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: dns.Fqdn(r.Target),
			})
		}
	case dns.TypeTXT:
		records, _ := lookup(w.TXT, name)
		for _, r := range records {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: header(owner, kind, ttl), Txt: escape(r)})
		}
	case dns.TypeMX:
		hosts, _ := lookup(w.MX, name)
		for i, h := range hosts {
			m.Answer = append(m.Answer, &dns.MX{Hdr: header(owner, kind, ttl), Preference: uint16(10 * (i + 1)), Mx: dns.Fqdn(h)})
		}
	case dns.TypeA, dns.TypeAAAA:
		texts, _ := lookup(w.Addr, name)
		for _, text := range texts {
			ip, err := netip.ParseAddr(text)
			switch {
			case err != nil:
			case ip.Is4() && kind == dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: header(owner, kind, ttl), A: ip.AsSlice()})
			case ip.Is6() && kind == dns.TypeAAAA:
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(owner, kind, ttl), AAAA: ip.AsSlice()})
			}
		}
	}
	if len(m.Answer) > found {
		return
	}
	if !w.exists(name) {
		m.Rcode = dns.RcodeNameError
	}
	negative := w.NegativeTTL
	if negative == 0 {
		negative = 300
	}
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: header(".", dns.TypeSOA, negative), Ns: "ns.test.", Mbox: "hostmaster.test.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negative,
	}}
}

func (w *World) exists(name string) bool {
	_, srv := lookup(w.SRV, name)
	_, txt := lookup(w.TXT, name)
	_, mx := lookup(w.MX, name)
	_, addr := lookup(w.Addr, name)
	_, alias := lookup(w.CNAME, name)
	return srv || txt || mx || addr || alias || slices.ContainsFunc(w.Empty, func(s string) bool { return canonical(s) == name })
}

func header(owner string, kind uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func lookup[V any](m map[string]V, name string) (v V, ok bool) {
	for k, v := range m {
		if canonical(k) == name {
			return v, true
		}
	}
	return v, false
}

func listed(list []string, kind uint16, name string) bool {
	for _, s := range list {
		if t, n, ok := strings.Cut(s, " "); ok {
			if strings.EqualFold(t, dns.TypeToString[kind]) && canonical(n) == name {
				return true
			}
		} else if canonical(s) == name {
			return true
		}
	}
	return false
}

// escape writes octets as the DNS library wants the strings of TXT records.
func escape(strs []string) []string {
	out := make([]string, len(strs))
	for i, s := range strs {
		var b strings.Builder
		for j := 0; j < len(s); j++ {
			switch c := s[j]; {
			case c == '"' || c == '\\':
				b.WriteString(`\` + string(c))
			case c < ' ' || c >= 0x7f:
				fmt.Fprintf(&b, `\%03d`, c)
			default:
				b.WriteByte(c)
			}
		}
		out[i] = b.String()
	}
	return out
}
