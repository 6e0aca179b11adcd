package ischedule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

type manifest struct {
	Receiver struct {
		Local    []string           `json:"local_domains"`
		Users    []calendar.Address `json:"known_users"`
		Suffixes []string           `json:"public_suffixes"`
	} `json:"receiver"`
	Zone    map[string]json.RawMessage `json:"zone_txt"`
	Vectors []struct {
		ID       string `json:"id"`
		File     string `json:"file"`
		VerifyAt int64  `json:"verify_at"`
		Expect   expect `json:"expect"`
		Without  expect `json:"expect_without_private_key"`
		Replay   string `json:"replay"`
		Needs    struct {
			Private *struct{ D, S string } `json:"private_exchange"`
		} `json:"needs"`
	} `json:"vectors"`
}

type expect struct {
	DKIM    string     `json:"dkim"`
	Verdict string     `json:"verdict"`
	HTTP    int        `json:"http"`
	Error   *Condition `json:"error"`
}

// receiver is the installation that the manifest describes.
func (m *manifest) receiver(z zone, d *desk, at *int64, observe func(Verdict)) *Handler {
	return NewHandler(HandlerConfig{
		Receiver:     d,
		Keys:         z,
		Serial:       &serials{},
		Now:          func() time.Time { return time.Unix(*at, 0) },
		Local:        func(domain string) bool { return slices.Contains(m.Receiver.Local, domain) },
		PublicSuffix: func(domain string) bool { return slices.Contains(m.Receiver.Suffixes, domain) },
		Observe:      observe,
	})
}

// Every request of the vectors through a real server.
func TestManifest(t *testing.T) {
	t.Parallel()
	var m manifest
	vectorJSON(t, "manifest.json", &m)
	if len(m.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range m.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			z := zone{txt: m.Zone}
			if v.Needs.Private != nil {
				m.play(t, z, v.File, v.VerifyAt, v.Without, "")
				owner := v.Needs.Private.S + "._domainkey." + v.Needs.Private.D
				var rec [][]string
				if err := json.Unmarshal(m.Zone[owner], &rec); err != nil {
					t.Fatal(err)
				}
				z.private = map[string]string{owner: strings.Join(rec[0], "")}
			}
			m.play(t, z, v.File, v.VerifyAt, v.Expect, v.Replay)
		})
	}
}

func (m *manifest) play(t *testing.T, z zone, file string, at int64, want expect, replay string) {
	t.Helper()
	var got Verdict
	d := newDesk(m.Receiver.Users...)
	srv := httptest.NewServer(m.receiver(z, d, &at, func(v Verdict) { got = v }))
	defer srv.Close()
	request := vectorFile(t, file)
	resp, body := raw(t, srv, request)

	if status := resp.StatusCode; status != want.HTTP && !(status == 400 && want.HTTP == 403) {
		t.Errorf("HTTP %d, want %d (%s)", status, want.HTTP, got.Reason)
	}
	if result := string(got.DKIM); result != want.DKIM && !(result == "" && want.DKIM == "not-evaluated") {
		t.Errorf("dkim %q, want %q (%s)", result, want.DKIM, got.Reason)
	}
	if resp.Header.Get("iSchedule-Version") != "1.0" || resp.Header.Get("iSchedule-Capabilities") != "1" ||
		resp.Header.Get("Cache-Control") != "no-cache, no-transform" || resp.Header.Get("Content-Type") != "application/xml; charset=utf-8" {
		t.Errorf("response headers %v", resp.Header)
	}
	answer := ReadAnswer(resp.StatusCode, body, m.Receiver.Users)
	if want.Verdict != "accept" {
		if want.Error == nil || answer.Condition != *want.Error {
			t.Errorf("error %q, want %v", answer.Condition, *want.Error)
		}
		if d.count() != 0 {
			t.Error("a refused request reached the receiver")
		}
		if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		// Nothing of the reason may reach the peer.
		if bytes.Contains(body, []byte("response-description")) {
			t.Errorf("the answer explains: %s", body)
		}
		return
	}
	if answer.Condition != "" || answer.Err != nil || d.count() != 1 {
		t.Fatalf("answer %+v, handed over %d times", answer, d.count())
	}
	in := d.got[0]
	if in.Via != "ischedule" || in.Proof.Domain == "" || in.Proof.Weak || in.Once == nil || in.Once.SignatureHash == "" {
		t.Errorf("inbound %+v", in)
	}
	for _, r := range in.Recipients {
		if !bytes.Contains(body, []byte("<recipient>"+string(r)+"</recipient><request-status>2.0;Success</request-status>")) {
			t.Errorf("no success for %s: %s", r, body)
		}
	}
	if replay != "" {
		resp2, body2 := raw(t, srv, request)
		if resp2.StatusCode != resp.StatusCode || !bytes.Equal(body, body2) || d.count() != 1 {
			t.Errorf("second arrival: HTTP %d, %d deliveries, same answer %v", resp2.StatusCode, d.count(), bytes.Equal(body, body2))
		}
	}
}

