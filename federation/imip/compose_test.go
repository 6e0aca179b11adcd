package imip

import (
	"bytes"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ics makes an object of lines; it ends every line with CRLF.
func ics(method string, body ...string) string {
	head := []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Kalends//Kalends//EN"}
	if method != "" {
		head = append(head, "METHOD:"+method)
	}
	lines := append(head, body...)
	return strings.Join(append(lines, "END:VCALENDAR"), "\r\n") + "\r\n"
}

func parseICS(t testing.TB, text string) *calendar.Object {
	t.Helper()
	o, err := calendar.Parse([]byte(text), calendar.Limits{})
	if err != nil {
		t.Fatalf("fixture: %v\n%s", err, text)
	}
	return o
}

var (
	alice = Mailbox{Name: "Alice Example", Email: "alice@alpha.test"}
	dave  = Mailbox{Name: "Dave", Email: "dave@mail.test"}
)

const (
	organizerAlice = "ORGANIZER;CN=Alice Example:mailto:alice@alpha.test"
	attendeeAlice  = "ATTENDEE;CN=Alice Example;PARTSTAT=ACCEPTED:mailto:alice@alpha.test"
	attendeeDave   = "ATTENDEE;CN=Dave;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:dave@mail.test"
)

// event returns the lines of a VEVENT.
func event(lines ...string) []string {
	out := append([]string{"BEGIN:VEVENT", "UID:meeting-1@alpha.test", "DTSTAMP:20261101T080000Z"}, lines...)
	return append(out, "END:VEVENT")
}

func join(parts ...[]string) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

type goldenCase struct {
	name    string
	sender  *Sender // nil: alice for herself
	user    Mailbox
	to      Mailbox
	kind    itip.Kind
	changes []itip.FieldChange
	ics     string
	actions []Action
	by      Mailbox // who acts for the user
}

func goldenCases() []goldenCase {
	tz := "TZID=Europe/Berlin"
	return []goldenCase{
		{name: "new", kind: itip.KindNew, ics: ics("REQUEST", event(
			"SEQUENCE:0", "SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", "DTEND;"+tz+":20261123T113000",
			"LOCATION:Room 5", "DESCRIPTION:Agenda:\\n1. Budget\\n2. Any other business", "URL:https://alpha.test/board",
			organizerAlice, attendeeAlice, attendeeDave)...)},
		{name: "new-series", kind: itip.KindNew, to: Mailbox{Name: "Дейв", Email: "dave@mail.test"},
			user: Mailbox{Name: "Jürgen Groß", Email: "alice@alpha.test"},
			ics: ics("REQUEST", join(event("SEQUENCE:0", "SUMMARY:Übung für alle\\, immer wieder 🎻", "DTSTART;"+tz+":20261005T180000",
				"DURATION:PT1H30M", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20261223T170000Z", "LOCATION:Großer Saal",
				"DESCRIPTION:Bitte Noten mitbringen. Ein langer Satz\\, der sicher länger als eine Zeile einer Nachricht ist\\, damit er umbrochen werden muss.",
				"ORGANIZER;CN=Jürgen Groß:mailto:alice@alpha.test", "ATTENDEE;CN=Дейв;PARTSTAT=TENTATIVE;ROLE=OPT-PARTICIPANT:mailto:dave@mail.test"),
				event("RECURRENCE-ID;"+tz+":20261012T180000", "SUMMARY:Übung für alle\\, immer wieder 🎻", "DTSTART;"+tz+":20261013T190000",
					"DTEND;"+tz+":20261013T203000", "LOCATION:Kleiner Saal", "ORGANIZER;CN=Jürgen Groß:mailto:alice@alpha.test",
					"ATTENDEE;CN=Дейв;PARTSTAT=NEEDS-ACTION:mailto:dave@mail.test"))...)},
		{name: "new-allday", kind: itip.KindNew, ics: ics("REQUEST", event(
			"SUMMARY:Fair", "DTSTART;VALUE=DATE:20261201", "DTEND;VALUE=DATE:20261204", "RRULE:FREQ=YEARLY;COUNT=5", organizerAlice, attendeeDave)...)},
		{name: "new-task", kind: itip.KindNew, ics: ics("REQUEST", "BEGIN:VTODO", "UID:task-1@alpha.test", "DTSTAMP:20261101T080000Z",
			"SUMMARY:Write the report", "DUE;"+tz+":20261130T170000", organizerAlice, attendeeDave, "END:VTODO")},
		{name: "new-via", kind: itip.KindNew,
			sender: &Sender{From: Mailbox{Name: "Eve via Kalends", Email: "calendar@alpha.test"}, ReplyTo: Mailbox{Name: "Eve", Email: "eve@elsewhere.test"}, Envelope: "calendar@alpha.test"},
			user:   Mailbox{Name: "Eve", Email: "eve@elsewhere.test"},
			ics:    ics("REQUEST", event("SUMMARY:Lunch", "DTSTART:20261123T120000Z", "DTEND:20261123T130000Z", "ORGANIZER;CN=Eve:mailto:eve@elsewhere.test", attendeeDave)...)},
		{name: "new-gateway", kind: itip.KindNew,
			sender: &Sender{From: Mailbox{Name: "Alice Example", Email: "calendar+abcdefghijklmnopqrstuvwxyz@alpha.test"},
				ReplyTo:  Mailbox{Name: "Alice Example", Email: "calendar+abcdefghijklmnopqrstuvwxyz@alpha.test"},
				Envelope: "calendar+abcdefghijklmnopqrstuvwxyz@alpha.test", Organizer: Mailbox{Name: "Alice Example", Email: "calendar+abcdefghijklmnopqrstuvwxyz@alpha.test"}},
			actions: []Action{{"Accept", "https://alpha.test/rsvp?t=1&a=yes"}, {"Decline", "https://alpha.test/rsvp?t=1&a=no"}},
			ics:     ics("REQUEST", event("SUMMARY:Lunch", "DTSTART:20261123T120000", "DURATION:PT1H", organizerAlice, attendeeAlice, attendeeDave)...)},
		// Want 42, RFC 5322 §3.6.2: the author is the principal, the sender the delegate.
		{name: "new-on-behalf", kind: itip.KindNew, by: Mailbox{Name: "Bob Desk", Email: "bob@alpha.test"},
			ics: ics("REQUEST", event("SUMMARY:Lunch", "DTSTART:20261123T120000Z", "DTEND:20261123T130000Z",
				`ORGANIZER;CN=Alice Example;SENT-BY="mailto:bob@alpha.test":mailto:alice@alpha.test`, attendeeDave)...)},
		{name: "changed", kind: itip.KindChanged,
			changes: []itip.FieldChange{
				{Field: "dtstart", Old: "20261123T100000 Europe/Berlin", New: "20261124T140000 Europe/Berlin"},
				{Field: "dtend", Old: "PT1H30M", New: "20261125T000000Z"}, {Field: "attendee", Old: "bob@alpha.test, dave@mail.test", New: "dave@mail.test, carl@mail.test"},
				{Field: "location", Old: "Room 5", New: "Room 6 <b>"},
				{Field: "rrule", New: "FREQ=MONTHLY;BYDAY=-1FR"}, {Field: "description"}, {Field: "sequence", Old: "0", New: "1"},
				{Field: "summary", Instance: "20261126T100000", Old: "Board meeting", New: "Short board meeting"},
			},
			ics: ics("REQUEST", event("SEQUENCE:1", "SUMMARY:Board meeting", "DTSTART;"+tz+":20261124T140000", "DTEND;"+tz+":20261125T010000",
				"RRULE:FREQ=MONTHLY;BYDAY=-1FR", "LOCATION:Room 6 <b>", organizerAlice, attendeeDave)...)},
		{name: "cancelled", kind: itip.KindCancelled, ics: ics("CANCEL", event("SEQUENCE:1", "STATUS:CANCELLED", "SUMMARY:Board meeting",
			"DTSTART;"+tz+":20261123T100000", "DTEND;"+tz+":20261123T113000", "LOCATION:Room 5", organizerAlice, attendeeDave)...)},
		{name: "cancelled-date", kind: itip.KindCancelled, ics: ics("CANCEL", event("SEQUENCE:2", "STATUS:CANCELLED", "SUMMARY:Board meeting",
			"RECURRENCE-ID;"+tz+":20261130T100000", "COMMENT:Alice is ill", organizerAlice, attendeeDave)...)},
		{name: "cancelled-dates", kind: itip.KindCancelled, ics: ics("CANCEL", join(
			event("SEQUENCE:2", "STATUS:CANCELLED", "SUMMARY:Board meeting", "RECURRENCE-ID;"+tz+":20261130T100000", organizerAlice, attendeeDave),
			event("SEQUENCE:2", "STATUS:CANCELLED", "SUMMARY:Board meeting", "RECURRENCE-ID;"+tz+":20261207T100000", organizerAlice, attendeeDave))...)},
		{name: "reply", kind: itip.KindReply, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("REPLY", event("SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", "COMMENT:Looking forward to it",
				organizerAlice, "ATTENDEE;CN=Dave;PARTSTAT=ACCEPTED:mailto:dave@mail.test")...)},
		{name: "reply-declined", kind: itip.KindReply, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("REPLY", event("SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", organizerAlice, "ATTENDEE;CN=Dave;PARTSTAT=DECLINED:mailto:dave@mail.test")...)},
		{name: "reply-tentative", kind: itip.KindReply, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("REPLY", event("SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", organizerAlice, "ATTENDEE;CN=Dave;PARTSTAT=TENTATIVE:mailto:dave@mail.test")...)},
		{name: "reply-dates", kind: itip.KindReply, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("REPLY", join(
				event("SUMMARY:Board meeting", "RECURRENCE-ID:20261123T090000Z", "DTSTART:20261123T090000Z", organizerAlice, "ATTENDEE;PARTSTAT=DECLINED:mailto:dave@mail.test"),
				event("SUMMARY:Board meeting", "RECURRENCE-ID:20261130T090000Z", "DTSTART:20261130T090000Z", organizerAlice, "ATTENDEE;PARTSTAT=ACCEPTED:mailto:dave@mail.test"))...)},
		{name: "counter", kind: itip.KindCounter, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("COUNTER", event("SEQUENCE:0", "SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T160000", "DTEND;"+tz+":20261123T170000",
				"COMMENT:Four would be better", organizerAlice, attendeeDave)...)},
		{name: "declinecounter", kind: itip.KindDeclined, ics: ics("DECLINECOUNTER", event("SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", organizerAlice, attendeeDave)...)},
		{name: "refresh", kind: itip.KindRefresh, user: dave, to: alice, sender: &Sender{From: dave, Envelope: dave.Email},
			ics: ics("REFRESH", event(organizerAlice, "ATTENDEE:mailto:dave@mail.test")...)},
		{name: "refreshed", kind: itip.KindRefreshed, ics: ics("REQUEST", event("SUMMARY:Board meeting", "DTSTART;"+tz+":20261123T100000", organizerAlice,
			"ATTENDEE;CN=Bob;PARTSTAT=DECLINED:mailto:bob@alpha.test", attendeeDave)...)},
		// A20, A37: a summary that tries to write headers, an encoded word, HTML
		// and direction marks; a name with quotes.
		{name: "hostile", kind: itip.KindNew, user: Mailbox{Name: "Mallory\" <x@y.test>\r\nBcc: all@alpha.test", Email: "mallory@alpha.test"},
			sender: &Sender{From: Mailbox{Name: "Mallory\" <x@y.test>\r\nBcc: all@alpha.test", Email: "mallory@alpha.test"}, Envelope: "mallory@alpha.test"},
			ics: ics("REQUEST", event("SUMMARY:Hi\\nBcc: all@alpha.test\\n\\n=?utf-8?q?=0D=0ABcc:_x@y.test?= <script>alert(1)</script> \u202egnp.exe",
				"DTSTART:20261123T120000Z", "LOCATION:<img src=x onerror=alert(1)>", "URL:javascript:alert(1)",
				"DESCRIPTION:--=_mix_\\n\\nContent-Type: text/html\\n\\n.\\n<b>bold</b>", "ORGANIZER;CN=\"Mallory <script>\":mailto:mallory@alpha.test",
				"ATTENDEE;CN=\"Bob, <i>X</i>\":mailto:bob@alpha.test")...)},
	}
}

func (c goldenCase) letter(t testing.TB) Letter {
	l := Letter{
		Sender: Sender{From: alice, Envelope: alice.Email}, To: dave, User: alice, MessageID: "d-" + c.name + ".0123abcd@alpha.test",
		Date: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC), Object: parseICS(t, c.ics), Kind: c.kind, Changes: c.changes, Loops: []string{"node-1"}, Actions: c.actions, SentBy: c.by,
	}
	if c.sender != nil {
		l.Sender = *c.sender
	}
	if c.user.Email != "" {
		l.User = c.user
	}
	if c.to.Email != "" {
		l.To = c.to
	}
	if l.Sender.Organizer.Email != "" {
		l.Object = asOrganizer(l.Object, "mailto:alice@alpha.test", l.Sender.Organizer)
	}
	return l
}

