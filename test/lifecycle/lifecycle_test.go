// Package lifecycle tests how the server starts, changes its certificate,
// stops, and what its listeners refuse.
package lifecycle

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const patience = 20 * time.Second

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

func event(uid string, attendees ...string) string {
	e := blackbox.Event{UID: uid, Start: noon}
	if len(attendees) > 0 {
		e.Organizer, e.Attendees = "mailto:alice@alpha.test", attendees
	}
	return e.String()
}

// slowBody gives its text in pieces, the first at once.
type slowBody struct {
	pieces []string
	wait   time.Duration
	first  chan struct{} // closed when the first piece was taken
	n      int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.n == len(b.pieces) {
		return 0, io.EOF
	}
	if b.n == 1 {
		close(b.first)
	}
	if b.n > 0 {
		time.Sleep(b.wait)
	}
	n := copy(p, b.pieces[b.n])
	b.n++
	return n, nil
}

// TestStop: SIGTERM in the middle of slow requests, of many quick ones, and of
// a mail on its way.
func TestStop(t *testing.T) {
	t.Parallel()
	mail := blackbox.NewCatcher(t)
	n := blackbox.NewWorld(t).Node("alpha.test", "", "KALENDS_SMTP_URL="+mail.URL())
	n.Start()
	n.People("alice", "bob")

	// A mail that the other side takes its time to confirm.
	u := n.User("alice")
	mail.Slow(4 * time.Second)
	if err := u.MustPut(u.Path("mailed.ics"), event("mailed", "mailto:dave@mail.test")); err != nil {
		t.Fatal(err)
	}
	if _, err := mail.Wait(patience, func(blackbox.Mail) bool { return true }); err != nil {
		t.Fatal(err)
	}

	// A PUT that comes in slowly.
	text := event("slow", "mailto:bob@alpha.test")
	body := &slowBody{pieces: []string{text[:50], text[50:100], text[100:150], text[150:]}, wait: 700 * time.Millisecond, first: make(chan struct{})}
	req, err := http.NewRequest("PUT", u.Base+u.Path("slow.ics"), body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(text))
	req.SetBasicAuth("alice", "alice")
	slow := make(chan error, 1)
	go func() {
		resp, err := n.User("alice").Client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = errors.New(resp.Status)
			}
		}
		slow <- err
	}()

	// Many quick ones.
	var mu sync.Mutex
	var acked []string
	var wg sync.WaitGroup
	for k := range 4 {
		w := n.User("alice")
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				uid := fmt.Sprintf("q%d-%d", k, i)
				a, err := w.Put(w.Path(uid+".ics"), event(uid, "mailto:bob@alpha.test"))
				if err != nil {
					return // the listener is closed
				}
				if !a.OK() {
					t.Errorf("PUT while the server stops: %s", a)
					return
				}
				mu.Lock()
				acked = append(acked, uid)
				mu.Unlock()
			}
		}()
	}
	<-body.first
	time.Sleep(500 * time.Millisecond)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-slow; err != nil {
		t.Errorf("the slow PUT: %v", err)
	}
	wg.Wait()
	code, err := n.Exit(30 * time.Second)
	if err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}

	mail.Slow(0)
	n.Start()
	have, err := n.User("bob").List("calendar", "")
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]bool{}
	for _, f := range have {
		uids[f.Object.UID()] = true
	}
	for _, uid := range append(acked, "slow") {
		if !uids[uid] {
			t.Errorf("%s was acknowledged and is lost", uid)
		}
	}
	if err := n.Drained(patience); err != nil {
		t.Error(err)
	}
	if m := mail.Mails(); len(m) != 1 {
		t.Errorf("the mail that was on its way was sent %d times", len(m))
	}
	t.Logf("%d quick requests acknowledged before the stop, all kept", len(acked))
}

// TestCertificate: new files are served to new connections; old connections go
// on; broken files change nothing.
func TestCertificate(t *testing.T) {
	t.Parallel()
	w := blackbox.NewWorld(t)
	n := w.Node("alpha.test", "")
	n.Start()
	n.People("alice")
	dial := func() (*tls.Conn, string) {
		t.Helper()
		c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.HTTPS), &tls.Config{RootCAs: w.CA.Pool(), ServerName: "cal.alpha.test", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	ask := func(c *tls.Conn) error {
		if _, err := fmt.Fprintf(c, "GET /.well-known/caldav HTTP/1.1\r\nHost: cal.alpha.test\r\n\r\n"); err != nil {
			return err
		}
		return readResponse(c, http.StatusMovedPermanently)
	}
	old, before := dial()
	if err := ask(old); err != nil {
		t.Fatal(err)
	}
	w.CA.Issue(t, "cal.alpha.test", n.Cert, n.Key)
	after := ""
	blackbox.Must(t, patience, func() error {
		c, s := dial()
		if s == before {
			return errors.New("new connections still get the old certificate")
		}
		after = s
		return ask(c)
	})
	if err := ask(old); err != nil {
		t.Errorf("the connection from before the change: %v", err)
	}
	if err := os.WriteFile(n.Cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	blackbox.Must(t, patience, func() error {
		if _, s := dial(); s != after {
			t.Fatalf("a broken file changed the certificate to %s", s)
		}
		if !strings.Contains(n.Log(), "the new certificate cannot be used") {
			return errors.New("the log does not tell of the broken file")
		}
		return nil
	})
}

func readResponse(c net.Conn, want int) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if line, _, _ := strings.Cut(string(buf[:n]), "\r\n"); !strings.Contains(line, fmt.Sprintf(" %d ", want)) {
		return fmt.Errorf("%s; want %d", line, want)
	}
	return nil
}

// TestPlainISchedule: the plain listener answers other servers only through a
// proxy that is trusted.
func TestPlainISchedule(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		env := []string{}
		if trusted {
			env = append(env, "KALENDS_TRUSTED_PROXIES=127.0.0.1/32")
		}
		n := blackbox.NewWorld(t).Node("alpha.test", "", env...)
		n.Start()
		for _, path := range []string{"/ischedule?action=capabilities", "/.well-known/ischedule?action=capabilities"} {
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", n.HTTP, path))
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := map[bool]int{false: 403, true: 200}[trusted]; resp.StatusCode != want {
				t.Errorf("GET %s, trusted %v: %d, want %d: %.200s", path, trusted, resp.StatusCode, want, b)
			}
		}
		resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/ischedule", n.HTTP), "text/calendar; component=VEVENT; method=REQUEST", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !trusted && resp.StatusCode != 403 || trusted && resp.StatusCode == 200 {
			t.Errorf("an unsigned POST, trusted %v: %d", trusted, resp.StatusCode)
		}
	}
}

