package imip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SubmitConfig says how mail is handed over (RFC 6409).
type SubmitConfig struct {
	URL string // smtp://[user:password@]host[:port] (587) or smtps://… (465)
	// Dial opens a connection; the hardened dialer of the server. Required.
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS   *tls.Config // roots and minimum; ServerName is set here
	Hello string      // our name in EHLO: "localhost"
	// AllowPlain lets mail (never a password) go without TLS to a server that
	// is not on loopback and offers none.
	AllowPlain bool
	Command    time.Duration // for an answer to a command: 30 s
	Data       time.Duration // for the answer to the message: 2 min
	Idle       time.Duration // a connection is used again within: 30 s
	PerConn    int           // messages over one connection: 50
	Conns      int           // idle connections kept: 4
	Now        func() time.Time
}

// SubmitResult is what the server said about one recipient.
type SubmitResult struct {
	Recipient string
	Err       error  // nil: accepted
	Temporary bool   // with Err: trying again may help
	Code      int    // SMTP reply code, 0 when there was none
	Enhanced  string // RFC 3463 code, "" when there was none
	Text      string // the server's words
}

// Submitter hands mails to a submission server. It is safe for concurrent use.
type Submitter struct {
	cfg            SubmitConfig
	host, addr     string
	implicit       bool // smtps
	user, password string

	mu     sync.Mutex
	idle   []*submitConn
	closed bool
}

type submitConn struct {
	c    *smtp.Client
	net  net.Conn
	used int
	last time.Time
}

// NewSubmitter checks the configuration; it does not connect.
func NewSubmitter(cfg SubmitConfig) (*Submitter, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil { // its text holds the URL and so the password
		return nil, fmt.Errorf("%w: the SMTP URL cannot be read", ErrConfig)
	}
	s := &Submitter{cfg: cfg, host: u.Hostname(), implicit: u.Scheme == "smtps"}
	port := u.Port()
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, fmt.Errorf("%w: the SMTP URL must begin with smtp:// or smtps://", ErrConfig)
	case s.host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, fmt.Errorf("%w: the SMTP URL must be smtp[s]://[user:password@]host[:port]", ErrConfig)
	case cfg.Dial == nil:
		return nil, fmt.Errorf("%w: no dialer", ErrConfig)
	case port == "" && s.implicit:
		port = "465"
	case port == "":
		port = "587"
	}
	s.addr = net.JoinHostPort(s.host, port)
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&s.cfg.Command, 30*time.Second)
	def(&s.cfg.Data, 2*time.Minute)
	def(&s.cfg.Idle, 30*time.Second)
	if s.cfg.PerConn <= 0 {
		s.cfg.PerConn = 50
	}
	if s.cfg.Conns <= 0 {
		s.cfg.Conns = 4
	}
	if s.cfg.Now == nil {
		s.cfg.Now = time.Now
	}
	if s.cfg.Hello == "" {
		s.cfg.Hello = "localhost"
	}
	return s, nil
}

// Server is host:port, for traces.
func (s *Submitter) Server() string { return s.addr }

// Close ends the idle connections.
func (s *Submitter) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	return nil
}

// Check connects, greets and signs in, and sends nothing.
func (s *Submitter) Check(ctx context.Context) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	stop := c.watch(ctx)
	defer stop()
	return c.c.Noop()
}

// Send hands msg over for the recipients and returns one result for each, in
// their order. from "" is the null sender. The error is set when nothing was
// said about single recipients: no connection, or the sender or the whole
// message was refused; then every result carries it too.
func (s *Submitter) Send(ctx context.Context, from string, to []string, msg []byte) ([]SubmitResult, error) {
	c, reused, err := s.take(ctx)
	if err != nil {
		return failAll(to, err), err
	}
	out, err := s.send(ctx, c, from, to, msg)
	if e := smtpError(err); reused && err != nil && (e == nil || e.Code == 421) && ctx.Err() == nil && !errors.Is(err, errUnknownOutcome) {
		// The server had closed the idle connection: that says nothing about
		// this mail, which is tried once more over a fresh one.
		c.close()
		if c, err = s.connect(ctx); err != nil {
			return failAll(to, err), err
		}
		out, err = s.send(ctx, c, from, to, msg)
	}
	s.give(c, err == nil || smtpError(err) != nil)
	if err != nil {
		return failAll(to, err), err
	}
	return out, nil
}

