package ischedule

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// zone answers key lookups as the vectors' DNS would.
type zone struct {
	txt     map[string]json.RawMessage // owner -> [][]string or "SERVFAIL"
	private map[string]string          // "s._domainkey.d" -> record
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }

func (z zone) Keys(_ context.Context, domain, selector string, methods []string) ([]string, error) {
	owner := strings.ToLower(selector + "._domainkey." + domain)
	if rec, ok := z.private[owner]; ok {
		return []string{rec}, nil
	}
	if !slices.Contains(methods, "dns/txt") {
		return nil, errors.New("no usable method")
	}
	for name, raw := range z.txt {
		if !strings.EqualFold(name, owner) {
			continue
		}
		if raw[0] == '"' {
			return nil, temporary{errors.New("SERVFAIL")}
		}
		var records [][]string
		if err := json.Unmarshal(raw, &records); err != nil {
			return nil, err
		}
		var out []string
		for _, r := range records {
			out = append(out, strings.Join(r, ""))
		}
		return out, nil
	}
	return nil, nil
}

// serials is a SerialStore in memory.
type serials struct {
	mu     sync.Mutex
	digest string
	n      int64
	since  time.Time
	err    error
}

func (s *serials) CapabilitiesSerial(_ context.Context, digest string, now time.Time) (int64, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, time.Time{}, s.err
	}
	if digest != s.digest {
		s.digest, s.since = digest, now
		s.n++
	}
	return s.n, s.since, nil
}

// desk is a Receiver that knows some users and remembers what it was handed,
// repeated requests as package scheduling promises.
type desk struct {
	mu    sync.Mutex
	users calendar.AddressSet
	got   []scheduling.Inbound
	seen  map[string][]scheduling.RecipientResult
	ids   map[string]string
	err   error
}

func newDesk(users ...calendar.Address) *desk {
	return &desk{users: calendar.NewAddressSet(users...), seen: map[string][]scheduling.RecipientResult{}, ids: map[string]string{}}
}

func (d *desk) Receive(_ context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, d.err
	}
	o := in.Once
	sig := "s " + o.Domain + " " + o.Selector + " " + o.SignatureHash
	id := "i " + o.Domain + " " + o.MessageID + " " + o.BodyHash + " " + o.Recipients
	if r, ok := d.seen[sig]; ok {
		return r, nil
	}
	if o.MessageID != "" {
		if r, ok := d.seen[id]; ok {
			return r, nil
		}
		if b, ok := d.ids[o.Domain+" "+o.MessageID]; ok && b != o.BodyHash {
			return nil, scheduling.ErrReplayConflict
		}
		d.ids[o.Domain+" "+o.MessageID] = o.BodyHash
	}
	d.got = append(d.got, in)
	var out []scheduling.RecipientResult
	for _, r := range in.Recipients {
		res := scheduling.RecipientResult{Recipient: r, Status: "3.7;Invalid calendar user"}
		if d.users.Has(r) {
			res.Status = "2.0;Success"
			if in.Message.Kind() == "VFREEBUSY" {
				res.Calendar = []byte("BEGIN:VCALENDAR\r\nMETHOD:REPLY\r\nEND:VCALENDAR\r\n")
			}
		}
		out = append(out, res)
	}
	d.seen[sig] = out
	d.seen[id] = out
	return out, nil
}

func (d *desk) AnswerFreeBusy(ctx context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	return d.Receive(ctx, in)
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got)
}

// raw sends octets as they are and reads the answer.
func raw(t testing.TB, srv *httptest.Server, request []byte) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	go conn.Write(request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// bench signs requests for alice@north.example and sends them to a receiver
// for south.example.
type bench struct {
	t       testing.TB
	cfg     HandlerConfig
	desk    *desk
	signer  dkim.Signer
	now     time.Time
	verdict Verdict
	srv     *httptest.Server
}

func newBench(t testing.TB, change func(*HandlerConfig)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1770000030, 0), desk: newDesk("mailto:bob@south.example", "mailto:carol@south.example")}
	key := testKey(t, "k2048")
	rec, err := dkim.MarshalKeyRecord(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	b.signer = dkim.Signer{Domain: "north.example", Selector: "k1", Key: key}
	b.cfg = HandlerConfig{
		Receiver: b.desk,
		Keys:     zone{private: map[string]string{"k1._domainkey.north.example": rec, "k1._domainkey.east.example": rec}},
		Serial:   &serials{},
		Now:      func() time.Time { return b.now },
		Local:    func(d string) bool { return d == "south.example" },
		Observe:  func(v Verdict) { b.verdict = v },
	}
	if change != nil {
		change(&b.cfg)
	}
	b.srv = httptest.NewServer(NewHandler(b.cfg))
	t.Cleanup(b.srv.Close)
	return b
}

func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(vectorFile(t, "keys/"+name+".pem"))
	if block == nil {
		t.Fatal("no PEM in " + name)
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

// vevent is a message with the given lines inside its VEVENT.
func vevent(method string, lines ...string) string {
	return ical(method, "VEVENT", append([]string{"DTSTART:20260210T090000Z", "DTEND:20260210T100000Z", "SUMMARY:Review"}, lines...)...)
}

func ical(method, component string, lines ...string) string {
	all := []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", "METHOD:" + method, "BEGIN:" + component,
		"UID:u1", "DTSTAMP:20260202T020000Z"}
	all = append(all, lines...)
	all = append(all, "END:"+component, "END:VCALENDAR", "")
	return strings.Join(all, "\r\n")
}

const (
	orgAlice = "ORGANIZER:mailto:alice@north.example"
	attBob   = "ATTENDEE:mailto:bob@south.example"
)

// request is a POST in the making: fields in sending order.
type request struct {
	fields   []dkim.Header
	body     string
	unsigned []dkim.Header // added behind the signature
}

func invitation(body string) *request {
	return &request{
		fields: []dkim.Header{
			{Name: "Content-Type", Value: "text/calendar; charset=utf-8; component=VEVENT; method=REQUEST"},
			{Name: "iSchedule-Version", Value: "1.0"},
			{Name: "iSchedule-Message-ID", Value: "id-1"},
			{Name: "Originator", Value: "mailto:alice@north.example"},
			{Name: "Recipient", Value: "mailto:bob@south.example"},
		},
		body: body,
	}
}

func (r *request) set(name, value string) *request {
	for i := range r.fields {
		if strings.EqualFold(r.fields[i].Name, name) {
			r.fields[i].Value = value
			return r
		}
	}
	r.fields = append(r.fields, dkim.Header{Name: name, Value: value})
	return r
}

// send signs and sends; the answer is read for the given recipients.
func (b *bench) send(r *request, sent ...calendar.Address) (*http.Response, Answer) {
	b.t.Helper()
	sig, err := b.signer.Sign(append([]dkim.Header{{Name: "Host", Value: "cal.south.example"}}, r.fields...), []byte(r.body), b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	var buf bytes.Buffer
	buf.WriteString("POST /ischedule HTTP/1.1\r\nHost: cal.south.example\r\n")
	for _, h := range append(append(slices.Clone(r.fields), sig), r.unsigned...) {
		fmt.Fprintf(&buf, "%s: %s\r\n", h.Name, h.Value)
	}
	fmt.Fprintf(&buf, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	if len(sent) == 0 {
		sent = []calendar.Address{"mailto:bob@south.example"}
	}
	resp, body := raw(b.t, b.srv, buf.Bytes())
	return resp, ReadAnswer(resp.StatusCode, body, sent)
}
