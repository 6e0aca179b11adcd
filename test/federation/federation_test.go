// Package federation tests two real servers of two organizations on real
// sockets, with a name server, an authority and a mail server of their own.
package federation

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crypto/tls"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const patience = 20 * time.Second

// scene is two organizations and a mail server.
type scene struct {
	t            *testing.T
	w            *blackbox.World
	alpha, beta  *blackbox.Node
	mail         *blackbox.Catcher
	alice, carol *blackbox.User
}

func newScene(t *testing.T, betaEnv ...string) *scene {
	t.Helper()
	return newSceneOn(t, storagetest.SQLite, betaEnv...)
}

// newSceneOn is newScene with the databases of both on an engine.
func newSceneOn(t *testing.T, e storagetest.Engine, betaEnv ...string) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{t: t, w: blackbox.NewWorld(t), mail: blackbox.NewCatcher(t)}
	s.alpha = s.w.Node("alpha.test", storagetest.URL(t, e), "KALENDS_SMTP_URL="+s.mail.URL())
	s.beta = s.w.Node("beta.test", storagetest.URL(t, e), append([]string{"KALENDS_SMTP_URL=" + s.mail.URL()}, betaEnv...)...)
	for _, n := range []*blackbox.Node{s.alpha, s.beta} {
		n.Start()
		n.Publish()
	}
	s.alpha.People("alice")
	s.beta.People("carol", "erin")
	s.alice, s.carol = s.alpha.User("alice"), s.beta.User("carol")
	return s
}

var monday = func() time.Time {
	t := time.Now().UTC().Truncate(24 * time.Hour)
	return t.AddDate(0, 0, (8-int(t.Weekday()))%7+7).Add(10 * time.Hour)
}()

func (s *scene) invite(uid string) {
	s.t.Helper()
	e := blackbox.Event{UID: uid, Start: monday, Rule: "FREQ=WEEKLY;COUNT=4", Organizer: s.alice.Address, Attendees: []string{s.carol.Address}}
	if err := s.alice.MustPut(s.alice.Path(uid+".ics"), e.String()); err != nil {
		s.t.Fatal(err)
	}
}

// has waits for carol's copy.
func (s *scene) has(u *blackbox.User, uid string, want func(*calendar.Object) error) *blackbox.Found {
	s.t.Helper()
	var found *blackbox.Found
	blackbox.Must(s.t, patience, func() error {
		f, err := u.Copy(uid)
		if err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("%s has no copy of %s", u.Name, uid)
		}
		found = f
		if want != nil {
			return want(f.Object)
		}
		return nil
	})
	return found
}

// delivery waits for the newest delivery of a UID to be as expected.
func (s *scene) delivery(n *blackbox.Node, uid string, ok func(blackbox.Delivery) bool) blackbox.Delivery {
	s.t.Helper()
	var d blackbox.Delivery
	blackbox.Must(s.t, patience, func() error {
		list, err := n.Deliveries("--uid", uid)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return errors.New("no delivery")
		}
		if d = list[0]; !ok(d) {
			return fmt.Errorf("the delivery is %+v", d)
		}
		return nil
	})
	return d
}