// errUnknownOutcome marks a connection that broke after the message was sent
// and before the answer came: the server may have taken it.
var errUnknownOutcome = errors.New("imip: the connection broke before the server's answer")

func (s *Submitter) send(ctx context.Context, c *submitConn, from string, to []string, msg []byte) ([]SubmitResult, error) {
	stop := c.watch(ctx)
	defer stop()
	if c.used > 0 {
		if err := c.c.Reset(); err != nil {
			return nil, classify(ctx, err)
		}
	}
	c.used++
	if err := c.c.Mail(from, &smtp.MailOptions{Size: int64(len(msg))}); err != nil {
		return nil, classify(ctx, err)
	}
	out := make([]SubmitResult, len(to))
	accepted := 0
	for i, rcpt := range to {
		err := c.c.Rcpt(rcpt, nil)
		if err != nil && smtpError(err) == nil {
			return nil, classify(ctx, err)
		}
		out[i] = result(rcpt, err)
		if err == nil {
			accepted++
		}
	}
	if accepted == 0 {
		return out, nil
	}
	w, err := c.c.Data()
	if err != nil {
		return nil, classify(ctx, err)
	}
	if _, err := w.Write(msg); err != nil {
		return nil, classify(ctx, err)
	}
	resp, err := w.CloseWithResponse()
	if err != nil {
		if smtpError(err) == nil {
			err = fmt.Errorf("%w: %w: %w", ErrTemporary, errUnknownOutcome, err)
			return nil, err
		}
	}
	for i := range out {
		if out[i].Err == nil {
			out[i] = result(to[i], err)
			if err == nil {
				out[i].Code, out[i].Enhanced, out[i].Text = 250, "2.0.0", cleanLine(resp.StatusText, 300)
			}
		}
	}
	return out, nil
}

// result makes a result of the server's answer to one recipient.
func result(rcpt string, err error) SubmitResult {
	r := SubmitResult{Recipient: rcpt}
	if err == nil {
		return r
	}
	r.Err = err
	e := smtpError(err)
	if e == nil { // nobody judged this mail
		r.Temporary = true
		r.Text = cleanLine(err.Error(), 300)
		return r
	}
	r.Code, r.Text = e.Code, cleanLine(e.Message, 300)
	if e.EnhancedCode[0] > 0 {
		r.Enhanced = fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	// RFC 5321 §4.2.1; a server that contradicts itself is tried again. 552
	// to RCPT used to mean "too many recipients" (§4.5.3.1.10) and is not
	// told apart, since we send one recipient a mail.
	r.Temporary = e.Code/100 == 4 || e.EnhancedCode[0] == 4 || e.Code/100 != 5
	return r
}

func failAll(to []string, err error) []SubmitResult {
	out := make([]SubmitResult, len(to))
	for i, rcpt := range to {
		out[i] = result(rcpt, err)
	}
	return out
}

func smtpError(err error) *smtp.SMTPError {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// classify makes a broken connection a temporary failure and leaves the
// server's own words alone.
func classify(ctx context.Context, err error) error {
	if err == nil || smtpError(err) != nil || errors.Is(err, ErrTemporary) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTemporary, ctx.Err())
	}
	return fmt.Errorf("%w: %w", ErrTemporary, err)
}

// take returns an idle connection or a new one.
func (s *Submitter) take(ctx context.Context) (c *submitConn, reused bool, err error) {
	now := s.cfg.Now()
	var stale []*submitConn
	s.mu.Lock()
	for len(s.idle) > 0 && c == nil {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if now.Sub(last.last) < s.cfg.Idle {
			c = last
		} else {
			stale = append(stale, last)
		}
	}
	s.mu.Unlock()
	for _, old := range stale {
		old.close()
	}
	if c != nil {
		return c, true, nil
	}
	c, err = s.connect(ctx)
	return c, false, err
}

// give puts a connection back for the next mail, or ends it.
func (s *Submitter) give(c *submitConn, usable bool) {
	c.last = s.cfg.Now()
	s.mu.Lock()
	keep := usable && !s.closed && c.used < s.cfg.PerConn && len(s.idle) < s.cfg.Conns
	if keep {
		s.idle = append(s.idle, c)
	}
	s.mu.Unlock()
	if !keep {
		if usable {
			c.c.CommandTimeout = time.Second
			_ = c.c.Quit()
		}
		c.close()
	}
}

