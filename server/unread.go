package server

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// A client that is refused before its body was read may still be sending it,
// and many read nothing before they have sent everything. RFC 9112 §9.6: a
// connection that is closed meanwhile is reset, and with it the answer is lost.
// So the rest is read and thrown away before the answer leaves, but not much of
// it and not for long (abuse A15).
const (
	unreadOctets = 32 << 20
	unreadTime   = 15 * time.Second // in all
	unreadPause  = 5 * time.Second  // until the next octet
)

// requestBody notes how far the body of a request was read.
type requestBody struct {
	io.ReadCloser
	begun, ended bool
}

// watchBody makes r.Body tell how far it was read; nil when there is nothing to
// throw away afterwards: HTTP/2 ends a stream without losing its answer.
func watchBody(r *http.Request) *requestBody {
	if r.ContentLength == 0 || r.ProtoMajor != 1 {
		return nil
	}
	b := &requestBody{ReadCloser: r.Body}
	r.Body = b
	return b
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.begun = true
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// discard reads what is left of the body, within the limits above. RFC 9110
// §10.1.1: a client that waits for 100 (Continue) sends nothing after another
// answer; reading would ask it to.
func (b *requestBody) discard(w http.ResponseWriter, expects bool) {
	if b == nil || b.ended || expects && !b.begun {
		return
	}
	conn := http.NewResponseController(w)
	end := time.Now().Add(unreadTime)
	buf := make([]byte, 32<<10)
	for left := unreadOctets; left > 0; {
		until := time.Now().Add(unreadPause)
		if until.After(end) {
			until = end
		}
		if conn.SetReadDeadline(until) != nil {
			return
		}
		n, err := b.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}
