package imip

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// certificate is a self-signed certificate for a host name and the pool that
// trusts it.
func certificate(t testing.TB, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := edKey(9)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(entropy(9), tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// postOffice is a submission server that keeps what it gets.
type postOffice struct {
	mu     sync.Mutex
	mails  []posted
	conns  int
	logins []string
	refuse map[string]error // by recipient, "from:" address, or "data"
	mechs  []string
	cut    bool // break the connection instead of answering the message
}

type posted struct {
	from string
	to   []string
	data []byte
	tls  bool
}

type desk struct {
	o    *postOffice
	c    *smtp.Conn
	mail posted
}

func (o *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conns++
	return &desk{o: o, c: c}, nil
}

func (d *desk) Reset()        { d.mail = posted{} }
func (d *desk) Logout() error { return nil }
func (d *desk) Mail(from string, _ *smtp.MailOptions) error {
	_, secure := d.c.TLSConnectionState()
	d.mail = posted{from: from, tls: secure}
	return d.o.refuse["from:"+from]
}
func (d *desk) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := d.o.refuse[to]; err != nil {
		return err
	}
	d.mail.to = append(d.mail.to, to)
	return nil
}
func (d *desk) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if d.o.cut {
		_ = d.c.Conn().Close()
		return nil
	}
	if err := d.o.refuse["data"]; err != nil {
		return err
	}
	d.mail.data = b
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	d.o.mails = append(d.o.mails, d.mail)
	return nil
}
func (d *desk) AuthMechanisms() []string { return d.o.mechs }
func (d *desk) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		d.o.mu.Lock()
		defer d.o.mu.Unlock()
		d.o.logins = append(d.o.logins, mech+" "+user+" "+password)
		if password != "secret/" {
			return smtp.ErrAuthFailed
		}
		return nil
	}
	if mech == sasl.Plain {
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	}
	return &loginServer{check: check}, nil
}

// loginServer is the server's side of LOGIN, which the library lacks.
type loginServer struct {
	check func(user, password string) error
	user  *string
	begun bool
}

