package imip

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// ListenConfig says how mail comes in.
type ListenConfig struct {
	LMTP       bool   // RFC 2033: an answer per recipient; for the mail server next door
	Hostname   string // in greetings
	TLS        *tls.Config
	Recipients int           // per mail: 100
	Timeout    time.Duration // of reading and writing: 1 min
	Deliver    time.Duration // of handling one mail: 1 min
	// Trusted are the networks our own mail server connects from; its
	// Authentication-Results are believed. Loopback and Unix sockets always
	// count, and so does everybody on an LMTP listener, which must not be open
	// to the world.
	Trusted []netip.Prefix
}

// Server is an LMTP or SMTP listener in front of an Intake. It takes mail for
// the Intake's recipients and nothing else; it offers no authentication.
type Server struct {
	srv    *smtp.Server
	cancel context.CancelFunc
}

// NewServer returns a server; Serve starts it.
func NewServer(in *Intake, cfg ListenConfig) *Server {
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Deliver <= 0 {
		cfg.Deliver = time.Minute
	}
	if cfg.Recipients <= 0 {
		cfg.Recipients = 100
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s := &session{ctx: ctx, in: in, cfg: &cfg, believe: cfg.LMTP || trusted(c.Conn().RemoteAddr(), cfg.Trusted)}
		if cfg.LMTP {
			return &lmtpSession{s}, nil
		}
		return s, nil
	}))
	srv.LMTP = cfg.LMTP
	srv.Domain = cfg.Hostname
	srv.TLSConfig = cfg.TLS
	srv.MaxRecipients = cfg.Recipients
	srv.MaxMessageBytes = int64(in.Limits.withDefaults().Bytes)
	srv.MaxLineLength = 4000
	srv.ReadTimeout, srv.WriteTimeout = cfg.Timeout, cfg.Timeout
	srv.ErrorLog = errorLog{in.log()}
	return &Server{srv: srv, cancel: cancel}
}

// Serve accepts connections until the listener or the server is closed, and
// then returns nil.
func (s *Server) Serve(l net.Listener) error {
	err := s.srv.Serve(l)
	if errors.Is(err, smtp.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening and waits for mails in hand until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.srv.Shutdown(ctx)
	s.cancel()
	if err != nil {
		_ = s.srv.Close()
	}
	if errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

func trusted(a net.Addr, nets []netip.Prefix) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return a != nil && strings.HasPrefix(a.Network(), "unix")
	}
	ip := tcp.AddrPort().Addr().Unmap()
	for _, n := range nets {
		if n.Contains(ip) {
			return true
		}
	}
	return ip.IsLoopback()
}

type errorLog struct{ log *slog.Logger }

func (e errorLog) Printf(format string, v ...any) {
	e.log.Warn("mail listener: " + fmt.Sprintf(format, v...))
}
func (e errorLog) Println(v ...any) {
	e.log.Warn("mail listener: " + strings.TrimSpace(fmt.Sprintln(v...)))
}

// session is one SMTP transaction after the other.
type session struct {
	ctx     context.Context
	in      *Intake
	cfg     *ListenConfig
	believe bool
	env     Envelope
}

// lmtpSession answers for each recipient (RFC 2033 §4.2).
type lmtpSession struct{ *session }

var (
	_ smtp.Session     = (*session)(nil)
	_ smtp.LMTPSession = (*lmtpSession)(nil)
)

func (s *session) Reset()        { s.env = Envelope{} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.env = Envelope{From: from, BelieveHeader: s.believe}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Deliver)
	defer cancel()
	if err := s.in.Accepts(ctx, to); err != nil {
		return err
	}
	s.env.Recipients = append(s.env.Recipients, to)
	return nil
}

// Data handles the mail of an SMTP client, which gets one answer for all. When
// one recipient asks for another try, all get it again: Receive knows the
// Message-ID and applies nothing twice.
func (s *session) Data(r io.Reader) error {
	results, err := s.deliver(r)
	if err != nil {
		return err
	}
	var worst error
	for _, err := range results {
		var e *smtp.SMTPError
		if errors.As(err, &e) && e.Temporary() {
			return err
		}
		if err == nil {
			continue
		}
		worst = err
	}
	for _, err := range results {
		if err == nil {
			return nil
		}
	}
	return worst
}

// LMTPData handles the mail of an LMTP client.
func (s *lmtpSession) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	results, err := s.deliver(r)
	if err != nil {
		return err
	}
	for i, err := range results {
		status.SetStatus(s.env.Recipients[i], err)
	}
	return nil
}

func (s *session) deliver(r io.Reader) ([]error, error) {
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Deliver)
	defer cancel()
	return s.in.Deliver(ctx, s.env, buf.Bytes()), nil
}