// outside is an address of this machine that is not loopback.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but loopback; the test needs one, for instance `ip address add 198.51.100.7/32 dev lo`")
	return ""
}

// TestPlainPassword: passwords are not taken over plain HTTP from elsewhere, and
// not looked at.
func TestPlainPassword(t *testing.T) {
	t.Parallel()
	n := blackbox.NewWorld(t).Node("alpha.test", "")
	n.Set(fmt.Sprintf("KALENDS_HTTP_LISTEN=0.0.0.0:%d", n.HTTP))
	n.Start()
	n.People("alice")
	here, there := n.User("alice"), n.User("alice")
	there.Base = fmt.Sprintf("http://%s:%d", outside(t), n.HTTP)
	seen := map[string]bool{}
	// More guesses than a wrong password has; none of them may count.
	for i := range 40 {
		there.Name, there.Password = "alice", []string{"alice", "wrong"}[i%2]
		if i%4 == 3 {
			there.Name = "nobody"
		}
		a, err := there.Do("PROPFIND", here.Home(), "", "Depth", "0")
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusForbidden {
			t.Fatalf("a password over plain HTTP from elsewhere: %s", a)
		}
		seen[string(a.Body)] = true
	}
	if len(seen) != 1 {
		t.Errorf("the answers tell right passwords from wrong ones: %v", seen)
	}
	a, err := here.Do("PROPFIND", here.Home(), "", "Depth", "0")
	if err != nil || a.Status != http.StatusMultiStatus {
		t.Errorf("on loopback afterwards: %v %v", a, err)
	}
	// Who is no trusted proxy cannot vouch for itself.
	there.Name, there.Password = "alice", "alice"
	a, err = there.Do("PROPFIND", here.Home(), "", "Depth", "0", "X-Forwarded-Proto", "https", "X-Forwarded-For", "127.0.0.1", "Forwarded", "for=127.0.0.1;proto=https")
	if err != nil || a.Status != http.StatusForbidden {
		t.Errorf("with forged headers: %v %v", a, err)
	}
}

// TestFirstStart: without any configuration but free ports the server runs,
// says what to do, and tells nobody the password.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	n := blackbox.NewWorld(t).Node("alpha.test", "")
	n.Bare(fmt.Sprintf("KALENDS_HTTP_LISTEN=127.0.0.1:%d", n.HTTP), fmt.Sprintf("KALENDS_MANAGEMENT_LISTEN=127.0.0.1:%d", n.Admin), "KALENDS_LOG_LEVEL=debug")
	n.Start()
	file := filepath.Join(n.Dir, "kalends-data", "admin-password")
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the file of the password: %v, %v; want mode 0600", st, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	u := n.User("admin")
	u.Password = strings.TrimSpace(string(b))
	if a, err := u.Do("PROPFIND", u.Home(), "", "Depth", "0"); err != nil || a.Status != http.StatusMultiStatus {
		t.Errorf("the generated password: %v %v", a, err)
	}
	if a, err := u.Put(u.Path("first.ics"), event("first")); err != nil || a.Status != http.StatusCreated {
		t.Errorf("the first event: %v %v", a, err)
	}
	if _, err := os.Stat(filepath.Join(n.Dir, "kalends-data", "kalends.db")); err != nil {
		t.Error(err)
	}
	for _, want := range []string{file, fmt.Sprintf("http://127.0.0.1:%d/", n.HTTP), "scheduling is local only"} {
		if !strings.Contains(n.Log(), want) {
			t.Errorf("the first start does not tell %q", want)
		}
	}
	n.Stop()
	n.Start() // and again
	log := n.Log()
	if strings.Contains(log, u.Password) {
		t.Error("the password of admin is in the output")
	}
	if strings.Count(log, "The account admin was made") != 1 {
		t.Error("the second start makes admin again")
	}
}

// TestMemory prints what an idle server needs; the limit is far away.
func TestMemory(t *testing.T) {
	n := blackbox.NewWorld(t).Node("alpha.test", "")
	n.Start()
	n.People("alice", "bob")
	u := n.User("alice")
	for i := range 50 {
		uid := fmt.Sprintf("m%d", i)
		if err := u.MustPut(u.Path(uid+".ics"), event(uid, "mailto:bob@alpha.test")); err != nil {
			t.Fatal(err)
		}
	}
	n.Stop()
	n.Start()
	time.Sleep(3 * time.Second)
	rss, err := n.Memory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident memory of an idle server: %.1f MB", float64(rss)/1e6)
	if rss > 100e6 && !blackbox.Race() {
		t.Errorf("an idle server needs %d MB", rss/1e6)
	}
}
