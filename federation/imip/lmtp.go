package imip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// LMTP hands mails to one LMTP server (RFC 2033), as a backend behind us is.
// It is for the server next door: there is neither TLS nor a password.
type LMTP struct {
	Addr    string // host:port
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Hello   string
	Timeout time.Duration // of one mail: 30 s
}

var _ Sending = (*LMTP)(nil)

// Server is the address of the server.
func (l *LMTP) Server() string { return "lmtp " + l.Addr }

// Send hands over one mail.
func (l *LMTP) Send(ctx context.Context, from string, to []string, msg []byte) ([]SubmitResult, error) {
	d := l.Timeout
	if d <= 0 {
		d = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	conn, err := l.Dial(ctx, "tcp", l.Addr)
	if err != nil {
		return failAll(to, classify(ctx, err)), err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	refused := map[string]error{}
	err = func() error {
		if err := c.Hello(l.Hello); err != nil {
			return err
		}
		if err := c.Mail(from, nil); err != nil {
			return err
		}
		taken := 0
		for _, rcpt := range to {
			if err := c.Rcpt(rcpt, nil); err != nil {
				if smtpError(err) == nil {
					return err
				}
				refused[rcpt] = err
				continue
			}
			taken++
		}
		if taken == 0 {
			return nil
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(bytes.ReplaceAll(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))); err != nil {
			return err
		}
		_, err = w.CloseWithLMTPResponse()
		var each smtp.LMTPDataError
		if errors.As(err, &each) {
			for rcpt, e := range each {
				if e != nil {
					refused[rcpt] = e
				}
			}
			return nil
		}
		return err
	}()
	if err != nil {
		return failAll(to, classify(ctx, err)), err
	}
	_ = c.Quit()
	out := make([]SubmitResult, len(to))
	for i, rcpt := range to {
		out[i] = result(rcpt, refused[rcpt])
		if refused[rcpt] == nil {
			out[i].Code, out[i].Text = 250, "taken"
		}
	}
	return out, nil
}