// TestStory (want 29) plays a meeting between two organizations from the invitation to
// its end.
func TestStory(t *testing.T) {
	s := newScene(t)
	const uid = "story"
	s.invite(uid)
	s.has(s.carol, uid, func(o *calendar.Object) error {
		if p, _ := blackbox.Attendee(o, s.carol.Address); p != "NEEDS-ACTION" {
			return fmt.Errorf("carol's PARTSTAT is %s", p)
		}
		return nil
	})
	if d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" }); d.Transport != "ischedule" {
		t.Errorf("the invitation went by %s", d.Transport)
	}
	inbox, err := s.carol.List("inbox", uid)
	if err != nil || len(inbox) != 1 || inbox[0].Object.Method() != "REQUEST" {
		t.Errorf("carol's inbox: %d items, %v", len(inbox), err)
	}

	// The answer, and what alice's event says about it.
	if err := s.carol.Answer(uid, "ACCEPTED"); err != nil {
		t.Fatal(err)
	}
	s.has(s.alice, uid, func(o *calendar.Object) error {
		if p, st := blackbox.Attendee(o, s.carol.Address); p != "ACCEPTED" || !strings.HasPrefix(st, "2.0") {
			return fmt.Errorf("alice's event says %s, SCHEDULE-STATUS %s", p, st)
		}
		return nil
	})

	// One instance moves by a day.
	third := monday.AddDate(0, 0, 14)
	f := s.has(s.alice, uid, nil)
	moved := f.Object.Master().Clone()
	moved.Remove("RRULE")
	for name, at := range map[string]time.Time{"RECURRENCE-ID": third, "DTSTART": third.AddDate(0, 0, 1), "DTEND": third.AddDate(0, 0, 1).Add(time.Hour)} {
		moved.Set(calendar.NewProperty(name, at.Format("20060102T150405Z")))
	}
	f.Object.Children = append(f.Object.Children, moved)
	if err := s.alice.MustPut(f.Href, string(f.Object.Bytes())); err != nil {
		t.Fatal(err)
	}
	want := map[time.Time]bool{}
	for i := range 4 {
		at := monday.AddDate(0, 0, 7*i)
		if i == 2 {
			at = at.AddDate(0, 0, 1)
		}
		want[at] = true
	}
	s.has(s.carol, uid, func(o *calendar.Object) error {
		n := 0
		for in, err := range o.Instances(calendar.NewZones(o, time.UTC), monday.AddDate(0, 0, -30), monday.AddDate(0, 0, 90), calendar.NewBudget()) {
			if err != nil {
				return err
			}
			if n++; !want[in.Start.UTC()] {
				return fmt.Errorf("carol has a meeting at %v", in.Start)
			}
		}
		if n != 4 {
			return fmt.Errorf("carol has %d meetings", n)
		}
		return nil
	})

	// Busy time across the organizations.
	from := monday.Truncate(24 * time.Hour)
	body := fmt.Sprintf("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Black box//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:%s\r\nDTSTART:%s\r\nDTEND:%s\r\nORGANIZER:%s\r\nATTENDEE:%s\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n",
		time.Now().UTC().Format("20060102T150405Z"), from.Format("20060102T150405Z"), from.AddDate(0, 0, 1).Format("20060102T150405Z"), s.alice.Address, s.carol.Address)
	a, err := s.alice.Do("POST", s.alice.Home()+"outbox/", body, "Content-Type", "text/calendar; charset=utf-8")
	if err != nil || a.Status != 200 {
		t.Fatalf("free/busy: %v %v", a, err)
	}
	if text := string(a.Body); !strings.Contains(text, "2.0;") || !strings.Contains(text, monday.Format("20060102T150405Z")+"/") {
		t.Errorf("alice does not see that carol is busy on %v: %s", monday, text)
	}

	// The end of it.
	if a, err := s.alice.Do("DELETE", f.Href, ""); err != nil || !a.OK() {
		t.Fatalf("DELETE: %v %v", a, err)
	}
	blackbox.Must(t, patience, func() error {
		c, err := s.carol.Copy(uid)
		if err != nil || c == nil {
			return err
		}
		for _, k := range c.Object.Components() {
			if k.Value("STATUS") != "CANCELLED" {
				return errors.New("carol's meeting is not cancelled")
			}
		}
		return nil
	})
	if n := len(s.mail.Mails()); n != 0 {
		t.Errorf("%d mails were sent beside iSchedule", n)
	}
}

// TestWrongCertificate: a server that cannot prove its name gets nothing, and
// what it should get waits.
func TestWrongCertificate(t *testing.T) {
	s := newScene(t)
	s.beta.Stop()
	var posts atomic.Int64
	stranger := blackbox.NewAuthority(t)
	dir := t.TempDir()
	stranger.Issue(t, "cal.beta.test", dir+"/cert.pem", dir+"/key.pem")
	pair, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.beta.HTTPS), &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posts.Add(1) })}
	go func() { _ = srv.Serve(l) }()
	const uid = "impostor"
	s.invite(uid)
	d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.Attempts >= 2 })
	if d.State != "queued" && d.State != "in-flight" || posts.Load() != 0 || len(s.mail.Mails()) != 0 {
		t.Errorf("state %s, %d requests reached the impostor, %d mails", d.State, posts.Load(), len(s.mail.Mails()))
	}
	if !strings.Contains(d.Detail, "certificate") {
		t.Errorf("the delivery does not say why it waits: %q", d.Detail)
	}
	srv.Close()
	s.beta.Start()
	s.has(s.carol, uid, nil)
}

// TestServfail: a domain whose DNS fails is not a domain without iSchedule.
func TestServfail(t *testing.T) {
	s := newScene(t)
	s.w.DNS.Change(func(w *discovertest.World) { w.Fail = []string{"SRV _ischedules._tcp.beta.test"} })
	const uid = "servfail"
	s.invite(uid)
	d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.Attempts >= 2 })
	if d.State != "queued" && d.State != "in-flight" || len(s.mail.Mails()) != 0 {
		t.Errorf("state %s, %d mails", d.State, len(s.mail.Mails()))
	}
	s.w.DNS.Change(func(w *discovertest.World) { w.Fail = nil })
	s.has(s.carol, uid, nil)
	if d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" }); d.Transport != "ischedule" {
		t.Errorf("it went by %s in the end", d.Transport)
	}
}