func (c *submitConn) close() {
	_ = c.c.Close()
	_ = c.net.Close()
}

// watch breaks the connection when ctx ends.
func (c *submitConn) watch(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = c.net.Close() })
}

// connect dials, secures the connection and signs in.
func (s *Submitter) connect(ctx context.Context) (*submitConn, error) {
	c, err := s.open(ctx, false)
	if errors.Is(err, errUpgrade) {
		c, err = s.open(ctx, true)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		// What the server says before it knows of any mail, "wrong password"
		// for one, is about our set-up: somebody will mend it.
		text := err.Error()
		if errors.Is(err, ErrInsecure) || errors.Is(err, ErrConfig) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
		}
		return nil, fmt.Errorf("%w: %s: %s", ErrTemporary, s.addr, text)
	}
	return c, nil
}

// errUpgrade: a server on loopback turned out to offer STARTTLS.
var errUpgrade = errors.New("imip: STARTTLS is offered")

func (s *Submitter) open(ctx context.Context, upgrade bool) (*submitConn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, s.cfg.Command)
	defer cancel()
	conn, err := s.cfg.Dial(dialCtx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	loopback := isLoopback(conn)
	c, err := s.greet(conn, loopback, upgrade)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := s.signIn(c, loopback); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &submitConn{c: c, net: conn}, nil
}

// greet makes conn an SMTP session: with TLS from the start, by STARTTLS, or
// in plain text where that is allowed. TLS is demanded of everything that is
// not on loopback, whatever it offers, so that nobody on the way can strip it.
func (s *Submitter) greet(conn net.Conn, loopback, upgrade bool) (*smtp.Client, error) {
	plain := !s.implicit && (loopback || s.cfg.AllowPlain) && !upgrade
	var c *smtp.Client
	switch {
	case s.implicit:
		c = s.client(tls.Client(conn, s.tls(false)))
	case plain:
		c = s.client(conn)
	default:
		_ = conn.SetDeadline(time.Now().Add(s.cfg.Command)) // a socket's clock is the real one
		var err error
		c, err = smtp.NewClientStartTLS(conn, s.tls(loopback))
		if err != nil {
			if strings.Contains(err.Error(), "doesn't support STARTTLS") { // the library has no error value for it
				return nil, fmt.Errorf("%w: %s", ErrInsecure, s.addr)
			}
			return nil, err
		}
		c.CommandTimeout, c.SubmissionTimeout = s.cfg.Command, s.cfg.Data
	}
	if err := c.Hello(s.cfg.Hello); err != nil {
		_ = c.Close()
		return nil, err
	}
	if plain {
		if ok, _ := c.Extension("STARTTLS"); ok {
			// The library secures a connection only in its first step.
			_ = c.Quit()
			_ = c.Close()
			return nil, errUpgrade
		}
	}
	return c, nil
}

func (s *Submitter) client(conn net.Conn) *smtp.Client {
	c := smtp.NewClient(conn)
	c.CommandTimeout, c.SubmissionTimeout = s.cfg.Command, s.cfg.Data
	return c
}

// tls is the configuration for this server. On loopback plain text would do,
// and mail servers there have names no certificate carries, so only what the
// operator configured is checked.
func (s *Submitter) tls(unchecked bool) *tls.Config {
	cfg := s.cfg.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.ServerName == "" {
		cfg.ServerName = s.host
	}
	if unchecked {
		cfg.InsecureSkipVerify = true
	}
	return cfg
}

// signIn authenticates when a user is configured. A password goes only over
// TLS or to loopback.
func (s *Submitter) signIn(c *smtp.Client, loopback bool) error {
	if s.user == "" {
		return nil
	}
	if _, secure := c.TLSConnectionState(); !secure && !loopback {
		return fmt.Errorf("%w: the password is not sent in clear", ErrInsecure)
	}
	if ok, mechs := c.Extension("AUTH"); ok {
		list := strings.Fields(strings.ToUpper(mechs))
		switch {
		case slices.Contains(list, sasl.Plain):
			return c.Auth(sasl.NewPlainClient("", s.user, s.password))
		case slices.Contains(list, sasl.Login):
			return c.Auth(sasl.NewLoginClient(s.user, s.password))
		}
	}
	return fmt.Errorf("%w: the mail server takes no password by PLAIN or LOGIN", ErrConfig)
}

func isLoopback(conn net.Conn) bool {
	switch a := conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}
