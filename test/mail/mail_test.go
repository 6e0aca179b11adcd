package mail

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/miekg/dns"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

const patience = 30 * time.Second

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

// scene is alpha.test with Kalends behind Postfix, and dave@mail.test, who has
// mail only.
type scene struct {
	t         *testing.T
	w         *blackbox.World
	n         *blackbox.Node
	alice     *blackbox.User
	post      *postfix
	outside   *blackbox.Catcher // of mail.test
	mailboxes *blackbox.Catcher // of alpha.test
	key       *rsa.PrivateKey   // of mail.test
}

func newScene(t *testing.T, env ...string) *scene {
	t.Helper()
	t.Parallel()
	lmtp := blackbox.Port(t)
	s := &scene{t: t, w: blackbox.NewWorld(t), outside: blackbox.NewCatcher(t), mailboxes: blackbox.NewCatcher(t)}
	s.outside.Refuse("nobody@")
	s.post = newPostfix(t, lmtp, s.mailboxes, s.outside)
	s.n = s.w.Node("alpha.test", "", append([]string{"KALENDS_SMTP_URL=smtp://" + s.post.Addr, fmt.Sprintf("KALENDS_LMTP_LISTEN=127.0.0.1:%d", lmtp)}, env...)...)
	s.n.Start()
	s.n.Publish()
	s.n.People("alice", "bob")
	s.alice = s.n.User("alice")
	var err error
	if s.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	s.w.DNS.Change(func(w *discovertest.World) {
		w.TXT["dave._domainkey.mail.test"] = [][]string{{record[:200], record[200:]}}
	})
	return s
}

