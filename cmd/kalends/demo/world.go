package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// nameserver is the demo's own DNS: the zones that the installations printed,
// and nothing else.
type nameserver struct {
	addr string
	srv  [2]*dns.Server

	mu      sync.Mutex
	records []dns.RR
}

func startDNS() (*nameserver, error) {
	n := &nameserver{}
	var pc net.PacketConn
	var l net.Listener
	for try := 0; ; try++ { // one number for UDP and TCP
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		n.addr = fmt.Sprintf("127.0.0.1:%d", port)
		if pc, err = net.ListenPacket("udp", n.addr); err == nil {
			if l, err = net.Listen("tcp", n.addr); err == nil {
				break
			}
			pc.Close()
		}
		if try == 20 {
			return nil, err
		}
	}
	n.srv[0] = &dns.Server{PacketConn: pc, Handler: n}
	n.srv[1] = &dns.Server{Listener: l, Handler: n}
	for _, s := range n.srv {
		go func() { _ = s.ActivateAndServe() }() // ends with close
	}
	return n, nil
}

func (n *nameserver) close() {
	for _, s := range n.srv {
		_ = s.Shutdown()
	}
}

// load adds the records of a zone file.
func (n *nameserver) load(zone string) error {
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	n.mu.Lock()
	defer n.mu.Unlock()
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		n.records = append(n.records, rr)
	}
	return p.Err()
}

// drop removes the records that match.
func (n *nameserver) drop(match func(dns.RR) bool) (gone []dns.RR) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var keep []dns.RR
	for _, rr := range n.records {
		if match(rr) {
			gone = append(gone, rr)
		} else {
			keep = append(keep, rr)
		}
	}
	n.records = keep
	return gone
}

// ServeDNS answers from the loaded records.
func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.Rcode = dns.RcodeNameError
	n.mu.Lock()
	for _, rr := range n.records {
		if len(q.Question) != 1 || !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		m.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	n.mu.Unlock()
	if len(m.Answer) == 0 {
		soa, _ := dns.NewRR("test. 60 IN SOA ns.test. demo.test. 1 60 60 60 60")
		m.Ns = []dns.RR{soa}
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // a lost answer is asked for again
}

// authority is a throw-away certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue writes a certificate for a host and its key.
func (a *authority) issue(host, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600)
}

// freePort finds a port nobody listens on, below those that the system gives
// to outgoing connections: a server started a moment later still finds it free.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 12000 + mathrand.IntN(20000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// final is an error that waiting does not mend.
type final struct{ error }

// waitFor tries until f succeeds or the time is over; the last error tells
// what was still missing.
func waitFor(limit time.Duration, f func() error) (time.Duration, error) {
	start := time.Now()
	for {
		err := f()
		took := time.Since(start)
		if err == nil {
			return took, nil
		}
		var end final
		if errors.As(err, &end) {
			return took, end.error
		}
		if took > limit {
			return took, fmt.Errorf("%w (waited %s)", err, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
