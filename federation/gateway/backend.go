// Package gateway owns the wire to calendar systems that stand behind this
// server: a hosted domain may have its calendars in a backend. Messages for its
// people are handed to it by an authenticated HTTP POST of iTIP or by LMTP, and
// it submits its own messages at an endpoint of ours, which signs for the
// domain.
//
// It never stores calendar data, never lets a backend speak for another domain
// than its own, and never sends back to a backend what came from it. Whatever
// has not been taken by the backend for certain is a temporary failure of its
// recipients; the queue of who sent it tries again, with the same message id.
package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// Backend is where the people of a domain have their calendars.
type Backend struct {
	Domain string
	URL    string // https://…, lmtp://host:port
	Secret string // that we show to it
}

// Client hands messages to backends. It is safe for concurrent use.
type Client struct {
	Find    func(ctx context.Context, domain string) (Backend, bool, error)
	HTTP    *http.Client                           // goes through the hardened dialer
	Mail    func(addr string) scheduling.Transport // by LMTP; nil: no such backends
	Now     func() time.Time
	Timeout time.Duration // of one message: 30 s
}

var _ scheduling.Transport = (*Client)(nil)

const (
	maxAnswer = 1 << 20
	timeout   = 30 * time.Second
)

// CheckURL says what is wrong with the address of a backend.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("a backend is https://host/path or lmtp://host:port, without a password")
	}
	switch u.Scheme {
	case "https":
		return nil
	case "lmtp":
		if u.Port() != "" && (u.Path == "" || u.Path == "/") {
			return nil
		}
	}
	return errors.New("a backend is https://host/path or lmtp://host:port")
}

// Send hands one message over.
func (c *Client) Send(ctx context.Context, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	b, ok, err := c.Find(ctx, p.Domain)
	if err != nil {
		return nil, err
	}
	if !ok {
		return c.all(p.Recipients, "5.2;No way to deliver to this user", "the domain has no backend any more", false), nil
	}
	if strings.HasPrefix(b.URL, "lmtp:") {
		if c.Mail == nil {
			return c.all(p.Recipients, "5.2;No way to deliver to this user", "LMTP backends are switched off", false), nil
		}
		u, err := url.Parse(b.URL)
		if err != nil {
			return c.all(p.Recipients, "5.2;No way to deliver to this user", "the backend's address cannot be read", false), nil
		}
		res, err := c.Mail(u.Host).Send(ctx, p)
		for i := range res {
			res[i].Transport = "gateway"
		}
		return res, err
	}
	return c.post(ctx, b, p.Originator, p.Recipients, p.Method, p.Component, p.WireID, p.RequestID, p.Body), nil
}

// FreeBusy asks the backend; one that takes mail only cannot answer.
func (c *Client) FreeBusy(ctx context.Context, q scheduling.Question) ([]scheduling.RecipientResult, error) {
	b, ok, err := c.Find(ctx, q.Domain)
	if err != nil {
		return nil, err
	}
	if !ok || strings.HasPrefix(b.URL, "lmtp:") {
		return c.all(q.Recipients, "5.3;No scheduling support for user", "", false), nil
	}
	res := c.post(ctx, b, q.Originator, q.Recipients, "REQUEST", "VFREEBUSY", "", q.RequestID, q.Body)
	for i := range res {
		r := &res[i]
		switch {
		case len(r.Calendar) > 0 && strings.HasPrefix(r.Status, "2"):
			o, err := calendar.Parse(r.Calendar, calendar.DefaultLimits())
			if err != nil || o.Kind() != "VFREEBUSY" {
				r.Status, r.Calendar, r.Detail = "5.1;The answer of the backend cannot be read", nil, "no VFREEBUSY"
			}
		case strings.HasPrefix(r.Status, "1"), strings.HasPrefix(r.Status, "2"):
			r.Status = "5.1;The backend did not say when"
		}
	}
	return res, nil
}

// answer is what a backend may say, {"results": [{"recipient": …}]}. A plain
// 2xx without a body takes the message for everybody.
type answer struct {
	Results []struct {
		Recipient string `json:"recipient"`
		Status    string `json:"status"`
		Calendar  string `json:"calendar"`
		Detail    string `json:"detail"`
	} `json:"results"`
}