// Want 21: the mails are compared byte by byte with files, and every one of
// them keeps the rules that Outlook and Google insist on.
func TestComposeGolden(t *testing.T) {
	t.Parallel()
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.letter(t)
			got, err := Compose(l)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "out", c.name+".eml")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("mail differs (run with -update when that is meant):\n%s", cmp.Diff(string(want), string(got)))
			}
			checkMail(t, got, l)
		})
	}
}

type leaf struct {
	mediaType string
	params    map[string]string
	disp      string
	data      []byte
}

// checkMail reads a mail with the standard library and holds it to
// clients.md section 5.
func checkMail(t *testing.T, raw []byte, l Letter) {
	t.Helper()
	text := string(raw)
	if strings.Count(text, "\n") != strings.Count(text, "\r\n") || strings.Count(text, "\r") != strings.Count(text, "\r\n") {
		t.Error("line ends are not all CRLF")
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 300 {
			t.Errorf("line of %d octets", len(line))
		}
		for i := 0; i < len(line); i++ {
			if line[i] >= 0x80 {
				t.Fatalf("8-bit octet in %q", line)
			}
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{"Date": true, "From": true, "Reply-To": true, "To": true, "Subject": true, "Message-Id": true,
		"References": true, "Auto-Submitted": true, "Kalends-Loop": true, "Mime-Version": true, "Content-Type": true, "Sender": l.SentBy.Email != ""}
	for k, v := range m.Header {
		if !allowed[k] || len(v) != 1 {
			t.Errorf("header field %s: %q", k, v)
		}
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	if m.Header.Get("Message-Id") != "<"+l.MessageID+">" || m.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("Message-ID %q, Auto-Submitted %q", m.Header.Get("Message-Id"), m.Header.Get("Auto-Submitted"))
	}
	for _, k := range []string{"From", "To"} {
		if list, err := m.Header.AddressList(k); err != nil || len(list) != 1 {
			t.Errorf("%s: %v %v", k, list, err)
		}
	}
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || strings.ContainsAny(subject, "\r\n") {
		t.Errorf("subject %q: %v", subject, err)
	}
	var shape []string
	var leaves []leaf
	var walk func(contentType string, header func(string) string, body io.Reader)
	walk = func(contentType string, header func(string) string, body io.Reader) {
		mt, params, err := mime.ParseMediaType(contentType)
		if err != nil {
			t.Fatal(err)
		}
		shape = append(shape, mt)
		if strings.HasPrefix(mt, "multipart/") {
			r := multipart.NewReader(body, params["boundary"])
			for {
				p, err := r.NextRawPart()
				if err == io.EOF {
					shape = append(shape, "/")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				walk(p.Header.Get("Content-Type"), p.Header.Get, p)
			}
		}
		data, err := readText(body, header("Content-Transfer-Encoding"), "utf-8", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf{mt, params, header("Content-Disposition"), data})
	}
	walk(m.Header.Get("Content-Type"), m.Header.Get, m.Body)
	if got := strings.Join(shape, " "); got != "multipart/mixed multipart/alternative text/plain text/html text/calendar / application/ics /" {
		t.Errorf("shape %s", got)
	}
	cal, att := leaves[2], leaves[3]
	o := parseICS(t, string(cal.data))
	if cal.params["method"] != o.Method() || cal.params["charset"] != "UTF-8" || o.Method() != l.Object.Method() {
		t.Errorf("method %q in the parameter, %q in the object", cal.params["method"], o.Method())
	}
	// The 7bit part has its last line end before the delimiter.
	if strings.TrimRight(string(cal.data), "\r\n") != strings.TrimRight(string(att.data), "\r\n") || att.disp != `attachment; filename="invite.ics"` {
		t.Errorf("attachment is not the same object, or %q", att.disp)
	}
	for line := range strings.SplitSeq(string(att.data), "\r\n") {
		if len(line) > 75 {
			t.Errorf("calendar line of %d octets", len(line))
		}
	}
	if h := string(leaves[1].data); regexp.MustCompile(`(?i)<(script|img|b|i)\b|javascript:`).MatchString(h) {
		t.Errorf("foreign markup in HTML:\n%s", h)
	}
	back, err := Parse(raw, Limits{})
	if err != nil || back.Fault != nil || back.Sort != SortCalendar || back.Method != l.Object.Method() {
		t.Errorf("our own mail read back: %v %+v", err, back)
	}
}

func TestComposeRefuses(t *testing.T) {
	t.Parallel()
	good := goldenCases()[0].letter(t)
	for name, spoil := range map[string]func(*Letter){
		"message id with a line end": func(l *Letter) { l.MessageID = "a\r\nBcc: x@y.test" },
		"message id without domain":  func(l *Letter) { l.MessageID = "abc" },
		"address with a line end":    func(l *Letter) { l.To.Email = "dave@mail.test\r\nBcc: x@y.test" },
		"address in UTF-8":           func(l *Letter) { l.To.Email = "dävid@mail.test" },
		"no method":                  func(l *Letter) { l.Object = parseICS(t, ics("", event("DTSTART:20260101T000000Z")...)) },
		"script as action":           func(l *Letter) { l.Actions = []Action{{"x", "javascript:alert(1)"}} },
	} {
		l := good
		spoil(&l)
		if _, err := Compose(l); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRepeatsInWords(t *testing.T) {
	t.Parallel()
	tl := newTeller(parseICS(t, ics("", event("DTSTART;TZID=Europe/Berlin:20261123T100000")...)))
	start, _ := readMoment("20261123T100000", "Europe/Berlin")
	for rule, want := range map[string]string{
		"FREQ=DAILY":                                     "every day",
		"FREQ=DAILY;INTERVAL=3;COUNT=4":                  "every 3 days, 4 times",
		"FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR":                "every weekday (Monday to Friday)",
		"FREQ=WEEKLY":                                    "every week on Monday",
		"freq=weekly;interval=2;byday=tu,th;wkst=su":     "every 2 weeks on Tuesday and Thursday",
		"FREQ=WEEKLY;BYDAY=MO,TU,WE":                     "every week on Monday, Tuesday and Wednesday",
		"FREQ=WEEKLY;BYDAY=FR,TH,WE,TU,MO":               "every weekday (Monday to Friday)",
		"FREQ=MONTHLY":                                   "every month on day 23",
		"FREQ=MONTHLY;BYMONTHDAY=-1":                     "every month on the last day",
		"FREQ=MONTHLY;BYMONTHDAY=1,15":                   "every month on days 1 and 15",
		"FREQ=MONTHLY;BYDAY=2TU":                         "every month on the second Tuesday",
		"FREQ=MONTHLY;BYDAY=TU;BYSETPOS=2":               "every month on the second Tuesday",
		"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1":  "every month on the last weekday",
		"FREQ=YEARLY":                                    "every year on 23 November",
		"FREQ=YEARLY;BYMONTH=7;BYMONTHDAY=4":             "every year on 4 July",
		"FREQ=YEARLY;BYMONTH=11;BYDAY=4TH":               "every year on the fourth Thursday of November",
		"FREQ=WEEKLY;UNTIL=20261231T230000Z":             "every week on Monday, until 1 January 2027", // local date
		"FREQ=WEEKLY;UNTIL=20261231":                     "every week on Monday, until 31 December 2026",
		"FREQ=WEEKLY;COUNT=1":                            "every week on Monday, once",
		"FREQ=HOURLY":                                    otherRule,
		"FREQ=WEEKLY;BYDAY=XX":                           otherRule,
		"FREQ=WEEKLY;INTERVAL=0":                         otherRule,
		"FREQ=YEARLY;BYWEEKNO=20":                        otherRule,
		"FREQ=MONTHLY;BYDAY=9TU":                         otherRule,
		"FREQ=WEEKLY;COUNT=2;UNTIL=20261231":             otherRule,
		"FREQ=WEEKLY;FREQ=DAILY":                         otherRule,
		"":                                               otherRule,
		"FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=13;BYSETPOS=1": otherRule,
	} {
		if got := tl.repeats(rule, start); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

func TestEncodeText(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"plain", "Grüße", strings.Repeat("ä🎻 ", 60), "=?utf-8?q?x?=", "a\x01b"} {
		enc := encodeText(s)
		got, err := (&mime.WordDecoder{}).DecodeHeader(enc)
		if err != nil || got != s {
			t.Errorf("%q -> %q -> %q %v", s, enc, got, err)
		}
		for _, w := range strings.Fields(enc) {
			if len(w) > 75 {
				t.Errorf("word of %d characters", len(w))
			}
		}
	}
}

func TestQuotedPrintableKeepsLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	writeText(&b, "text/plain", "a \r\n.\r\nFrom x\r\n")
	_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
	got, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil || strings.TrimSpace(string(got)) != "a \r\n.\r\nFrom x" {
		t.Errorf("%q %v", got, err)
	}
}