// Every refusal behind the signature, in the order of the table.
func TestInboundRefusals(t *testing.T) {
	t.Parallel()
	good := vevent("REQUEST", orgAlice, attBob)
	for _, c := range []struct {
		name   string
		req    *request
		change func(*HandlerConfig)
		want   Condition
		http   int
	}{
		{"accepted", invitation(good), nil, "", 200},
		{"content coding", func() *request {
			r := invitation(good)
			r.unsigned = []dkim.Header{{Name: "Content-Encoding", Value: "gzip"}}
			return r
		}(), nil, InvalidCalendarDataType, 403},
		{"body too large", invitation(good + strings.Repeat(" ", 5000)), func(c *HandlerConfig) { c.Capabilities.MaxContentLength = 4096 }, MaxContentLength, 403},
		{"too many recipients", invitation(good).set("Recipient", "mailto:bob@south.example,mailto:carol@south.example"),
			func(c *HandlerConfig) { c.Capabilities.MaxRecipients = 1 }, MaxRecipients, 403},
		{"A38 signature of another domain", invitation(strings.ReplaceAll(good, "north", "west")).set("Originator", "mailto:alice@west.example"), nil, OriginatorDenied, 403},
		{"A38 configured exception", invitation(strings.ReplaceAll(good, "north", "west")).set("Originator", "mailto:alice@west.example"),
			func(c *HandlerConfig) {
				c.Peer = func(d string) Peer {
					if d == "west.example" {
						return Peer{Signers: []string{"north.example"}}
					}
					return Peer{}
				}
			}, "", 200},
		{"A46 blocked domain", invitation(good), func(c *HandlerConfig) { c.Peer = func(string) Peer { return Peer{Blocked: true} } }, OriginatorDenied, 403},
		{"not iCalendar", invitation("hello\r\n"), nil, InvalidCalendarData, 403},
		{"empty body", invitation(""), nil, InvalidCalendarData, 403},
		{"two objects", invitation(good + good), nil, InvalidCalendarData, 403},
		{"A11 two UIDs", invitation(strings.Replace(good, "END:VEVENT\r\n", "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:u2\r\nDTSTAMP:20260202T020000Z\r\nDTSTART:20260210T090000Z\r\n"+orgAlice+"\r\n"+attBob+"\r\nEND:VEVENT\r\n", 1)), nil, InvalidSchedulingMessage, 403},
		{"no METHOD", invitation(strings.Replace(good, "METHOD:REQUEST\r\n", "", 1)), nil, InvalidSchedulingMessage, 403},
		{"method differs", invitation(strings.Replace(good, "METHOD:REQUEST", "METHOD:CANCEL", 1)), nil, InvalidSchedulingMessage, 403},
		{"component differs", invitation(good).set("Content-Type", "text/calendar; component=VTODO; method=REQUEST"), nil, InvalidSchedulingMessage, 403},
		{"component missing", invitation(good).set("Content-Type", "text/calendar; method=REQUEST"), nil, InvalidSchedulingMessage, 403},
		{"parameters in lower case", invitation(good).set("Content-Type", "text/calendar; component=vevent; method=request"), nil, "", 200},
		{"component not offered", invitation(good), func(c *HandlerConfig) {
			c.Capabilities.Messages = []MessageSupport{{"VTODO", nil}}
		}, InvalidSchedulingMessage, 403},
		{"PUBLISH", invitation(vevent("PUBLISH", orgAlice)).set("Content-Type", "text/calendar; component=VEVENT; method=PUBLISH"), nil, InvalidSchedulingMessage, 403},
		{"A26 originator is not the organizer", invitation(vevent("REQUEST", "ORGANIZER:mailto:zed@north.example", attBob)), nil, InvalidSchedulingMessage, 403},
		{"A26 organizer is local", invitation(vevent("REQUEST", "ORGANIZER:mailto:bob@south.example", attBob)), nil, InvalidSchedulingMessage, 403},
		{"two organizers", invitation(vevent("REQUEST", orgAlice, "ORGANIZER:mailto:zed@north.example", attBob)), nil, InvalidSchedulingMessage, 403},
		{"recipient not invited", invitation(good).set("Recipient", "mailto:carol@south.example"), nil, InvalidSchedulingMessage, 403},
		{"inline attachment", invitation(vevent("REQUEST", orgAlice, attBob, "ATTACH;ENCODING=BASE64;VALUE=BINARY:AAAA")), nil, AttachmentNotSupported, 403},
		{"external attachment", invitation(vevent("REQUEST", orgAlice, attBob, "ATTACH:https://files.north.example/a")), nil, "", 200},
		{"attachment in a data URI", invitation(vevent("REQUEST", orgAlice, attBob, "ATTACH:data:text/plain,hi")), nil, AttachmentNotSupported, 403},
		{"too early", invitation(good), func(c *HandlerConfig) {
			c.Capabilities.MinDate = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		}, MinDateTime, 403},
		{"too late", invitation(good), func(c *HandlerConfig) {
			c.Capabilities.MaxDate = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		}, MaxDateTime, 403},
		{"A01 too many instances", invitation(vevent("REQUEST", orgAlice, attBob, "RRULE:FREQ=DAILY;COUNT=1000000000")), nil, MaxInstances, 403},
		{"endless recurrence", invitation(vevent("REQUEST", orgAlice, attBob, "RRULE:FREQ=WEEKLY")), nil, "", 200},
		{"A01 dense finite rule", invitation(vevent("REQUEST", orgAlice, attBob, "RRULE:FREQ=SECONDLY;COUNT=2000000000;BYMONTH=2;BYMONTHDAY=29")), nil, MaxInstances, 403},
		{"A02 rule that never matches", invitation(vevent("REQUEST", orgAlice, attBob, "RRULE:FREQ=YEARLY;UNTIL=99991231T000000Z;BYMONTH=2;BYMONTHDAY=30")), nil, "", 200},
		{"cancel without times", invitation(ical("CANCEL", "VEVENT", orgAlice, attBob, "SEQUENCE:1")).
			set("Content-Type", "text/calendar; component=VEVENT; method=CANCEL"), nil, "", 200},
		{"cancel of one instance", invitation(ical("CANCEL", "VEVENT", orgAlice, attBob, "SEQUENCE:1", "RECURRENCE-ID:20260210T090000Z")).
			set("Content-Type", "text/calendar; component=VEVENT; method=CANCEL"), nil, "", 200},
		{"refresh", invitation(ical("REFRESH", "VEVENT", "ORGANIZER:mailto:bob@south.example", "ATTENDEE:mailto:alice@north.example")).
			set("Content-Type", "text/calendar; component=VEVENT; method=REFRESH"), nil, "", 200},
		{"task", invitation(ical("REQUEST", "VTODO", orgAlice, attBob, "SUMMARY:Do", "DUE:20260210T090000Z")).
			set("Content-Type", "text/calendar; component=VTODO; method=REQUEST"), nil, "", 200},
		{"calendar scale", invitation(vevent("REQUEST", orgAlice, attBob, "RRULE:RSCALE=CHINESE;FREQ=YEARLY")), nil, "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.change)
			resp, a := b.send(c.req)
			if resp.StatusCode != c.http || a.Condition != c.want {
				t.Errorf("HTTP %d %q, want %d %q (%s)", resp.StatusCode, a.Condition, c.http, c.want, b.verdict.Reason)
			}
			if c.want != "" && b.desk.count() != 0 {
				t.Error("a refused request reached the receiver")
			}
			if c.want == MaxContentLength && !resp.Close {
				t.Error("connection stays open after an oversized body")
			}
			if c.name == "calendar scale" && (a.Outcomes[0].Code != "3.14" || b.desk.count() != 0) {
				t.Errorf("outcome %+v", a.Outcomes[0])
			}
		})
	}
}

