package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-smtp"

	"github.com/kalends/kalends/caldav/calendar"
)

// Mail is a mail that a catcher took.
type Mail struct {
	From      string // of the envelope
	To        []string
	MessageID string
	Header    func(name string) string
	Raw       []byte
	Calendar  *calendar.Object // of the text/calendar part; nil when there is none
}

// Catcher is a mail server that keeps what it gets.
type Catcher struct {
	Addr string // host:port

	mu     sync.Mutex
	mails  []Mail
	slow   time.Duration
	nobody string // prefix of addresses that are refused
}

// NewCatcher runs one until the end of the test.
func NewCatcher(t testing.TB) *Catcher { t.Helper(); return newCatcher(t, false) }

// NewLMTPCatcher runs one that speaks LMTP.
func NewLMTPCatcher(t testing.TB) *Catcher { t.Helper(); return newCatcher(t, true) }

func newCatcher(t testing.TB, lmtp bool) *Catcher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Catcher{Addr: l.Addr().String()}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &catch{c: c}, nil }))
	srv.LMTP, srv.Domain, srv.ReadTimeout, srv.WriteTimeout = lmtp, "mail.test", time.Minute, time.Minute
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return c
}

// URL is what KALENDS_SMTP_URL wants.
func (c *Catcher) URL() string { return "smtp://" + c.Addr }

// Mails are those taken so far.
func (c *Catcher) Mails() []Mail {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mails)
}

// Slow makes the catcher wait between taking a mail and saying so.
func (c *Catcher) Slow(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow = d
}

// Refuse makes the catcher know no mailbox whose address begins so.
func (c *Catcher) Refuse(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nobody = prefix
}

// Wait waits for a mail that match accepts.
func (c *Catcher) Wait(limit time.Duration, match func(Mail) bool) (Mail, error) {
	var found Mail
	err := Wait(limit, func() error {
		all := c.Mails()
		for _, m := range all {
			if match(m) {
				found = m
				return nil
			}
		}
		return fmt.Errorf("none of %d mails is the expected one", len(all))
	})
	return found, err
}

type catch struct {
	c    *Catcher
	from string
	to   []string
}

func (s *catch) Reset()        { s.from, s.to = "", nil }
func (s *catch) Logout() error { return nil }

func (s *catch) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }

func (s *catch) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.nobody != "" && strings.HasPrefix(to, s.c.nobody) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox here"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *catch) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := ReadMail(raw)
	if err != nil {
		return err
	}
	m.From, m.To = s.from, slices.Clone(s.to)
	s.c.mu.Lock()
	s.c.mails = append(s.c.mails, m)
	slow := s.c.slow
	s.c.mu.Unlock()
	time.Sleep(slow)
	return nil
}

// ReadMail reads a mail with its first text/calendar part.
func ReadMail(raw []byte) (Mail, error) {
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		return Mail{}, err
	}
	m := Mail{Raw: raw, Header: func(name string) string { v, _ := r.Header.Text(name); return v }}
	m.MessageID = strings.Trim(m.Header("Message-Id"), "<> ")
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		h, ok := p.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		if kind, _, _ := h.ContentType(); kind != "text/calendar" || m.Calendar != nil {
			continue
		}
		text, err := io.ReadAll(p.Body)
		if err != nil {
			return m, err
		}
		if m.Calendar, err = calendar.Parse(text, calendar.DefaultLimits()); err != nil {
			return m, err
		}
	}
}

// SendLMTP hands a mail to the listener of a node, as its mail server does.
func SendLMTP(port int, from, to string, raw []byte) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := errors.Join(c.Hello("mx.alpha.test"), c.Mail(from, nil), c.Rcpt(to, nil)); err != nil {
		return err
	}
	d, err := c.Data()
	if err != nil {
		return err
	}
	_, err = d.Write(raw)
	return errors.Join(err, d.Close())
}
