package federation

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// calendarSystem is a backend of the domain gate.test that keeps what it gets.
type calendarSystem struct {
	mu     sync.Mutex
	secret string
	got    []*calendar.Object
	from   []string
	slow   time.Duration
	wrong  int
}

func (c *calendarSystem) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+c.secret {
		c.wrong++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	o, err := calendar.Parse(body, calendar.DefaultLimits())
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	time.Sleep(c.slow)
	type line struct {
		Recipient string `json:"recipient"`
		Status    string `json:"status"`
		Calendar  string `json:"calendar,omitempty"`
	}
	var out struct {
		Results []line `json:"results"`
	}
	for _, to := range r.Header.Values("Recipient") {
		l := line{Recipient: to, Status: "2.0;Success"}
		if !strings.HasPrefix(to, "mailto:gina@") {
			l.Status = "3.7;Invalid calendar user"
		} else if o.Kind() == "VFREEBUSY" {
			l.Calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Backend//EN\r\nMETHOD:REPLY\r\nBEGIN:VFREEBUSY\r\nUID:" + o.UID() + "\r\nDTSTAMP:20260101T000000Z\r\nORGANIZER:" + r.Header.Get("Originator") + "\r\nATTENDEE:" + to + "\r\nDTSTART:" + monday.Format("20060102T150405Z") + "\r\nDTEND:" + monday.Add(24*time.Hour).Format("20060102T150405Z") + "\r\nFREEBUSY:" + monday.Format("20060102T150405Z") + "/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
		}
		out.Results = append(out.Results, l)
	}
	c.got, c.from = append(c.got, o), append(c.from, r.Header.Get("Originator"))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// last waits for a message about a UID.
func (c *calendarSystem) last(t *testing.T, uid, method string) *calendar.Object {
	t.Helper()
	var found *calendar.Object
	blackbox.Must(t, patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, o := range c.got {
			if o.UID() == uid && o.Method() == method {
				found = o
			}
		}
		if found == nil {
			return fmt.Errorf("the backend has %d messages, no %s about %s (%d with a wrong secret)", len(c.got), method, uid, c.wrong)
		}
		return nil
	})
	return found
}