// ischedule.md §6: of several faults the first of the table is reported. A request
// has one of every row; they are mended from the top, and the next one shows.
func TestInboundOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *HandlerConfig) {
		c.Capabilities.MaxRecipients, c.Capabilities.MaxContentLength = 1, 4096
		c.Capabilities.MinDate = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		c.Peer = func(d string) Peer { return Peer{Blocked: d == "west.example"} }
	})
	// The times of this one are too early, and it has more than that.
	early := vevent("REQUEST", orgAlice, attBob)
	r := invitation(strings.Repeat("x", 5000)).set("iSchedule-Version", "2.0").set("Content-Type", "text/plain").
		set("Originator", "").set("Recipient", "")
	signer := b.signer.Domain
	for _, c := range []struct {
		mend func()
		want Condition
	}{
		{func() {}, VersionNotSupported},
		{func() { r.set("iSchedule-Version", "1.0") }, InvalidCalendarDataType},
		{func() { r.set("Content-Type", "text/calendar; component=VTODO; method=REQUEST") }, OriginatorMissing},
		{func() { r.set("Originator", "urn:uuid:1,urn:uuid:2") }, TooManyOriginators},
		{func() { r.set("Originator", "urn:uuid:1") }, OriginatorInvalid},
		{func() { r.set("Originator", "mailto:alice@west.example") }, RecipientMissing},
		{func() { r.set("Recipient", "mailto:carol@south.example,mailto:x@south.example") }, MaxRecipients},
		{func() { r.set("Recipient", "mailto:carol@south.example") }, MaxContentLength},
		{func() { r.body = "x"; b.signer.Domain = "unknown.example" }, VerificationFailed},
		{func() { b.signer.Domain = signer }, OriginatorDenied}, // not aligned
		{func() { r.set("Originator", "mailto:alice@north.example") }, InvalidCalendarData},
		{func() { r.body = early }, InvalidSchedulingMessage},                                                           // the component
		{func() { r.set("Content-Type", "text/calendar; component=VEVENT; method=REQUEST") }, InvalidSchedulingMessage}, // the recipient
		{func() { r.set("Recipient", "mailto:bob@south.example") }, MinDateTime},
		{func() { r.body = strings.ReplaceAll(early, "20260210T", "20280210T") }, ""},
	} {
		c.mend()
		if resp, a := b.send(r); a.Condition != c.want || c.want == "" && resp.StatusCode != 200 {
			t.Errorf("HTTP %d %q, want %q (%s)", resp.StatusCode, a.Condition, c.want, b.verdict.Reason)
		}
	}
	if b.desk.count() != 1 {
		t.Errorf("%d requests reached the receiver", b.desk.count())
	}
}