// post hands a message over by HTTP.
func (c *Client) post(ctx context.Context, b Backend, from calendar.Address, to []calendar.Address, method, component, id, requestID string, body []byte) []scheduling.RecipientResult {
	d := c.Timeout
	if d <= 0 {
		d = timeout
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began := c.Now()
	status, text, err := c.exchange(ctx, b, from, to, method, component, id, requestID, body)
	step := scheduling.Step{At: began, What: "post", Took: c.Now().Sub(began)}
	var out []scheduling.RecipientResult
	switch {
	case err != nil:
		step.Text = "the backend: " + oneLine(err.Error())
		out = c.all(to, "5.1;The backend did not answer", oneLine(err.Error()), true)
	case status/100 == 2:
		step.Text = fmt.Sprintf("the backend answered %d", status)
		out = c.read(to, text)
	case status == 408 || status == 425 || status == 429 || status/100 == 5 || status == 401 || status == 403:
		// A wrong secret is about our set-up: somebody will mend it.
		step.Text = fmt.Sprintf("the backend answered %d", status)
		out = c.all(to, "5.1;The backend is not ready", step.Text, true)
	default:
		step.Text = fmt.Sprintf("the backend answered %d", status)
		out = c.all(to, "5.1;The backend refused the message", step.Text, false)
	}
	for i := range out {
		out[i].Trace = []scheduling.Step{step}
	}
	return out
}

func (c *Client) exchange(ctx context.Context, b Backend, from calendar.Address, to []calendar.Address, method, component, id, requestID string, body []byte) (status int, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	h := req.Header
	h.Set("Authorization", "Bearer "+b.Secret)
	h.Set("Content-Type", "text/calendar; charset=utf-8; method="+method+"; component="+component)
	h.Set("Accept", "application/json")
	h.Set("Originator", headerText(string(from)))
	for _, a := range to {
		h.Add("Recipient", headerText(string(a)))
	}
	h.Set("Kalends-Domain", b.Domain)
	if id != "" {
		h.Set("Kalends-Message-ID", headerText(id))
	}
	if requestID != "" {
		h.Set("Kalends-Request-ID", headerText(requestID))
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the address, whose path may be private
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	return resp.StatusCode, text, err
}

// read takes the results of each recipient from an answer.
func (c *Client) read(to []calendar.Address, text []byte) []scheduling.RecipientResult {
	if len(bytes.TrimSpace(text)) == 0 {
		return c.all(to, "1.1;Sent", "", false)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return c.all(to, "5.1;The answer of the backend cannot be read", "no JSON", true)
	}
	out := c.all(to, "5.1;The backend said nothing of this recipient", "", true)
	for i := range out {
		for _, r := range a.Results {
			if calendar.Address(r.Recipient).Key() != out[i].Recipient.Key() || out[i].Recipient.Key() == "" {
				continue
			}
			x := &out[i]
			x.Status, x.Detail, x.Retry = requestStatus(r.Status), oneLine(r.Detail), false
			if r.Calendar != "" {
				x.Calendar = []byte(r.Calendar)
			}
		}
	}
	return out
}

// requestStatus is a status of iTIP (RFC 5546 §3.6), 5.1 when it is none.
func requestStatus(s string) string {
	code, text, _ := strings.Cut(oneLine(s), ";")
	code = strings.TrimSpace(code)
	if len(code) < 3 || len(code) > 8 || code[0] < '1' || code[0] > '5' || code[1] != '.' || strings.Trim(code, "0123456789.") != "" {
		return "5.1;The backend gave no status"
	}
	if text == "" {
		return code
	}
	return code + ";" + text
}

func (c *Client) all(to []calendar.Address, status, detail string, retry bool) []scheduling.RecipientResult {
	out := make([]scheduling.RecipientResult, len(to))
	for i, a := range to {
		out[i] = scheduling.RecipientResult{Recipient: a, Status: status, Detail: detail, Retry: retry, Transport: "gateway"}
	}
	return out
}

func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == ',' {
			return -1
		}
		return r
	}, s)
}

// oneLine bounds foreign text for traces and logs.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
	if r := []rune(s); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return s
}