// TestGateway: gate.test is hosted by alpha.test and has its calendars in
// another system. What alice (on the same server) and carol (elsewhere) send to
// its people reaches that system; what it submits goes to both, signed for
// gate.test; busy times come from it; and nothing goes around in circles (A33).
func TestGateway(t *testing.T) {
	s := newScene(t)
	const gina = "mailto:gina@gate.test"
	cert, key := filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem")
	s.w.CA.Issue(t, "backend.test", cert, key)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	system := &calendarSystem{}
	srv := &http.Server{Handler: system, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	go func() { _ = srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = srv.Close() })
	s.w.DNS.Change(func(w *discovertest.World) { w.Addr["backend.test"] = []string{"127.0.0.1"} })
	text, err := s.alpha.Command("", "domain", "add", "gate.test", "--role", "gateway", "--json", "--backend", "https://backend.test:"+l.Addr().String()[strings.LastIndex(l.Addr().String(), ":")+1:]+"/itip")
	if err != nil {
		t.Fatal(err)
	}
	var shown struct{ Secret, Token string }
	if err := json.Unmarshal([]byte(text), &shown); err != nil || len(shown.Secret) < 32 || len(shown.Token) < 32 || shown.Secret == shown.Token {
		t.Fatalf("%v: %s", err, text)
	}
	system.secret = shown.Secret
	s.alpha.PublishDomain("gate.test")
	time.Sleep(6 * time.Second) // a running server reads its domains every five seconds

	// In: from a neighbour on the same server, and from another organization.
	for _, from := range []*blackbox.User{s.alice, s.carol} {
		uid := "to-gina-from-" + from.Name
		path := from.Path(uid + ".ics")
		if err := from.MustPut(path, (blackbox.Event{UID: uid, Start: monday, Organizer: from.Address, Attendees: []string{gina, "mailto:nobody@gate.test"}}).String()); err != nil {
			t.Fatal(err)
		}
		system.last(t, uid, "REQUEST")
		blackbox.Must(t, patience, func() error {
			o, err := from.Get(path)
			if err != nil {
				return err
			}
			_, ok := blackbox.Attendee(o, gina)
			_, none := blackbox.Attendee(o, "mailto:nobody@gate.test")
			if !strings.HasPrefix(ok, "1.2") || !strings.HasPrefix(none, "3.7") {
				return fmt.Errorf("%s: gina %s, nobody %s", uid, ok, none)
			}
			return nil
		})
	}

	// Out: gina's system answers, and invites both.
	submit := func(token, body string, head ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/gateway/gate.test", s.alpha.HTTP), strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
		req.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i+1 < len(head); i += 2 {
			req.Header.Add(head[i], head[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	message := func(method, uid, people string) string {
		return "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Backend//EN\nMETHOD:" + method + "\nBEGIN:VEVENT\nUID:" + uid + "\nDTSTAMP:" + time.Now().UTC().Format("20060102T150405Z") + "\nDTSTART:" + monday.Format("20060102T150405Z") + "\nDURATION:PT1H\nSUMMARY:From the other system\n" + people + "END:VEVENT\nEND:VCALENDAR\n"
	}
	for _, to := range []*blackbox.User{s.alice, s.carol} {
		uid := "to-gina-from-" + to.Name
		if code, text := submit(shown.Token, message("REPLY", uid, "ORGANIZER:"+to.Address+"\nATTENDEE;PARTSTAT=ACCEPTED:"+gina+"\n")); code != 200 || !strings.Contains(text, `"status"`) {
			t.Fatalf("%d %s", code, text)
		}
		blackbox.Must(t, patience, func() error {
			o, err := to.Get(to.Path(uid + ".ics"))
			if err != nil {
				return err
			}
			if p, st := blackbox.Attendee(o, gina); p != "ACCEPTED" || !strings.HasPrefix(st, "2.0") {
				return fmt.Errorf("%s: %s %s", uid, p, st)
			}
			return nil
		})
	}
	invitation := message("REQUEST", "from-gina", "ORGANIZER:"+gina+"\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:"+s.alice.Address+"\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:"+s.carol.Address+"\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:dave@mail.test\n")
	code, first := submit(shown.Token, invitation)
	if code != 200 || strings.Count(first, "1.1;Queued") != 2 {
		t.Fatalf("%d %s", code, first)
	}
	for _, to := range []*blackbox.User{s.alice, s.carol} {
		blackbox.Must(t, patience, func() error {
			f, err := to.Copy("from-gina")
			if err == nil && f == nil {
				err = errors.New(to.Name + " has no copy of gina's invitation")
			}
			return err
		})
		if err := to.Answer("from-gina", "ACCEPTED"); err != nil {
			t.Fatal(err)
		}
	}
	system.last(t, "from-gina", "REPLY")
	m, err := s.mail.Wait(patience, func(m blackbox.Mail) bool { return m.Calendar != nil && m.Calendar.UID() == "from-gina" })
	if err != nil || !strings.Contains(m.Header("From"), "gina@gate.test") || !strings.Contains(m.Header("DKIM-Signature"), "d=gate.test") {
		t.Errorf("the mail to dave: %v, From %s, %s", err, m.Header("From"), m.Header("DKIM-Signature"))
	}
	if !strings.Contains(s.beta.Log(), "gate.test") {
		t.Log("beta's log does not name the signer") // its deliveries say so below
	}

	// A33: the same again sends nothing; what came from others is not taken
	// back; people of the own domain are the backend's own.
	mails := len(s.mail.Mails())
	if code, again := submit(shown.Token, invitation); code != 200 || again != first {
		t.Errorf("again: %d %s, first %s", code, again, first)
	}
	if code, text := submit(shown.Token, message("REQUEST", "x", "ORGANIZER:"+s.alice.Address+"\nATTENDEE:"+gina+"\n")); code != 403 {
		t.Errorf("alice's message submitted by the backend: %d %s", code, text)
	}
	if code, text := submit(shown.Token, message("REQUEST", "x", "ORGANIZER:"+s.alice.Address+"\nATTENDEE:"+gina+"\n"), "Originator", gina, "Recipient", s.carol.Address); code != 403 {
		t.Errorf("the same under gina's name: %d %s", code, text)
	}
	if code, text := submit(shown.Token, message("REQUEST", "own", "ORGANIZER:"+gina+"\nATTENDEE:mailto:greg@gate.test\n")); code != 200 || !strings.Contains(text, "5.3") {
		t.Errorf("to its own people: %d %s", code, text)
	}
	for _, wrong := range []string{"", "x", shown.Secret, strings.ToUpper(shown.Token)} {
		if code, text := submit(wrong, invitation); code != 401 {
			t.Errorf("token %q: %d %s", wrong, code, text)
		}
	}
	if n := len(s.mail.Mails()); n != mails {
		t.Errorf("%d more mails", n-mails)
	}

	// Busy times: the backend's, from both sides, and honestly none when it is away.
	ask := func(u *blackbox.User) string {
		t.Helper()
		q := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:busy\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:" + monday.Format("20060102T150405Z") + "\r\nDTEND:" + monday.Add(24*time.Hour).Format("20060102T150405Z") + "\r\nORGANIZER:" + u.Address + "\r\nATTENDEE:" + gina + "\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
		a, err := u.Do("POST", "/dav/calendars/"+u.Name+"/outbox/", q, "Content-Type", "text/calendar; charset=utf-8", "Originator", u.Address, "Recipient", gina)
		if err != nil {
			t.Fatal(err)
		}
		return string(a.Body)
	}
	for _, u := range []*blackbox.User{s.alice, s.carol} {
		if got := ask(u); !strings.Contains(got, "2.0") || !strings.Contains(got, monday.Format("20060102T150405Z")+"/PT1H") {
			t.Errorf("%s is told: %s", u.Name, got)
		}
	}
	if code, text := submit(shown.Token, "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//t//EN\nMETHOD:REQUEST\nBEGIN:VFREEBUSY\nUID:b\nDTSTAMP:20260101T000000Z\nDTSTART:"+monday.Format("20060102T150405Z")+"\nDTEND:"+monday.Add(24*time.Hour).Format("20060102T150405Z")+"\nORGANIZER:"+gina+"\nATTENDEE:"+s.alice.Address+"\nEND:VFREEBUSY\nEND:VCALENDAR\n"); code != 200 || !strings.Contains(text, "VFREEBUSY") {
		t.Errorf("the backend asks for alice's busy time: %d %s", code, text)
	}
	_ = srv.Close()
	for _, u := range []*blackbox.User{s.alice, s.carol} {
		if got := ask(u); strings.Contains(got, "2.0;") || !strings.Contains(got, "5.1") {
			t.Errorf("without the backend %s is told: %s", u.Name, got)
		}
	}
	for _, secret := range []string{shown.Secret, shown.Token} {
		if strings.Contains(s.alpha.Log(), secret) { // A53
			t.Error("a secret stands in the log")
		}
	}
}