// A stream without end is cut at the limit.
func TestInboundEndlessBody(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *HandlerConfig) { c.Capabilities.MaxContentLength = 10_000 })
	conn, err := net.Dial("tcp", b.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	go func() {
		io.WriteString(conn, "POST /ischedule HTTP/1.1\r\nHost: x\r\nContent-Type: text/calendar; component=VEVENT; method=REQUEST\r\n"+
			"iSchedule-Version: 1.0\r\nOriginator: mailto:alice@north.example\r\nRecipient: mailto:bob@south.example\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n"
		for {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if a := ReadAnswer(resp.StatusCode, body, nil); a.Condition != MaxContentLength || !resp.Close {
		t.Errorf("HTTP %d %+v close %v", resp.StatusCode, a, resp.Close)
	}
}

// A39: what came once is answered again and applied once; one id for two
// bodies is refused.
func TestInboundReplay(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	body := vevent("REQUEST", orgAlice, attBob)
	if _, a := b.send(invitation(body)); a.Outcomes[0].Code != "2.0" {
		t.Fatalf("%+v", a)
	}
	// The sender got no answer and repeats under a new signature.
	b.now = b.now.Add(10 * time.Minute)
	if _, a := b.send(invitation(body)); a.Outcomes[0].Code != "2.0" || b.desk.count() != 1 {
		t.Errorf("%+v, applied %d times", a, b.desk.count())
	}
	if resp, a := b.send(invitation(strings.Replace(body, "Review", "Other", 1))); resp.StatusCode != 403 || a.Condition != VerificationFailed || b.desk.count() != 1 {
		t.Errorf("other body under the same id: %d %+v", resp.StatusCode, a)
	}
	// An id that is too long for a key is known by its digest.
	long := strings.Repeat("0123456789", 500)
	for range 2 {
		b.now = b.now.Add(time.Minute)
		b.send(invitation(strings.Replace(body, "Review", "Long", 1)).set("iSchedule-Message-ID", long))
	}
	if b.desk.count() != 2 || len(b.desk.got[1].Once.MessageID) > 100 {
		t.Errorf("applied %d times", b.desk.count())
	}
	// Without an id the signature alone is the key.
	r := invitation(body)
	r.fields = slices.DeleteFunc(r.fields, func(h dkim.Header) bool { return h.Name == "iSchedule-Message-ID" })
	b.send(r)
	b.send(r)
	if b.desk.count() != 3 || b.desk.got[2].Once.MessageID != "" {
		t.Errorf("applied %d times", b.desk.count())
	}
}

func TestInboundRecipients(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := invitation(vevent("REQUEST", orgAlice, attBob, "ATTENDEE:mailto:nobody@south.example", "ATTENDEE:mailto:x@elsewhere.example")).
		set("Recipient", "BOB@south.example,mailto:bob@SOUTH.example,mailto:nobody@south.example,mailto:x@elsewhere.example")
	_, a := b.send(r, "mailto:bob@south.example", "mailto:nobody@south.example", "mailto:x@elsewhere.example")
	for i, want := range []string{"2.0", "3.7", "3.7"} {
		if a.Outcomes[i].Code != want {
			t.Errorf("%s: %s, want %s", a.Outcomes[i].Recipient, a.Outcomes[i].Code, want)
		}
	}
	if in := b.desk.got[0]; len(in.Recipients) != 3 || in.Recipients[0] != "BOB@south.example" {
		t.Errorf("recipients %q", in.Recipients)
	}
}

func TestInboundFreeBusy(t *testing.T) {
	t.Parallel()
	ask := func(lines ...string) *request {
		return invitation(ical("REQUEST", "VFREEBUSY", append(lines, orgAlice, attBob)...)).
			set("Content-Type", "text/calendar; charset=utf-8; component=VFREEBUSY; method=REQUEST")
	}
	day := []string{"DTSTART:20260210T000000Z", "DTEND:20260211T000000Z"}
	b := newBench(t, func(c *HandlerConfig) { c.Rates = Rates{Questions: 6} })
	if _, a := b.send(ask(day...)); a.Outcomes[0].Code != "2.0" || !bytes.HasPrefix(a.Outcomes[0].CalendarData, []byte("BEGIN:VCALENDAR\r\n")) {
		t.Errorf("%+v", a)
	}
	for _, c := range []struct {
		name string
		req  *request
		want Condition
	}{
		{"A45 too long a range", ask("DTSTART:20260210T000000Z", "DTEND:20260510T000000Z"), InvalidSchedulingMessage},
		{"floating", ask("DTSTART:20260210T000000", "DTEND:20260211T000000"), InvalidSchedulingMessage},
		{"no range", ask(), InvalidSchedulingMessage},
		{"backwards", ask("DTSTART:20260211T000000Z", "DTEND:20260210T000000Z"), InvalidSchedulingMessage},
		{"lists differ", ask(append(day, "ATTENDEE:mailto:carol@south.example")...), RecipientMismatch},
	} {
		if resp, a := b.send(c.req); a.Condition != c.want {
			t.Errorf("%s: HTTP %d %s (%s)", c.name, resp.StatusCode, a.Condition, b.verdict.Reason)
		}
	}
	// Six were asked in this minute.
	resp, a := b.send(ask(day...))
	if resp.StatusCode != 429 || a.Condition != OriginatorDenied || resp.Header.Get("Retry-After") == "" {
		t.Errorf("seventh question: HTTP %d %+v", resp.StatusCode, a)
	}
	b.now = b.now.Add(time.Minute)
	if resp, _ := b.send(ask(day...)); resp.StatusCode != 200 {
		t.Errorf("a minute later: HTTP %d", resp.StatusCode)
	}
}

// A45: about one person so many questions are answered in a day, whoever asks,
// and whether there is such a person or not.
func TestInboundAskedTooOften(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *HandlerConfig) { c.Rates = Rates{AboutPerDay: 2} })
	ask := func(about ...calendar.Address) string {
		t.Helper()
		b.now = b.now.Add(time.Second)
		lines, to := []string{"DTSTART:20260210T000000Z", "DTEND:20260211T000000Z", orgAlice}, []string{}
		for _, a := range about {
			lines, to = append(lines, "ATTENDEE:"+string(a)), append(to, string(a))
		}
		r := invitation(ical("REQUEST", "VFREEBUSY", lines...)).set("Content-Type", "text/calendar; charset=utf-8; component=VFREEBUSY; method=REQUEST").set("Recipient", strings.Join(to, ",")).set("iSchedule-Message-ID", b.now.Format("20060102T150405"))
		resp, a := b.send(r, about...)
		if resp.StatusCode != 200 {
			t.Fatalf("HTTP %d %+v", resp.StatusCode, a)
		}
		var out []string
		for _, o := range a.Outcomes {
			out = append(out, o.Code)
		}
		return strings.Join(out, " ")
	}
	const bob, carol, nobody = "mailto:bob@south.example", "mailto:carol@south.example", "mailto:nobody@south.example"
	for i, c := range []struct {
		about []calendar.Address
		want  string
	}{
		{[]calendar.Address{bob}, "2.0"}, {[]calendar.Address{nobody}, "3.7"}, {[]calendar.Address{bob, carol}, "2.0 2.0"}, {[]calendar.Address{bob, carol}, "5.1 2.0"}, {[]calendar.Address{bob}, "5.1"}, {[]calendar.Address{nobody}, "3.7"}, {[]calendar.Address{nobody}, "5.1"},
	} {
		if got := ask(c.about...); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
	for _, in := range b.desk.got {
		if len(in.Recipients) == 0 {
			t.Error("a question about nobody was handed over")
		}
	}
	b.now = b.now.Add(24 * time.Hour)
	if got := ask(bob); got != "2.0" {
		t.Errorf("a day later: %s", got)
	}
}

// A network that keeps failing gets no more key lookups.
func TestInboundFailureLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *HandlerConfig) { c.Rates = Rates{FailuresByNet: 3} })
	bad := invitation(vevent("REQUEST", orgAlice, attBob))
	bad.unsigned = []dkim.Header{{Name: "Recipient", Value: "mailto:carol@south.example"}}
	for i := range 3 {
		if resp, a := b.send(bad); resp.StatusCode != 403 || a.Condition != VerificationFailed {
			t.Fatalf("%d: HTTP %d %+v", i, resp.StatusCode, a)
		}
	}
	resp, a := b.send(bad)
	if resp.StatusCode != 429 || a.Condition != VerificationFailed {
		t.Errorf("HTTP %d %+v", resp.StatusCode, a)
	}
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait < 1 {
		t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
	}
}