// TestNoService: a domain without an SRV record gets mail.
func TestNoService(t *testing.T) {
	s := newScene(t)
	const uid = "mail"
	e := blackbox.Event{UID: uid, Start: monday, Organizer: s.alice.Address, Attendees: []string{"mailto:dave@mail.test"}}
	if err := s.alice.MustPut(s.alice.Path("mail.ics"), e.String()); err != nil {
		t.Fatal(err)
	}
	m, err := s.mail.Wait(patience, func(m blackbox.Mail) bool { return m.Calendar != nil && m.Calendar.UID() == uid })
	if err != nil {
		t.Fatal(err)
	}
	if m.Calendar.Method() != "REQUEST" || len(m.To) != 1 || m.To[0] != "dave@mail.test" {
		t.Errorf("method %s to %v", m.Calendar.Method(), m.To)
	}
	if d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" }); d.Transport != "mail" || !strings.HasPrefix(d.Status, "1.1") {
		t.Errorf("transport %s, status %s; want mail, 1.1 (sent, outcome unknown)", d.Transport, d.Status)
	}
}

// lossy is a line to a server that swallows answers: the request arrives, the
// connection is cut when the first octets come back.
type lossy struct {
	net.Listener
	to   string
	lose atomic.Bool
	lost atomic.Int64
	mu   sync.Mutex
	open []net.Conn
}

func newLossy(t *testing.T, to int) *lossy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &lossy{Listener: l, to: fmt.Sprintf("127.0.0.1:%d", to)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go x.serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, c := range x.open {
			c.Close()
		}
	})
	return x
}

func (x *lossy) serve(c net.Conn) {
	s, err := net.Dial("tcp", x.to)
	if err != nil {
		c.Close()
		return
	}
	x.mu.Lock()
	x.open = append(x.open, c, s)
	x.mu.Unlock()
	go func() { _, _ = io.Copy(s, c); s.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		if n > 0 && x.lose.Load() {
			x.lost.Add(1)
			break
		}
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	c.Close()
	s.Close()
}

// TestLostAnswer: the receiver took the message, the sender never heard. What
// is sent again has the same id and is applied once.
func TestLostAnswer(t *testing.T) {
	s := newScene(t)
	line := newLossy(t, s.beta.HTTPS)
	port := uint16(line.Addr().(*net.TCPAddr).Port)
	s.w.DNS.Change(func(w *discovertest.World) {
		w.SRV["_ischedules._tcp.beta.test"] = []discovertest.SRV{{Port: port, Target: "cal.beta.test"}}
	})
	// A first meeting opens the connection and fills the caches, so that the
	// next answer to come back is that to the POST.
	s.invite("before")
	s.has(s.carol, "before", nil)
	s.delivery(s.alpha, "before", func(d blackbox.Delivery) bool { return d.State == "done" })

	line.lose.Store(true)
	const uid = "lost"
	s.invite(uid)
	s.has(s.carol, uid, nil) // it arrived
	d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.Attempts >= 1 })
	if d.State == "done" || line.lost.Load() == 0 {
		t.Fatalf("no answer was lost: %+v, %d", d, line.lost.Load())
	}
	first := wireID(t, s.alpha, d.Ref)
	line.lose.Store(false)
	d = s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" })
	if last := wireID(t, s.alpha, d.Ref); last != first || first == "" {
		t.Errorf("sent as %s, then as %s", first, last)
	}
	if d.Attempts < 2 {
		t.Errorf("%d attempts", d.Attempts)
	}
	s.has(s.carol, uid, nil)
	inbox, err := s.carol.List("inbox", uid)
	if err != nil || len(inbox) != 1 {
		t.Errorf("carol's inbox has %d items, %v", len(inbox), err)
	}
	t.Logf("%d connections lost their answer, %d attempts, one copy, one inbox item", line.lost.Load(), d.Attempts)
}

func wireID(t *testing.T, n *blackbox.Node, ref string) string {
	t.Helper()
	text, err := n.Command("", "deliveries", "show", ref, "--json")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(text, `"wire_id": "`)
	id, _, _ := strings.Cut(after, `"`)
	return id
}

// TestPeerDown: what is addressed to a peer that is down waits, several
// changes become one, and in the end both agree.
func TestPeerDown(t *testing.T) {
	s := newScene(t)
	s.beta.Stop()
	const uid = "down"
	s.invite(uid)
	path := s.alice.Path(uid + ".ics")
	for i := 1; i <= 3; i++ {
		e := blackbox.Event{UID: uid, Start: monday.Add(time.Duration(i) * time.Hour), Organizer: s.alice.Address, Attendees: []string{s.carol.Address}, Sequence: i}
		if err := s.alice.MustPut(path, e.String()); err != nil {
			t.Fatal(err)
		}
	}
	s.beta.Start()
	want := monday.Add(3 * time.Hour).Format("20060102T150405Z")
	s.has(s.carol, uid, func(o *calendar.Object) error {
		if got := o.Master().Value("DTSTART"); got != want {
			return fmt.Errorf("carol's copy begins at %s, alice's at %s", got, want)
		}
		return nil
	})
	if err := s.alpha.Drained(patience); err != nil {
		t.Error(err)
	}
}
