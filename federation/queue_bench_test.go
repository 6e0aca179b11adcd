package federation_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// BenchmarkQueue works 1,000 queued deliveries to 100 domains, 10 to each: all
// of them alive, and 20 of them taking connections without ever answering.
// living is the ratio of the rates at which the living are served; the goal is
// 0.9. heap-x is that of the live heaps. Both kinds are run in turns and the
// medians compared, so that a busy machine slows both alike.
func BenchmarkQueue(b *testing.B) {
	const rounds = 5
	for _, e := range storagetest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			for b.Loop() {
				var healthy, among, heapHealthy, heapAmong []float64
				for range rounds {
					took, heap := serveQueue(b, e, 100, 0)
					healthy, heapHealthy = append(healthy, 1000/took.Seconds()), append(heapHealthy, heap)
					took, heap = serveQueue(b, e, 80, 20)
					among, heapAmong = append(among, 800/took.Seconds()), append(heapAmong, heap)
				}
				b.ReportMetric(median(among)/median(healthy), "living")
				b.ReportMetric(median(heapAmong)/median(heapHealthy), "heap-x")
				b.ReportMetric(median(among), "deliveries/s")
				b.Logf("deliveries a second, all alive: %.0f; among dead ones: %.0f; live heap in MiB: %.1f, %.1f", healthy, among, heapHealthy, heapAmong)
			}
		})
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

type benchSigner struct{ s *dkim.Signer }

func (s benchSigner) Signer(context.Context, string, string) (*dkim.Signer, error) { return s.s, nil }

const perDomain = 10

// serveQueue queues ten messages to each domain and tells how long it took
// until every living domain had all of its own, and the largest heap that was
// alive after a collection, in MiB above that of before.
func serveQueue(b *testing.B, e storagetest.Engine, living, dead int) (time.Duration, float64) {
	b.Helper()
	var names []string
	for i := range living {
		names = append(names, fmt.Sprintf("cal.live%d.test", i))
	}
	pair, roots := benchCertificate(b, names)
	caps := ischedule.DefaultCapabilities()
	caps.Serial = "1"
	document := caps.Document()
	var posts atomic.Int64
	all := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("iSchedule-Capabilities", "1")
		if r.Method == http.MethodGet {
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write(document)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(ischedule.ResponseDocument([]ischedule.Result{{Recipient: calendar.Address(r.Header.Get("Recipient")), Status: "2.0;Success"}}))
		if posts.Add(1) == int64(living*perDomain) {
			close(all)
		}
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer silent.Close()
	go func() { // takes connections, never answers
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()

	world := discovertest.World{SRV: map[string][]discovertest.SRV{}, Addr: map[string][]string{}}
	var domains []string
	offer := func(domain string, l net.Addr) {
		domains = append(domains, domain)
		world.SRV["_ischedules._tcp."+domain] = []discovertest.SRV{{Port: uint16(l.(*net.TCPAddr).Port), Target: "cal." + domain}}
		world.Addr["cal."+domain] = []string{"127.0.0.1"}
	}
	for i := range dead {
		offer(fmt.Sprintf("dead%d.test", i), silent.Addr())
	}
	for i := range living {
		offer(fmt.Sprintf("live%d.test", i), srv.Listener.Addr())
	}
	dns, err := discovertest.New(world)
	if err != nil {
		b.Fatal(err)
	}
	defer dns.Close()
	policy := discover.AddressPolicy{AllowNets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	resolver, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{dns.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	finder, err := discover.NewFinder(discover.FinderConfig{Resolver: resolver, Policy: policy})
	if err != nil {
		b.Fatal(err)
	}
	client := discover.NewHTTPClient(discover.HTTPConfig{Dialer: &discover.Dialer{Resolver: resolver, AddressPolicy: policy}, RootCAs: roots})
	defer client.CloseIdleConnections()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	transport := &federation.Transport{Now: time.Now, ISchedule: ischedule.NewClient(ischedule.ClientConfig{Locator: finder, HTTP: client.Transport, Now: time.Now,
		Signers: benchSigner{&dkim.Signer{Domain: "alpha.test", Selector: "k1", Key: key}}})}

	ctx := context.Background()
	db := storagetest.Open(b, e)
	if err := db.AddDomain(ctx, "alpha.test"); err != nil {
		b.Fatal(err)
	}
	if _, _, err := db.ImportAccounts(ctx, []storage.AccountSpec{{Handle: "alice", Kind: storage.KindUser, Emails: []string{"alice@alpha.test"}}}); err != nil {
		b.Fatal(err)
	}
	alice, err := db.AccountByHandle(ctx, "alice")
	if err != nil {
		b.Fatal(err)
	}
	coll, err := db.CollectionByName(ctx, alice.ID, "calendar")
	if err != nil {
		b.Fatal(err)
	}
	svc := scheduling.New(db, transport, scheduling.Config{Node: "bench", Rand: rand.Reader, Limits: calendar.DefaultLimits(), Log: slog.New(slog.DiscardHandler)})
	for i := range perDomain {
		var body strings.Builder
		fmt.Fprintf(&body, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nBEGIN:VEVENT\r\nUID:queue-%d\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20270101T100000Z\r\nDTEND:20270101T110000Z\r\nSUMMARY:Bench\r\nORGANIZER:mailto:alice@alpha.test\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test\r\n", i)
		for _, d := range domains {
			body.WriteString("ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:bob@" + d + "\r\n")
		}
		body.WriteString("END:VEVENT\r\nEND:VCALENDAR\r\n")
		if _, err := svc.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: alice, By: alice}, Key: storage.ObjectKey{CollectionKey: coll.CollectionKey, Name: fmt.Sprintf("%d.ics", i)}, Data: []byte(body.String())}); err != nil {
			b.Fatal(err)
		}
	}

	run, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtime.GC()
	metrics.Read(alive)
	before, heap := alive[0].Value.Uint64(), uint64(0)
	start := time.Now()
	go func() { svc.Run(run); close(ended) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute)
	for waiting := true; waiting; {
		select {
		case <-all:
			waiting = false
		case <-deadline:
			b.Fatalf("%d of %d messages arrived", posts.Load(), living*perDomain)
		case <-tick.C:
			metrics.Read(alive)
			heap = max(heap, alive[0].Value.Uint64())
		}
	}
	took := time.Since(start)
	stop()
	srv.CloseClientConnections()
	<-ended
	return took, (float64(heap) - float64(before)) / (1 << 20)
}

func benchCertificate(b *testing.B, names []string) (tls.Certificate, *x509.CertPool) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{bytes.Clone(der)}, PrivateKey: key}, pool
}