func (l *loginServer) Next(resp []byte) ([]byte, bool, error) {
	switch {
	case !l.begun && len(resp) == 0:
		l.begun = true
		return []byte("Username:"), false, nil
	case l.user == nil:
		l.begun = true
		s := string(resp)
		l.user = &s
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(*l.user, string(resp))
}

func (o *postOffice) start(t testing.TB, tlsConfig *tls.Config, implicit bool) (addr string) {
	t.Helper()
	srv := smtp.NewServer(o)
	srv.TLSConfig = tlsConfig
	srv.AllowInsecureAuth = true
	srv.Domain = "mx.mail.test"
	srv.ErrorLog = quiet{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if implicit {
		l = tls.NewListener(l, tlsConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String()
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// faraway makes a connection look as if it went to another machine.
type faraway struct{ net.Conn }

func (faraway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 587} }

func dialTo(addr string, far bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil && far {
			return faraway{c}, nil
		}
		return c, err
	}
}

var letterText = []byte("From: a@alpha.test\r\n\r\n.\r\nhello\r\n")

func TestSubmitSecurity(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t, "mx.mail.test")
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	trusting := &tls.Config{RootCAs: pool}
	for name, c := range map[string]struct {
		url        string
		offer      *tls.Config
		implicit   bool
		far        bool
		tls        *tls.Config
		allowPlain bool
		mechs      []string
		want       error
		secure     bool
		login      string
	}{
		"plain on loopback":                  {url: "smtp://mx.mail.test"},
		"login in plain on loopback":         {url: "smtp://bob:secret%2F@mx.mail.test", mechs: []string{"PLAIN"}, login: "PLAIN bob secret/"},
		"STARTTLS offered on loopback":       {url: "smtp://mx.mail.test", offer: server, secure: true},
		"STARTTLS far away":                  {url: "smtp://bob:secret%2F@mx.mail.test:587", offer: server, far: true, tls: trusting, secure: true, mechs: []string{"LOGIN"}, login: "LOGIN bob secret/"},
		"both mechanisms":                    {url: "smtp://bob:secret%2F@mx.mail.test", offer: server, far: true, tls: trusting, secure: true, mechs: []string{"LOGIN", "PLAIN"}, login: "PLAIN bob secret/"},
		"STARTTLS, unknown certificate":      {url: "smtp://mx.mail.test", offer: server, far: true, want: ErrTemporary},
		"STARTTLS, other host":               {url: "smtp://mail.other.test", offer: server, far: true, tls: trusting, want: ErrTemporary},
		"no STARTTLS far away":               {url: "smtp://mx.mail.test", far: true, want: ErrInsecure},
		"no STARTTLS far away, allowed":      {url: "smtp://mx.mail.test", far: true, allowPlain: true},
		"allowed, but not with a password":   {url: "smtp://bob:secret%2F@mx.mail.test", far: true, allowPlain: true, mechs: []string{"PLAIN"}, want: ErrInsecure},
		"implicit TLS":                       {url: "smtps://mx.mail.test", offer: server, implicit: true, far: true, tls: trusting, secure: true},
		"implicit TLS, unknown certificate":  {url: "smtps://mx.mail.test", offer: server, implicit: true, want: ErrTemporary},
		"wrong password":                     {url: "smtp://bob:wrong@mx.mail.test", mechs: []string{"PLAIN"}, login: "PLAIN bob wrong", want: ErrTemporary},
		"password without a known mechanism": {url: "smtp://bob:secret@mx.mail.test", mechs: []string{"XOAUTH2"}, want: ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &postOffice{mechs: c.mechs}
			addr := o.start(t, c.offer, c.implicit)
			s, err := NewSubmitter(SubmitConfig{URL: c.url, Dial: dialTo(addr, c.far), TLS: c.tls, AllowPlain: c.allowPlain, Hello: "alpha.test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			res, err := s.Send(t.Context(), "a@alpha.test", []string{"dave@mail.test"}, letterText)
			o.mu.Lock()
			defer o.mu.Unlock()
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if got := strings.Join(o.logins, "|"); got != c.login {
				t.Errorf("login %q, want %q", got, c.login)
			}
			if err != nil {
				if len(o.mails) > 0 || !res[0].Temporary || res[0].Err == nil {
					t.Errorf("%d mails, %+v", len(o.mails), res[0])
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the password is told: %v", err)
				}
				return
			}
			if len(o.mails) != 1 || o.mails[0].tls != c.secure || !bytes.Equal(o.mails[0].data, letterText) || res[0].Err != nil || res[0].Code != 250 {
				t.Errorf("%+v %+v", o.mails, res)
			}
		})
	}
}

func TestSubmitterConfig(t *testing.T) {
	t.Parallel()
	dial := dialTo("", false)
	for _, url := range []string{"", "http://x", "smtp://", "smtp://x/path", "smtp://x?y", "smtp://u:p%zz@x", "mail.test"} {
		if _, err := NewSubmitter(SubmitConfig{URL: url, Dial: dial}); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "p%zz") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string]string{"smtp://x": "x:587", "smtps://x": "x:465", "smtp://[::1]:2525": "[::1]:2525"} {
		if s, err := NewSubmitter(SubmitConfig{URL: url, Dial: dial}); err != nil || s.Server() != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestSubmitResults(t *testing.T) {
	t.Parallel()
	o := &postOffice{refuse: map[string]error{
		"gone@mail.test":        &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"},
		"full@mail.test":        &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"},
		"odd@mail.test":         &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"},
		"plain@mail.test":       &smtp.SMTPError{Code: 550, EnhancedCode: smtp.NoEnhancedCode, Message: "nobody"},
		"from:bad@alpha.test":   &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not yours"},
		"from:later@alpha.test": &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"},
	}}
	s, err := NewSubmitter(SubmitConfig{URL: "smtp://mx.mail.test", Dial: dialTo(o.start(t, nil, false), false)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Send(t.Context(), "a@alpha.test", []string{"gone@mail.test", "ok@mail.test", "full@mail.test", "odd@mail.test", "plain@mail.test"}, letterText)
	if err != nil {
		t.Fatal(err)
	}
	want := []SubmitResult{
		{Recipient: "gone@mail.test", Code: 550, Enhanced: "5.1.1", Text: "no such user"},
		{Recipient: "ok@mail.test", Code: 250},
		{Recipient: "full@mail.test", Code: 452, Enhanced: "4.2.2", Text: "mailbox full", Temporary: true},
		{Recipient: "odd@mail.test", Code: 550, Enhanced: "4.7.1", Text: "greylisted", Temporary: true},
		{Recipient: "plain@mail.test", Code: 550, Text: "nobody"},
	}
	for i, w := range want {
		g := res[i]
		if g.Recipient != w.Recipient || g.Code != w.Code || g.Temporary != w.Temporary || (g.Err == nil) != (w.Code == 250) ||
			w.Code != 250 && (g.Enhanced != w.Enhanced || g.Text != w.Text) {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	if len(o.mails) != 1 || strings.Join(o.mails[0].to, " ") != "ok@mail.test" {
		t.Errorf("%+v", o.mails)
	}
	if res, err := s.Send(t.Context(), "bad@alpha.test", []string{"ok@mail.test"}, letterText); err == nil || res[0].Temporary || res[0].Enhanced != "5.7.1" {
		t.Errorf("sender refused: %v %+v", err, res)
	}
	if res, err := s.Send(t.Context(), "later@alpha.test", []string{"ok@mail.test"}, letterText); err == nil || !res[0].Temporary {
		t.Errorf("sender deferred: %v %+v", err, res)
	}
	o.refuse["data"] = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "spam"}
	if res, err := s.Send(t.Context(), "a@alpha.test", []string{"ok@mail.test"}, letterText); err != nil || res[0].Temporary || res[0].Code != 554 {
		t.Errorf("message refused: %v %+v", err, res)
	}
	delete(o.refuse, "data")
	if o.conns != 1 {
		t.Errorf("%d connections for 4 mails", o.conns)
	}
	// A message after which the connection breaks may have been taken: it is
	// temporary, and not repeated at once.
	o.cut = true
	before := o.conns
	if res, err := s.Send(t.Context(), "a@alpha.test", []string{"ok@mail.test"}, letterText); !errors.Is(err, errUnknownOutcome) || !res[0].Temporary {
		t.Errorf("connection cut: %v %+v", err, res)
	}
	if o.conns != before {
		t.Error("sent again after an unknown outcome")
	}
}

func TestSubmitReuse(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	o := &postOffice{}
	addr := o.start(t, nil, false)
	var dialed []net.Conn
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		dialed = append(dialed, c)
		return c, err
	}
	s, err := NewSubmitter(SubmitConfig{URL: "smtp://mx.mail.test", Dial: dial, PerConn: 3, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		if res, err := s.Send(t.Context(), "a@alpha.test", []string{"dave@mail.test"}, letterText); err != nil || res[0].Err != nil {
			t.Fatalf("%v %+v", err, res)
		}
	}
	for range 4 {
		send()
	}
	if len(dialed) != 2 {
		t.Errorf("%d connections for 4 mails at 3 each", len(dialed))
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	send()
	if len(dialed) != 3 {
		t.Errorf("%d connections: an old one was used again", len(dialed))
	}
	_ = dialed[2].Close() // gone behind our back
	send()
	if len(dialed) != 4 || len(o.mails) != 6 {
		t.Errorf("%d connections, %d mails", len(dialed), len(o.mails))
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	_ = s.Close()
}

func TestSubmitCancelled(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := NewSubmitter(SubmitConfig{URL: "smtp://mx.mail.test", Dial: func(c context.Context, n, a string) (net.Conn, error) {
		conn, err := dialTo(l.Addr().String(), false)(c, n, a)
		cancel()
		return conn, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Send(ctx, "a@alpha.test", []string{"dave@mail.test"}, letterText)
	if !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) || !res[0].Temporary {
		t.Errorf("%v %+v", err, res)
	}
}