// Draft -01 (ischedule §11) only from a domain known to speak it.
func TestInboundDraft01(t *testing.T) {
	t.Parallel()
	for _, dialect := range []Dialect{DialectFinal, DialectDraft01} {
		b := newBench(t, func(c *HandlerConfig) { c.Peer = func(string) Peer { return Peer{Dialect: dialect} } })
		b.signer = *b.signer.Draft01()
		r := invitation(vevent("REQUEST", orgAlice, attBob)).
			set("Content-Type", "text/calendar; component=VEVENT; method=REQUEST").
			set("Originator", "alice@north.example").set("Recipient", "bob@south.example")
		resp, a := b.send(r)
		if want := map[Dialect]int{DialectFinal: 403, DialectDraft01: 200}[dialect]; resp.StatusCode != want {
			t.Errorf("%s: HTTP %d, want %d (%s)", dialect, resp.StatusCode, want, b.verdict.Reason)
		}
		if dialect == DialectDraft01 && a.Outcomes[0].Code != "2.0" {
			t.Errorf("%+v", a)
		}
	}
}

// An unsigned request is believed only from a configured server.
func TestInboundTrustedPeer(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		b := newBench(t, func(c *HandlerConfig) {
			c.Trusted = func(r *http.Request, domain string) bool { return trusted && domain == "north.example" }
		})
		body := vevent("REQUEST", orgAlice, attBob)
		post := func(id string) *http.Response {
			resp, _ := raw(t, b.srv, fmt.Appendf(nil, "POST /ischedule HTTP/1.1\r\nHost: x\r\nContent-Type: text/calendar; component=VEVENT; method=REQUEST\r\n"+
				"iSchedule-Version: 1.0\r\niSchedule-Message-ID: %s\r\nOriginator: mailto:alice@north.example\r\nRecipient: mailto:bob@south.example\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body))
			return resp
		}
		resp := post("a")
		if want := map[bool]int{false: 403, true: 200}[trusted]; resp.StatusCode != want {
			t.Errorf("trusted %v: HTTP %d", trusted, resp.StatusCode)
		}
		if trusted {
			if in := b.desk.got[0]; !in.Proof.Weak || in.Proof.Domain != "north.example" {
				t.Errorf("proof %+v", in.Proof)
			}
			post("a")
			post("b")
			if b.desk.count() != 2 {
				t.Errorf("applied %d times", b.desk.count())
			}
		}
	}
}

func TestInboundFailures(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	for _, c := range []struct {
		err  error
		http int
		want Condition
	}{
		{errors.New("database is away"), 503, ""},
		{full, 507, ""},
		{&calendar.Error{Code: calendar.CodeInvalidObject}, 403, InvalidSchedulingMessage},
		{&calendar.Error{Code: calendar.CodeMaxAttendees}, 403, InvalidSchedulingMessage},
		{&calendar.Error{Code: calendar.CodeMaxSize}, 403, MaxContentLength},
		{&calendar.Error{Code: calendar.CodeMinDate}, 403, MinDateTime},
		{&calendar.Error{Code: calendar.CodeMaxDate}, 403, MaxDateTime},
		{&calendar.Error{Code: calendar.CodeMaxInstances}, 403, MaxInstances},
		{scheduling.ErrReplayConflict, 403, VerificationFailed},
	} {
		b := newBench(t, func(cfg *HandlerConfig) {
			cfg.ErrorStatus = func(err error) int {
				if errors.Is(err, full) {
					return 507
				}
				return 0
			}
		})
		b.desk.err = c.err
		resp, a := b.send(invitation(vevent("REQUEST", orgAlice, attBob)))
		if resp.StatusCode != c.http || a.Condition != c.want {
			t.Errorf("%v: HTTP %d %q", c.err, resp.StatusCode, a.Condition)
		}
		if (c.http == 503) != (resp.Header.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q", c.err, resp.Header.Get("Retry-After"))
		}
	}
}

// The 100 Continue comes only when the body is wanted.
func TestInboundExpectContinue(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{"1.0": 100, "9.9": 403} {
		b := newBench(t, nil)
		conn, err := net.Dial("tcp", b.srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "POST /ischedule HTTP/1.1\r\nHost: x\r\nContent-Type: text/calendar; component=VEVENT; method=REQUEST\r\niSchedule-Version: %s\r\n"+
			"Originator: mailto:alice@north.example\r\nRecipient: mailto:bob@south.example\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n", version)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("version %s: HTTP %d, want %d", version, resp.StatusCode, want)
		}
	}
}

// Whatever a signed peer says, the checks end with a message or a condition.
func FuzzMessage(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectorsDir(), "requests", "p*.http"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if _, body, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok {
			f.Add(body)
		}
	}
	f.Add([]byte(vevent("REQUEST", orgAlice, attBob, "RRULE:FREQ=DAILY;COUNT=5", "ATTACH:x")))
	h := NewHandler(HandlerConfig{Serial: &serials{}, Now: time.Now, Local: func(string) bool { return false }})
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := calendar.Parse(body, calendar.Limits{})
		if err != nil {
			return
		}
		env := Envelope{Originator: "mailto:alice@north.example", Recipients: []calendar.Address{"mailto:bob@south.example"}, Component: o.Kind(), Method: o.Method()}
		m, refusal := h.message(env, body)
		if refusal == nil && m.object == nil && !m.unsupported || refusal != nil && refusal.Condition == "" {
			t.Fatalf("%+v %+v", m, refusal)
		}
	})
}
