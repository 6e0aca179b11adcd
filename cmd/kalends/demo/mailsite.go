package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"

	"github.com/kalends/kalends/caldav/calendar"
)

// The mail site is what a person with nothing but e-mail has: an SMTP server
// for mail.test, and a mail program in which dave presses "accept". It knows
// SMTP and its own DKIM key, nothing of Kalends.

// mailEvent is a line that the mail site prints.
type mailEvent struct {
	Event   string `json:"event"` // ready, received, answered, error
	Port    int    `json:"port,omitempty"`
	Record  string `json:"record,omitempty"` // its own key record, for the DNS
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Subject string `json:"subject,omitempty"`
	Method  string `json:"method,omitempty"`
	UID     string `json:"uid,omitempty"`
	Proof   string `json:"proof,omitempty"`
	Text    string `json:"text,omitempty"`
}

// MailSite runs the mail site until its standard input ends. dnsAddr is its
// resolver; routes maps a domain to the host:port of its mail server.
func MailSite(dnsAddr string, in io.Reader, out io.Writer) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	m := &mailSite{dns: dnsAddr, key: key, events: json.NewEncoder(out), routes: map[string]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{site: m}, nil }))
	srv.Domain, srv.MaxMessageBytes, srv.ReadTimeout, srv.WriteTimeout = "mx.mail.test", 5<<20, 30*time.Second, 30*time.Second
	go func() { _ = srv.Serve(l) }()
	m.say(mailEvent{Event: "ready", Port: l.Addr().(*net.TCPAddr).Port, Record: "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)})
	// Lines on standard input are routes, "domain host:port"; its end is ours.
	lines := json.NewDecoder(in)
	for {
		var r struct{ Domain, Addr string }
		if err := lines.Decode(&r); err != nil {
			return srv.Close()
		}
		m.routes[r.Domain] = r.Addr
	}
}

type mailSite struct {
	dns    string
	key    *rsa.PrivateKey
	events *json.Encoder
	routes map[string]string
}

func (m *mailSite) say(e mailEvent) { _ = m.events.Encode(e) }

type mailSession struct {
	site *mailSite
	from string
	to   []string
}

func (s *mailSession) Reset()        { s.from, s.to = "", nil }
func (s *mailSession) Logout() error { return nil }
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to != "dave@mail.test" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox here"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	go s.site.read(raw)
	return nil
}

// read is dave: he looks who wrote, and answers an invitation.
func (m *mailSite) read(raw []byte) {
	e := mailEvent{Event: "received"}
	verdicts, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: m.lookupTXT})
	e.Proof = "no valid signature"
	for _, v := range verdicts {
		if v.Err == nil {
			e.Proof = "DKIM d=" + v.Domain
		}
	}
	if err != nil {
		e.Proof = "signature cannot be read: " + err.Error()
	}
	obj, head, err := calendarPart(raw)
	if err != nil {
		m.say(mailEvent{Event: "error", Text: err.Error()})
		return
	}
	e.From, e.To, e.Subject = head("From"), head("To"), head("Subject")
	e.Method, e.UID = obj.Method(), obj.UID()
	m.say(e)
	if obj.Method() != "REQUEST" {
		return
	}
	to, err := m.answer(obj)
	if err != nil {
		m.say(mailEvent{Event: "error", UID: e.UID, Text: "dave's answer could not be sent: " + err.Error()})
		return
	}
	m.say(mailEvent{Event: "answered", UID: e.UID, Method: "REPLY", To: to, Proof: "DKIM d=mail.test"})
}

// calendarPart finds the text/calendar part of a mail.
func calendarPart(raw []byte) (*calendar.Object, func(string) string, error) {
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	head := func(name string) string { v, _ := r.Header.Text(name); return v }
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, head, errors.New("the mail has no text/calendar part")
		}
		if err != nil {
			return nil, head, err
		}
		h, ok := p.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		if t, _, _ := h.ContentType(); t != "text/calendar" {
			continue
		}
		text, err := io.ReadAll(p.Body)
		if err != nil {
			return nil, head, err
		}
		o, err := calendar.Parse(text, calendar.DefaultLimits())
		return o, head, err
	}
}

// answer sends dave's acceptance as any mail program does: a signed mail with a
// REPLY to the address that stands in ORGANIZER.
func (m *mailSite) answer(req *calendar.Object) (string, error) {
	rep := calendar.NewObject("-//Dave's mail program//EN")
	rep.Add(calendar.NewProperty("METHOD", "REPLY"))
	organizer := ""
	for _, c := range req.Components() {
		k := calendar.NewComponent(c.Name)
		for _, name := range []string{"UID", "SEQUENCE", "RECURRENCE-ID", "ORGANIZER", "DTSTART", "DTEND", "SUMMARY"} {
			if p := c.Prop(name); p != nil {
				k.Add(p.Clone())
			}
		}
		organizer = calendar.Address(c.Value("ORGANIZER")).Email()
		k.Add(calendar.NewProperty("DTSTAMP", time.Now().UTC().Format("20060102T150405Z")))
		k.Add(calendar.NewProperty("ATTENDEE", "mailto:dave@mail.test", calendar.NewParam("CN", "Dave"), calendar.NewParam("PARTSTAT", "ACCEPTED")))
		rep.Children = append(rep.Children, k)
	}
	for _, z := range req.ChildrenNamed("VTIMEZONE") {
		rep.Children = append([]*calendar.Component{z}, rep.Children...)
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Dave <dave@mail.test>\r\nTo: <%s>\r\nSubject: Accepted\r\nDate: %s\r\nMessage-ID: <%s@mail.test>\r\nMIME-Version: 1.0\r\n", organizer, time.Now().Format(time.RFC1123Z), hex.EncodeToString(id[:]))
	fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=dave\r\n\r\n--dave\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDave has accepted.\r\n--dave\r\nContent-Type: text/calendar; method=REPLY; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	enc := base64.StdEncoding.EncodeToString(rep.Bytes())
	for len(enc) > 0 {
		n := min(76, len(enc))
		b.WriteString(enc[:n] + "\r\n")
		enc = enc[n:]
	}
	b.WriteString("--dave--\r\n")
	var signed bytes.Buffer
	if err := dkim.Sign(&signed, bytes.NewReader(b.Bytes()), &dkim.SignOptions{Domain: "mail.test", Selector: "dave", Signer: m.key, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"}}); err != nil {
		return organizer, err
	}
	_, domain, _ := strings.Cut(organizer, "@")
	addr, ok := m.routes[domain]
	if !ok {
		return organizer, fmt.Errorf("no mail server is known for %s", domain)
	}
	c, err := smtp.Dial(addr) // loopback; the signature proves the mail, not the connection
	if err != nil {
		return organizer, err
	}
	defer c.Close()
	if err := c.SendMail("dave@mail.test", []string{organizer}, &signed); err != nil {
		return organizer, err
	}
	return organizer, c.Quit()
}

// lookupTXT asks the demo's DNS.
func (m *mailSite) lookupTXT(name string) ([]string, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	c := dns.Client{Net: "tcp", Timeout: 2 * time.Second}
	ans, _, err := c.ExchangeContext(context.Background(), q, m.dns)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range ans.Answer {
		if t, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(t.Txt, ""))
		}
	}
	if out == nil {
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	return out, nil
}
