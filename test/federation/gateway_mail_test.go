package federation

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

// TestGatewayByMail: the calendars of gate.test are in a system that takes
// mails by LMTP. Messages of neighbours, of another organization and proven
// mail for its people are handed to it; it answers by the authenticated
// endpoint; nothing goes around in circles (A33), and forged mail is refused
// (A31).
func TestGatewayByMail(t *testing.T) {
	s := newScene(t)
	const gina = "mailto:gina@gate.test"
	system, lmtp := blackbox.NewLMTPCatcher(t), blackbox.Port(t)
	s.alpha.Stop()
	s.alpha.Set(fmt.Sprintf("KALENDS_LMTP_LISTEN=127.0.0.1:%d", lmtp), "KALENDS_MAIL_TRUSTED_AUTHSERV=mx.alpha.test")
	text, err := s.alpha.Command("", "domain", "add", "gate.test", "--role", "gateway", "--json", "--backend", "lmtp://"+system.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var shown struct{ Secret, Token, Submit string }
	if err := json.Unmarshal([]byte(text), &shown); err != nil || !strings.HasSuffix(shown.Submit, "/gateway/gate.test") {
		t.Fatalf("%v: %s", err, text)
	}
	s.alpha.Start()
	s.alpha.PublishDomain("gate.test")
	taken := func(uid, method string) blackbox.Mail {
		t.Helper()
		m, err := system.Wait(patience, func(m blackbox.Mail) bool {
			return m.Calendar != nil && m.Calendar.UID() == uid && m.Calendar.Method() == method
		})
		if err != nil {
			t.Fatalf("%s %s: %v", method, uid, err)
		}
		return m
	}
	message := func(method, uid, people string) string {
		return strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Backend//EN\nMETHOD:"+method+"\nBEGIN:VEVENT\nUID:"+uid+"\nDTSTAMP:"+time.Now().UTC().Format("20060102T150405Z")+"\nDTSTART:"+monday.Format("20060102T150405Z")+"\nDURATION:PT1H\nSUMMARY:From another system\n"+people+"END:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
	}
	submit := func(body string) string {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/gateway/gate.test", s.alpha.HTTP), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"text/calendar; charset=utf-8"}, "Authorization": {"Bearer " + shown.Token}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s", resp.StatusCode, b)
	}

	// From a neighbour and from another organization; the answers.
	for _, from := range []*blackbox.User{s.alice, s.carol} {
		uid := "to-gina-from-" + from.Name
		path := from.Path(uid + ".ics")
		if err := from.MustPut(path, (blackbox.Event{UID: uid, Start: monday, Organizer: from.Address, Attendees: []string{gina}}).String()); err != nil {
			t.Fatal(err)
		}
		m := taken(uid, "REQUEST")
		if len(m.To) != 1 || m.To[0] != "gina@gate.test" || m.Calendar.Master().Value("ORGANIZER") != from.Address || m.Header("Kalends-Loop") == "" {
			t.Errorf("to %v, organizer %s, loop mark %q", m.To, m.Calendar.Master().Value("ORGANIZER"), m.Header("Kalends-Loop"))
		}
		if got := submit(message("REPLY", uid, "ORGANIZER:"+from.Address+"\nATTENDEE;PARTSTAT=TENTATIVE:"+gina+"\n")); !strings.HasPrefix(got, "200 ") {
			t.Fatal(got)
		}
		blackbox.Must(t, patience, func() error {
			o, err := from.Get(path)
			if err != nil {
				return err
			}
			if p, st := blackbox.Attendee(o, gina); p != "TENTATIVE" || !strings.HasPrefix(st, "2.0") {
				return fmt.Errorf("%s: %s %s", uid, p, st)
			}
			return nil
		})
	}
	// It cannot be asked for busy times.
	a, err := s.alice.Do("POST", s.alice.Home()+"outbox/", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:busy\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:"+monday.Format("20060102T150405Z")+"\r\nDTEND:"+monday.Add(24*time.Hour).Format("20060102T150405Z")+"\r\nORGANIZER:"+s.alice.Address+"\r\nATTENDEE:"+gina+"\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n", "Content-Type", "text/calendar; charset=utf-8")
	if err != nil || !strings.Contains(string(a.Body), "5.3;") {
		t.Errorf("busy times: %s %v", a.Body, err)
	}

	// Mail for gina that comes to our listener.
	send := func(raw []byte, from, to string) error {
		return blackbox.SendLMTP(lmtp, from, to, raw)
	}
	letter := func(proof, uid string) []byte {
		return []byte("Authentication-Results: mx.alpha.test; dmarc=" + proof + " header.from=mail.test\r\nFrom: dave@mail.test\r\nTo: gina@gate.test\r\nMessage-ID: <" + uid + "@mail.test>\r\nMIME-Version: 1.0\r\nSubject: Tea\r\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\r\n\r\n" +
			message("REQUEST", uid, "ORGANIZER:mailto:dave@mail.test\nATTENDEE;RSVP=TRUE:"+gina+"\n"))
	}
	if err := send(letter("pass", "tea"), "dave@mail.test", "gina@gate.test"); err != nil {
		t.Error(err)
	}
	taken("tea", "REQUEST")
	if err := send(letter("fail", "forged"), "dave@mail.test", "gina@gate.test"); err == nil || !strings.Contains(err.Error(), "unproven") {
		t.Errorf("forged mail: %v", err)
	}
	if err := send(letter("pass", "x"), "dave@mail.test", "gina@other.test"); err == nil {
		t.Error("mail for a domain that is not ours was taken")
	}
	// Her answer goes out by mail, signed for her domain.
	if got := submit(message("REPLY", "tea", "ORGANIZER:mailto:dave@mail.test\nATTENDEE;PARTSTAT=ACCEPTED:"+gina+"\n")); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	m, err := s.mail.Wait(patience, func(m blackbox.Mail) bool { return m.Calendar != nil && m.Calendar.UID() == "tea" })
	if err != nil || !strings.Contains(m.Header("DKIM-Signature"), "d=gate.test") || !strings.Contains(m.Header("From"), "gina@gate.test") {
		t.Errorf("%v: From %s", err, m.Header("From"))
	}

	// A33: the system sends on what it was given, to alice and to itself.
	n := len(system.Mails())
	back := taken("to-gina-from-carol", "REQUEST")
	for _, to := range []string{"alice@alpha.test", "gina@gate.test"} {
		if err := send(append([]byte("Authentication-Results: mx.alpha.test; dmarc=pass header.from=alpha.test\r\n"), back.Raw...), back.From, to); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if got := submit(message("REQUEST", "own", "ORGANIZER:"+gina+"\nATTENDEE:mailto:greg@gate.test\n")); !strings.Contains(got, "5.3") {
		t.Errorf("to its own people: %s", got)
	}
	if f, err := s.alice.Copy("to-gina-from-carol"); err != nil || f != nil {
		t.Errorf("what was sent on reached alice: %v", err)
	}
	time.Sleep(500 * time.Millisecond)
	if got := len(system.Mails()); got != n {
		t.Errorf("%d more mails to the system", got-n)
	}
}
