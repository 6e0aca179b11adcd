package federation

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// front stands between two installations and ends TLS as a load balancer does,
// with the certificate of the server behind it. A fault spoils what passes.
type front struct {
	port  uint16
	fault atomic.Pointer[fault] // nil: none
	lift  chan struct{}
	once  sync.Once

	hits     atomic.Int64 // requests that arrived while the fault was on
	handed   atomic.Int64 // POSTs that were handed on to the server
	injected atomic.Int64 // times that the fault did its work
}

// fault is what the front does with an answer of the server.
type fault struct {
	stranger bool // a certificate of an authority that nobody trusts
	serve    func(f *front, w http.ResponseWriter, r *http.Request, answer func() *http.Response)
}

func pass(w http.ResponseWriter, resp *http.Response) {
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func newFront(t *testing.T, n *blackbox.Node, bad *fault) *front {
	t.Helper()
	f := &front{lift: make(chan struct{})}
	f.fault.Store(bad)
	good, err := tls.LoadX509KeyPair(n.Cert, n.Key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	blackbox.NewAuthority(t).Issue(t, "cal.beta.test", dir+"/cert.pem", dir+"/key.pem")
	stranger, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	inner := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the server behind us, on loopback
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if x := f.fault.Load(); x != nil && x.stranger {
			f.injected.Add(1)
			return &stranger, nil
		}
		return &good, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.port = uint16(l.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := func() *http.Response {
			out, err := http.NewRequest(r.Method, fmt.Sprintf("https://127.0.0.1:%d%s", n.HTTPS, r.URL.RequestURI()), bytes.NewReader(body))
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			out.Header, out.Host = r.Header.Clone(), r.Host
			if r.Method == http.MethodPost {
				f.handed.Add(1)
			}
			resp, err := inner.RoundTrip(out)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			return resp
		}
		x := f.fault.Load()
		if x == nil || x.serve == nil {
			pass(w, answer())
			return
		}
		f.hits.Add(1)
		x.serve(f, w, r, answer)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { f.end(); _ = srv.Close(); inner.CloseIdleConnections() })
	return f
}

// end takes the fault away.
func (f *front) end() { f.once.Do(func() { f.fault.Store(nil); close(f.lift) }) }

// Faults between two installations, each on a domain of its own so that caches
// and pauses of one case do not touch another. In each: the client's PUT is
// answered while the fault lasts, the message is applied exactly once in the end
// by iSchedule, and nothing goes by mail meanwhile.
func TestFaults(t *testing.T) {
	status := func(code int) func(*front, http.ResponseWriter, *http.Request, func() *http.Response) {
		return func(f *front, w http.ResponseWriter, r *http.Request, _ func() *http.Response) {
			f.injected.Add(1)
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "<html>the proxy has trouble</html>")
		}
	}
	cases := []struct {
		name   string
		bad    *fault
		dns    func(w *discovertest.World, service string) // spoils the DNS
		cure   func(w *discovertest.World, service string)
		passes bool // the fault delays, but does not keep the message from arriving
		mail   bool // the domain says that it has no such service
	}{
		{name: "latency", passes: true, bad: &fault{serve: func(f *front, w http.ResponseWriter, _ *http.Request, answer func() *http.Response) {
			resp := answer()
			f.injected.Add(1)
			select {
			case <-f.lift:
			case <-time.After(1500 * time.Millisecond):
			}
			pass(w, resp)
		}}},
		{name: "cut in the middle of the answer to a POST", bad: &fault{serve: func(f *front, w http.ResponseWriter, r *http.Request, answer func() *http.Response) {
			resp := answer()
			if r.Method != http.MethodPost {
				pass(w, resp)
				return
			}
			defer resp.Body.Close()
			half, _ := io.ReadAll(resp.Body)
			w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
			w.Header().Set("Content-Length", fmt.Sprint(len(half)))
			_, _ = w.Write(half[:len(half)/2])
			_ = http.NewResponseController(w).Flush()
			f.injected.Add(1)
			panic(http.ErrAbortHandler)
		}}},
		{name: "cut in the middle of the capabilities", bad: &fault{serve: func(f *front, w http.ResponseWriter, r *http.Request, answer func() *http.Response) {
			resp := answer()
			defer resp.Body.Close()
			half, _ := io.ReadAll(resp.Body)
			w.Header().Set("Content-Length", fmt.Sprint(len(half)))
			_, _ = w.Write(half[:len(half)/2])
			f.injected.Add(1)
			panic(http.ErrAbortHandler)
		}}},
		{name: "503", bad: &fault{serve: status(503)}},
		{name: "502", bad: &fault{serve: status(502)}},
		{name: "slow loris", bad: &fault{serve: func(f *front, w http.ResponseWriter, _ *http.Request, _ func() *http.Response) {
			f.injected.Add(1)
			for {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-f.lift:
					panic(http.ErrAbortHandler)
				case <-time.After(100 * time.Millisecond):
				}
			}
		}}},
		{name: "wrong certificate", bad: &fault{stranger: true, serve: func(*front, http.ResponseWriter, *http.Request, func() *http.Response) {}}},
		{name: "truncated DNS", passes: true, dns: func(w *discovertest.World, s string) { w.Truncate = append(w.Truncate, "SRV "+s, "TXT "+s) }},
		{name: "SERVFAIL", dns: func(w *discovertest.World, s string) { w.Fail = append(w.Fail, "SRV "+s) },
			cure: func(w *discovertest.World, s string) {
				w.Fail = slices.DeleteFunc(w.Fail, func(x string) bool { return x == "SRV "+s })
			}},
		{name: "NXDOMAIN", mail: true, dns: func(w *discovertest.World, s string) { delete(w.SRV, s) }},
		{name: "dead first SRV target", passes: true, dns: func(w *discovertest.World, s string) {
			w.Addr["gone.beta.test"] = []string{"127.0.0.1"}
			for i := range w.SRV[s] {
				w.SRV[s][i].Priority = 20
			}
			w.SRV[s] = append([]discovertest.SRV{{Priority: 10, Port: 1, Target: "gone.beta.test"}}, w.SRV[s]...)
		}},
	}
	var domains, emails []string
	for i := range cases {
		domains = append(domains, fmt.Sprintf("f%d.test", i))
		emails = append(emails, "--add-email", fmt.Sprintf("fred@f%d.test", i))
	}
	s := newScene(t, "KALENDS_DOMAINS=beta.test,"+strings.Join(domains, ","))
	if out, err := s.beta.Command("", append([]string{"user", "set", "carol"}, emails...)...); err != nil {
		t.Fatal(out, err)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := *s
			s.t = t
			f := newFront(t, s.beta, c.bad)
			domain, uid := domains[i], fmt.Sprintf("fault-%02d", i)
			service, person := "_ischedules._tcp."+domain, "mailto:fred@"+domain
			s.w.DNS.Change(func(w *discovertest.World) {
				w.SRV[service] = []discovertest.SRV{{Port: f.port, Target: "cal.beta.test"}}
				if c.dns != nil {
					c.dns(w, service)
				}
			})
			mailed := func() (n int) {
				for _, m := range s.mail.Mails() {
					if slices.Contains(m.To, "fred@"+domain) {
						n++
					}
				}
				return n
			}
			// The PUT is answered while the fault lasts: nothing but the test ends it.
			e := blackbox.Event{UID: uid, Start: monday, Organizer: s.alice.Address, Attendees: []string{person}}
			if err := s.alice.MustPut(s.alice.Path(uid+".ics"), e.String()); err != nil {
				t.Fatal(err)
			}
			if c.mail {
				d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" })
				if d.Transport != "mail" || mailed() != 1 || f.handed.Load() != 0 {
					t.Errorf("%+v, %d mails", d, mailed())
				}
				return
			}
			if !c.passes {
				if c.bad != nil {
					blackbox.Must(t, 2*patience, func() error {
						if f.injected.Load() == 0 {
							return errors.New("the fault has not struck")
						}
						return nil
					})
				}
				if c.name != "slow loris" { // which lasts as long as the test likes
					s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.Attempts >= 1 })
				}
				d := s.delivery(s.alpha, uid, func(blackbox.Delivery) bool { return true })
				if d.State != "queued" && d.State != "in-flight" || mailed() != 0 {
					t.Errorf("while the fault lasts: %+v, %d mails", d, mailed())
				}
				if c.bad != nil && c.bad.stranger && (f.hits.Load() != 0 || f.handed.Load() != 0) {
					t.Error("something was sent over a connection with a bad certificate")
				}
				f.end()
				if c.cure != nil {
					s.w.DNS.Change(func(w *discovertest.World) { c.cure(w, service) })
				}
			}
			d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" })
			f.end()
			s.has(s.carol, uid, nil)
			inbox, err := s.carol.List("inbox", uid)
			if err != nil || len(inbox) != 1 || d.Transport != "ischedule" || mailed() != 0 {
				t.Errorf("%+v; %d inbox items, %d mails, %v", d, len(inbox), mailed(), err)
			}
			if c.bad != nil && f.injected.Load() == 0 {
				t.Error("the fault never struck")
			}
			t.Logf("%d attempts, %d requests met the fault, %d messages handed on, applied once", d.Attempts, f.hits.Load(), f.handed.Load())
		})
	}
}
