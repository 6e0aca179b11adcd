package imip

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

func shape(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "in", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Mails in the shapes of the programs people use, and what must be found in
// them (clients.md section 5, wants 18 and 20, A35).
func TestParseShapes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		sort      Sort
		method    string
		fault     error
		answer    string // PARTSTAT of the first component
		organizer bool
		summary   string
		id        string
	}{
		"exchange-reply.eml":    {SortCalendar, "REPLY", nil, "ACCEPTED", false, "Zugesagt: Board meeting", "3f1c7a@ex1.mail.test"},
		"google-reply.eml":      {SortCalendar, "REPLY", nil, "TENTATIVE", true, "Board meeting", "calendar-7d1b@google.com"},
		"apple-reply.eml":       {SortCalendar, "REPLY", nil, "DECLINED", true, "Board meeting", "0F0A6C1E-1111-2222-3333-444455556666@mail.test"},
		"thunderbird-reply.eml": {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Grüße vom Vorstand", "b1f5a5f0-0000-4444-8888-9f9f9f9f9f9f@mail.test"},
		"proton-reply-lf.eml":   {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Board meeting", "pm-1@mail.test"},
		"outlook-counter.eml":   {SortCalendar, "COUNTER", nil, "TENTATIVE", true, "New Time Proposed: Board meeting", "counter-1@ex1.mail.test"},
		"bare.eml":              {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Board meeting", "bare@mail.test"},
		"latin1.eml":            {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Grüße", "latin1@mail.test"},
		"unlabelled-1252.eml":   {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Grüße – hier", "u1252@mail.test"},
		"octet-stream.eml":      {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Board meeting", "octet@mail.test"},
		"ics-only.eml":          {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Board meeting", "icsonly@mail.test"},
		"sixteen-overrides.eml": {SortCalendar, "REPLY", nil, "ACCEPTED", true, "", "sixteen@mail.test"},
		"method-param-only.eml": {SortCalendar, "REPLY", nil, "ACCEPTED", true, "Board meeting", "paramonly@mail.test"},
		"twins-disagree.eml":    {SortCalendar, "", ErrTwins, "", false, "", "twins@mail.test"},
		"method-conflict.eml":   {SortCalendar, "", ErrMethodConflict, "", false, "", "conflict@mail.test"},
		"no-method.eml":         {SortCalendar, "", ErrNoMethod, "", false, "", "nomethod@mail.test"},
		"two-uids.eml":          {SortCalendar, "REPLY", ErrCalendar, "", false, "", "twouids@mail.test"}, // A11
		"broken-calendar.eml":   {SortCalendar, "", ErrCalendar, "", false, "", "broken@mail.test"},
		"unknown-charset.eml":   {SortCalendar, "", ErrCharset, "", false, "", "charset@mail.test"},
		"tnef.eml":              {SortOther, "", ErrTNEF, "", false, "", "tnef@mail.test"},
		"forwarded.eml":         {SortOther, "", ErrNoCalendar, "", false, "", "fwd@mail.test"},
		"person.eml":            {SortOther, "", ErrNoCalendar, "", false, "", "person@mail.test"},
		"dsn.eml":               {SortBounce, "", ErrNoCalendar, "", false, "", "20261102120000.12345@mx.mail.test"},
		"vacation.eml":          {SortAuto, "", ErrNoCalendar, "", false, "", "vac@mail.test"},
		"read-receipt.eml":      {SortAuto, "", ErrNoCalendar, "", false, "", "mdn@mail.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse(shape(t, name), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if m.Sort != want.sort || m.Method != want.method || m.MessageID != want.id {
				t.Errorf("sort %v method %q id %q", m.Sort, m.Method, m.MessageID)
			}
			if want.fault != nil {
				if !errors.Is(m.Fault, want.fault) || m.Object != nil {
					t.Errorf("fault %v, object %v", m.Fault, m.Object)
				}
				return
			}
			if m.Fault != nil {
				t.Fatal(m.Fault)
			}
			c := m.Object.Components()[0]
			if got := c.Prop("ATTENDEE").Param("PARTSTAT"); got != want.answer || m.Object.Method() != want.method {
				t.Errorf("PARTSTAT %q METHOD %q", got, m.Object.Method())
			}
			if (c.Prop("ORGANIZER") != nil) != want.organizer || c.Text("SUMMARY") != want.summary || m.Object.UID() != "meeting-1@alpha.test" {
				t.Errorf("component:\n%s", c.Append(nil))
			}
			if calendar.Address(c.Value("ATTENDEE")).Key() != "mailto:dave@mail.test" {
				t.Errorf("attendee %q", c.Value("ATTENDEE"))
			}
			if err := Speaks(m.Object, calendar.Address("mailto:"+m.From[0].Email)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseDetails(t *testing.T) {
	t.Parallel()
	m, err := Parse(shape(t, "exchange-reply.eml"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "Zugesagt: Board meeting" || m.From[0].Name != "Dave Müller" || m.Text != "Ich komme überaus gern" || m.Hops != 1 || m.To[0].Email != "alice@alpha.test" {
		t.Errorf("%+v", m)
	}
	if d, err := calendar.ParseDateTime(m.Object.Components()[0].Prop("DTSTART")); err != nil || d.TZID != "W. Europe Standard Time" {
		t.Errorf("DTSTART %+v %v", d, err)
	}
	if m, err = Parse(shape(t, "sixteen-overrides.eml"), Limits{}); err != nil || len(m.Object.Components()) != 16 {
		t.Errorf("overrides: %v", err)
	}
	m, err = Parse(shape(t, "dsn.eml"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounce.MessageID != "d-1.0123abcd@alpha.test" || len(m.Bounce.Recipients) != 1 ||
		m.Bounce.Recipients[0] != (BounceStatus{"dave@mail.test", "failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full"}) {
		t.Errorf("%+v", m.Bounce)
	}
}

// A33: each of the marks that programs put on what they write by themselves; a
// person's mail and an invitation, which programs mark as well, are none.
func TestAutomaticMail(t *testing.T) {
	t.Parallel()
	person := shape(t, "person.eml")
	for _, c := range []struct {
		field string
		want  Sort
	}{
		{"Auto-Submitted: auto-replied", SortAuto}, {"Auto-Submitted: Auto-Generated; type=x", SortAuto}, {"X-Autoreply: yes", SortAuto}, {"X-Autorespond: 1", SortAuto},
		{"X-Auto-Reply: yes", SortAuto}, {"Precedence: bulk", SortAuto}, {"Precedence: Junk", SortAuto}, {"Precedence: auto_reply", SortAuto},
		{"Auto-Submitted: no", SortOther}, {"Precedence: first-class", SortOther}, {"X-Note: auto-replied", SortOther},
	} {
		m, err := Parse(append([]byte(c.field+"\r\n"), person...), Limits{})
		if err != nil || m.Sort != c.want {
			t.Errorf("%s: sort %v, %v", c.field, m.Sort, err)
		}
		m, err = Parse(append([]byte(c.field+"\r\n"), shape(t, "bare.eml")...), Limits{})
		if err != nil || m.Sort != SortCalendar {
			t.Errorf("an answer with %s: sort %v, %v", c.field, m.Sort, err)
		}
	}
}

// A35: nesting, many parts, big parts, big headers.
func TestParseLimits(t *testing.T) {
	t.Parallel()
	head := "From: a@b.test\r\nMIME-Version: 1.0\r\n"
	nest := func(n int) string {
		s := "Content-Type: text/plain\r\n\r\nx\r\n"
		for i := range n {
			s = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s--b%d--\r\n", i, i, s, i)
		}
		return head + s
	}
	parts := func(n int, part string) string {
		return head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n"+part+"\r\n", n) + "--b--\r\n"
	}
	for name, c := range map[string]struct {
		mail string
		want error
	}{
		"8 deep":               {nest(8), nil},
		"9 deep":               {nest(9), ErrTooBig},
		"1000 deep":            {nest(1000), ErrTooBig},
		"150 parts":            {parts(150, "\r\nx"), nil},
		"10000 parts":          {parts(10000, "\r\nx"), ErrTooBig},
		"7 calendars":          {parts(7, "Content-Type: text/calendar\r\n\r\nx"), ErrTooBig},
		"header of 300 KB":     {"From: a@b.test\r\nX: " + strings.Repeat("y", 300<<10) + "\r\nZ: 1\r\n\r\n", ErrTooBig},
		"header lines 300 KB":  {"From: a@b.test\r\n" + strings.Repeat("X: y\r\n", 60<<10) + "\r\n", ErrTooBig},
		"11 MB":                {head + "\r\n" + strings.Repeat("x", 11<<20), ErrTooBig},
		"empty":                {"", ErrMalformed},
		"no boundary":          {head + "Content-Type: multipart/mixed\r\n\r\nx", ErrMalformed},
		"header without colon": {"hello\r\nFrom: a@b.test\r\n\r\nx", nil},
	} {
		if _, err := Parse([]byte(c.mail), Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	big := head + "Content-Type: text/calendar; method=REPLY\r\n\r\n" + strings.Repeat("X:y\r\n", 300<<10)
	if m, err := Parse([]byte(big), Limits{}); err != nil || !errors.Is(m.Fault, ErrTooBig) {
		t.Errorf("calendar of 1.5 MB: %v", err)
	}
}

// The end of the header and continuation lines must not be read otherwise than
// the DKIM verifier does.
func TestHeaderFields(t *testing.T) {
	t.Parallel()
	raw := "A: 1\r\n 2\r\nB : 3\nbroken\n\tcontinued\r\nA: 4\r\n\r\nBody: x\r\n"
	h, n, err := headerFields([]byte(raw), 1000)
	if err != nil || raw[n:] != "Body: x\r\n" {
		t.Fatalf("%v, body %q", err, raw[n:])
	}
	if got := fmt.Sprint(fieldValues(h, "a"), fieldValues(h, "B")); got != "[1 2 4] [3]" {
		t.Error(got)
	}
	if fieldValue(h, "Body") != "" {
		t.Error("body read as header")
	}
}

func TestTwinsMayDifferInForm(t *testing.T) {
	t.Parallel()
	a := ics("REPLY", event("SUMMARY:x", "ATTENDEE;CN=D;PARTSTAT=ACCEPTED:mailto:d@x.test")...)
	b := ics("", event("ATTENDEE;PARTSTAT=ACCEPTED;CN=\"D\":mailto:d@x.test", "SUMMARY:x")...)
	if !sameMeaning(parseICS(t, a), parseICS(t, b)) {
		t.Error("order and quotes make a difference")
	}
	if sameMeaning(parseICS(t, a), parseICS(t, strings.Replace(b, "ACCEPTED", "DECLINED", 1))) {
		t.Error("another answer makes none")
	}
}

// A multipart whose first delimiter is not the declared one could show an
// attachment as the body.
func TestStructureAnchored(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		"--x\r\n\r\n--x--":            true,
		"preamble\r\n--x  \r\n":       true,
		"--y\r\n--x\r\n":              false,
		"--xy\r\n--x\r\n":             false,
		"nothing":                     false,
		"- -x\n--x\n":                 true,
		"--outer\r\n\r\n--x\r\n\r\n ": false,
	} {
		if got := structureAnchored([]byte(body), "x"); got != want {
			t.Errorf("%q: %v", body, got)
		}
	}
}

func FuzzMIME(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "in", "*.eml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(shape(f, filepath.Base(name)))
	}
	f.Add([]byte("From: =?x?q?y?=\r\nContent-Type: multipart/mixed; boundary=\"\r\n\r\n--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw, Limits{Bytes: 1 << 20})
		if err != nil {
			return
		}
		if (m.Object == nil) != (m.Fault != nil) {
			t.Fatalf("object %v, fault %v", m.Object, m.Fault)
		}
		if m.Object != nil {
			if m.Object.Method() == "" || m.Object.Method() != m.Method {
				t.Fatalf("method %q and %q", m.Method, m.Object.Method())
			}
			_ = foldedBytes(withZones(m.Object, time.Unix(0, 0)))
			_ = tell(m.Object, "", nil, alice)
		}
		if bytes.ContainsAny([]byte(m.Subject+m.MessageID+strings.Join(m.Loops, "")), "\r\n") {
			t.Fatal("line end in a header value")
		}
	})
}