// invite lets alice invite people, and returns the path of her event.
func (s *scene) invite(uid string, people ...string) string {
	s.t.Helper()
	path := s.alice.Path(uid + ".ics")
	if err := s.alice.MustPut(path, (blackbox.Event{UID: uid, Start: noon, Organizer: s.alice.Address, Attendees: people}).String()); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// arrived waits for a mail about a UID at mail.test.
func (s *scene) arrived(uid, method string) blackbox.Mail {
	s.t.Helper()
	m, err := s.outside.Wait(patience, func(m blackbox.Mail) bool {
		return m.Calendar != nil && m.Calendar.UID() == uid && m.Calendar.Method() == method
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// status waits for what alice's event says of a person.
func (s *scene) status(path, address string, want func(partstat, status string) bool) {
	s.t.Helper()
	blackbox.Must(s.t, patience, func() error {
		o, err := s.alice.Get(path)
		if err != nil {
			return err
		}
		if p, st := blackbox.Attendee(o, address); !want(p, st) {
			return fmt.Errorf("alice's event says PARTSTAT %s, SCHEDULE-STATUS %s of %s", p, st, address)
		}
		return nil
	})
}

// reply is dave's answer to an invitation.
func reply(m blackbox.Mail, partstat string) (organizer string, o *calendar.Object) {
	o = calendar.NewObject("-//Dave's mail program//EN")
	o.Add(calendar.NewProperty("METHOD", "REPLY"))
	for _, c := range m.Calendar.Components() {
		k := calendar.NewComponent(c.Name)
		for _, name := range []string{"UID", "SEQUENCE", "ORGANIZER", "DTSTART", "DTEND", "SUMMARY"} {
			if p := c.Prop(name); p != nil {
				k.Add(p.Clone())
			}
		}
		organizer = calendar.Address(c.Value("ORGANIZER")).Email()
		k.Add(calendar.NewProperty("DTSTAMP", time.Now().UTC().Format("20060102T150405Z")))
		k.Add(calendar.NewProperty("ATTENDEE", "mailto:dave@mail.test", calendar.NewParam("PARTSTAT", partstat)))
		o.Children = append(o.Children, k)
	}
	return organizer, o
}

// send is dave's mail program: it hands a calendar message to alpha.test's mail
// server, signed by mail.test or not.
func (s *scene) send(to string, o *calendar.Object, signed bool) {
	s.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Dave <dave@mail.test>\r\nTo: <%s>\r\nSubject: About %s\r\nDate: %s\r\nMessage-ID: <%d@mail.test>\r\nMIME-Version: 1.0\r\n", to, o.UID(), time.Now().Format(time.RFC1123Z), time.Now().UnixNano())
	fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=dave\r\n\r\n--dave\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee the calendar.\r\n--dave\r\nContent-Type: text/calendar;\r\n method=%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n", o.Method())
	for enc := base64.StdEncoding.EncodeToString(o.Bytes()); len(enc) > 0; {
		n := min(76, len(enc))
		b.WriteString(enc[:n] + "\r\n")
		enc = enc[n:]
	}
	b.WriteString("--dave--\r\n")
	if signed {
		var out bytes.Buffer
		if err := dkim.Sign(&out, bytes.NewReader(b.Bytes()), &dkim.SignOptions{Domain: "mail.test", Selector: "dave", Signer: s.key, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"}}); err != nil {
			s.t.Fatal(err)
		}
		b = out
	}
	if err := smtp.SendMail(s.post.Addr, nil, "dave@mail.test", []string{to}, b.Bytes()); err != nil {
		s.t.Fatal(err)
	}
}

// signedBy checks the signature of a mail by the world's DNS.
func (s *scene) signedBy(m blackbox.Mail, domain string) error {
	verdicts, err := dkim.VerifyWithOptions(bytes.NewReader(m.Raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		q := new(dns.Msg)
		q.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
		a, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(q, s.w.DNS.Addr())
		if err != nil {
			return nil, err
		}
		var out []string
		for _, rr := range a.Answer {
			out = append(out, strings.Join(rr.(*dns.TXT).Txt, ""))
		}
		if out == nil {
			return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
		}
		return out, nil
	}})
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.Err == nil && v.Domain == domain {
			return nil
		}
	}
	return fmt.Errorf("%d signatures, none of %s holds", len(verdicts), domain)
}

// TestCopies: answers go to alice's mailbox as any mail does, and Postfix gives
// Kalends a copy.
func TestCopies(t *testing.T) {
	s := newScene(t)
	const dave, nobody = "mailto:dave@mail.test", "mailto:nobody@mail.test"
	path := s.invite("copies", dave, nobody)
	m := s.arrived("copies", "REQUEST")
	if err := s.signedBy(m, "alpha.test"); err != nil {
		t.Errorf("the invitation, after its way through Postfix: %v", err)
	}
	organizer, answer := reply(m, "ACCEPTED")
	if organizer != "alice@alpha.test" {
		t.Errorf("the organizer is %s", organizer)
	}
	s.send(organizer, answer, true)
	s.status(path, dave, func(p, st string) bool { return p == "ACCEPTED" && strings.HasPrefix(st, "2.0") })
	in, err := s.mailboxes.Wait(patience, func(m blackbox.Mail) bool {
		return m.Calendar != nil && m.Calendar.Method() == "REPLY"
	})
	if err != nil || len(in.To) != 1 || in.To[0] != "alice@alpha.test" {
		t.Errorf("alice's mailbox: %v %v", in.To, err)
	}

	// What Postfix could not deliver comes home in this mode too.
	s.status(path, nobody, func(p, st string) bool { return p == "NEEDS-ACTION" && strings.HasPrefix(st, "5.1") })

	// Anybody can write dave's name.
	_, forged := reply(m, "DECLINED")
	s.send(organizer, forged, false)
	blackbox.Must(t, patience, func() error {
		if !strings.Contains(s.n.Log(), "mail kept for its recipient") {
			return errors.New("the unsigned answer has not come in")
		}
		return nil
	})
	s.status(path, dave, func(p, st string) bool { return p == "ACCEPTED" })

	// An invitation from outside reaches the calendar.
	o, err := calendar.Parse([]byte(strings.Replace((blackbox.Event{UID: "from-outside", Start: noon.Add(3 * time.Hour), Organizer: dave, Attendees: []string{s.alice.Address}}).String(), "BEGIN:VEVENT", "METHOD:REQUEST\r\nBEGIN:VEVENT", 1)), calendar.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	s.send("alice@alpha.test", o, true)
	blackbox.Must(t, patience, func() error {
		f, err := s.alice.Copy("from-outside")
		if err == nil && f == nil {
			err = errors.New("alice has no copy of dave's invitation")
		}
		return err
	})
	// Her answer goes out by mail.
	if err := s.alice.Answer("from-outside", "ACCEPTED"); err != nil {
		t.Fatal(err)
	}
	back := s.arrived("from-outside", "REPLY")
	if p, _ := blackbox.Attendee(back.Calendar, s.alice.Address); p != "ACCEPTED" || back.To[0] != "dave@mail.test" {
		t.Errorf("alice's answer says %s, to %v", p, back.To)
	}
	for _, m := range s.mailboxes.Mails() {
		for _, to := range m.To {
			if strings.HasPrefix(to, "calendar") {
				t.Errorf("a copy for Kalends ended in a mailbox: %s", to)
			}
		}
	}
}

// TestGateway: answers and bounces come to an address that stands for the
// event and the attendee.
func TestGateway(t *testing.T) {
	s := newScene(t, "KALENDS_MAIL_GATEWAY=alpha.test")
	const dave, nobody = "mailto:dave@mail.test", "mailto:nobody@mail.test"
	path := s.invite("gateway", dave, nobody)
	m := s.arrived("gateway", "REQUEST")
	organizer, answer := reply(m, "TENTATIVE")
	if !strings.HasPrefix(organizer, "calendar+") || !strings.HasSuffix(organizer, "@alpha.test") || len(organizer) < len("calendar+@alpha.test")+20 {
		t.Fatalf("the organizer is %s; want an address with a token", organizer)
	}
	if m.From == organizer || !strings.HasPrefix(m.From, "calendar+") || !strings.Contains(m.Header("From"), organizer) {
		t.Errorf("envelope %s, From %s; want an address for bounces, and %s", m.From, m.Header("From"), organizer)
	}
	s.send(organizer, answer, true)
	s.status(path, dave, func(p, st string) bool { return p == "TENTATIVE" && strings.HasPrefix(st, "2.0") })
	s.status(path, nobody, func(p, st string) bool { return p == "NEEDS-ACTION" && strings.HasPrefix(st, "5.1") })

	// A token is no proof of who answers.
	_, forged := reply(m, "DECLINED")
	s.send(organizer, forged, false)
	blackbox.Must(t, patience, func() error {
		if !strings.Contains(s.n.Log(), "mail kept for its recipient") {
			return errors.New("the unsigned answer has not come in")
		}
		return nil
	})
	s.status(path, dave, func(p, st string) bool { return p == "TENTATIVE" })
	if n := len(s.mailboxes.Mails()); n != 0 {
		t.Errorf("%d mails ended in mailboxes", n)
	}
}
