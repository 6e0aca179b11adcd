package calendar

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// crlf writes a text with CRLF line ends.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// cal wraps component lines into a VCALENDAR with CRLF ends.
func cal(body string) string {
	return crlf("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//kalends//test//EN\n" + body + "END:VCALENDAR\n")
}

func mustParse(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) *Object {
	t.Helper()
	o, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, text)
	}
	return o
}

const sample = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example Corp.//Client 4.2//EN
CALSCALE:GREGORIAN
X-WR-CALNAME:Work
BEGIN:VEVENT
UID:9d1c8a3e-5a94-4c2e-a1f5-4c0f2d0a7b11
DTSTAMP:20260105T101500Z
CREATED:20260102T080000Z
LAST-MODIFIED:20260105T101500Z
SEQUENCE:2
SUMMARY:Planning of the spring release\, first round
LOCATION:Room 4\; second floor
DESCRIPTION:Please read the notes before you come.\nWe start on time and e
 nd on time.\nThe agenda stands in the shared folder\, as always.
DTSTART;TZID=Europe/Vienna:20260112T093000
DTEND;TZID=Europe/Vienna:20260112T104500
RRULE:FREQ=WEEKLY;UNTIL=20260630T073000Z;BYDAY=MO
EXDATE;TZID=Europe/Vienna:20260406T093000
STATUS:CONFIRMED
TRANSP:OPAQUE
ORGANIZER;CN="Example, Alice":mailto:alice@alpha.test
ATTENDEE;CN=Alice;PARTSTAT=ACCEPTED:mailto:alice@alpha.test
ATTENDEE;CN=Bob;PARTSTAT=NEEDS-ACTION;RSVP=TRUE;ROLE=REQ-PARTICIPANT:mailto
 :bob@alpha.test
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Reminder
TRIGGER:-PT15M
END:VALARM
END:VEVENT
END:VCALENDAR
`

func TestParseStructure(t *testing.T) {
	t.Parallel()
	o := mustParse(t, crlf(sample))
	if o.Name != "VCALENDAR" || o.Value("CALSCALE") != "GREGORIAN" || len(o.Props) != 4 || len(o.Children) != 1 {
		t.Fatalf("calendar: %+v", o.Component)
	}
	e := o.Master()
	if e.Name != "VEVENT" || len(e.Props) != 17 || len(e.Children) != 1 || e.Children[0].Value("TRIGGER") != "-PT15M" {
		t.Fatalf("event: %d properties, %d children", len(e.Props), len(e.Children))
	}
	if got, want := e.Text("DESCRIPTION"), "Please read the notes before you come.\nWe start on time and end on time.\nThe agenda stands in the shared folder, as always."; got != want {
		t.Errorf("unfolded text %q", got)
	}
	at := e.All("ATTENDEE")
	if at[1].Value() != "mailto:bob@alpha.test" || at[1].Param("partstat") != "NEEDS-ACTION" || len(at[1].Params()) != 4 {
		t.Errorf("attendee %q %v", at[1].Value(), at[1].Params())
	}
	if cn := e.Prop("ORGANIZER").Param("CN"); cn != "Example, Alice" {
		t.Errorf("CN %q", cn)
	}
	if e.line != 6 || e.Prop("DTSTART").line != 16 {
		t.Errorf("lines %d, %d", e.line, e.Prop("DTSTART").line)
	}
}

func TestParseParameters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, value string
		params      string // as fmt prints them
	}{
		{`A:`, "", "[]"},
		{`A::b;c="d"`, `:b;c="d"`, "[]"},
		{`a;x=1:v`, "v", "[{X [1]}]"},
		{`A;X=:v`, "v", "[{X []}]"},
		{`A;X="":v`, "v", "[{X []}]"},
		{`A;X=1,2,"3,4":v`, "v", "[{X [1 2 3,4]}]"},
		{`A;X="a;b:c":v`, "v", "[{X [a;b:c]}]"},
		{`A;X=1;X=2:v`, "v", "[{X [1]} {X [2]}]"},
		{`A;RSVP:v`, "v", "[{RSVP []}]"},
		{`A;RSVP;B=c:v`, "v", "[{RSVP []} {B [c]}]"},
		{`A;CN="a"b:v`, "v", "[{CN [ab]}]"},
		{`A;CN=a "b" c:v`, "v", `[{CN [a "b" c]}]`},
		{`A;CN=a^nb^^n^'c^'^x^:v`, "v", "[{CN [a\nb^n\"c\"^x^]}]"},
		{`A;CN=Zoë:v`, "v", "[{CN [Zoë]}]"},
		{`item1.URL:v`, "v", "[]"},
		{`X_ODD.9;A_B=c:v`, "v", "[{A_B [c]}]"},
	} {
		o := mustParse(t, cal(c.line+"\n"))
		p := o.Props[2]
		if p.Value() != c.value || fmt.Sprint(p.Params()) != c.params {
			t.Errorf("%s: value %q, params %q", c.line, p.Value(), fmt.Sprint(p.Params()))
		}
		if want, _, _ := strings.Cut(strings.ToUpper(c.line), ";"); !strings.HasPrefix(want, p.Name()) {
			t.Errorf("%s: name %q", c.line, p.Name())
		}
	}
}

func TestParseLenient(t *testing.T) {
	t.Parallel()
	want := mustParse(t, crlf(sample)).Bytes()
	for name, text := range map[string]string{
		"LF":                  sample,
		"CR CR LF":            strings.ReplaceAll(sample, "\n", "\r\r\n"),
		"mixed ends":          strings.Replace(crlf(sample), "\r\n", "\n", 7),
		"byte order mark":     "\ufeff" + crlf(sample),
		"no last line end":    strings.TrimSuffix(crlf(sample), "\r\n"),
		"trailing lines":      crlf(sample) + "\r\n\r\n \r\n",
		"empty lines":         strings.ReplaceAll(crlf(sample), "BEGIN:V", "\r\nBEGIN:V"),
		"small BEGIN and END": strings.NewReplacer("BEGIN:VEVENT", "begin:vevent", "END:VEVENT", "End:vEvent").Replace(crlf(sample)),
	} {
		o, err := Parse([]byte(text), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := o.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s: written as\n%s", name, got)
		}
	}
}

// A fold may fall into the middle of a character (RFC 5545 §3.1); what is
// written is UTF-8 line by line.
func TestParseFoldInsideCharacter(t *testing.T) {
	t.Parallel()
	text := cal("BEGIN:VEVENT\nSUMMARY:Caf\xc3\n \xa9 au lait\nX-A:1\nEND:VEVENT\n")
	o := mustParse(t, text)
	if got := o.Master().Text("SUMMARY"); got != "Café au lait" {
		t.Errorf("summary %q", got)
	}
	if got, want := string(o.Bytes()), strings.Replace(text, "\xc3\r\n \xa9", "\xc3\xa9", 1); got != want {
		t.Errorf("written as\n%s", got)
	}
	_, err := Parse([]byte(strings.Replace(text, "\xa9", "x", 1)), Limits{})
	if CodeOf(err) != CodeInvalidData {
		t.Errorf("broken UTF-8: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "no VCALENDAR in the text"},
		{"blank", "\r\n\r\n", "no VCALENDAR in the text"},
		{"HTML", "<html>\n</html>\n", `the line does not begin with a property name: "<html>" (line 1)`},
		{"no calendar", crlf("BEGIN:VEVENT\nEND:VEVENT\n"), "VEVENT stands outside of a VCALENDAR (line 1)"},
		{"property first", crlf("VERSION:2.0\n" + sample), "VERSION stands outside of a VCALENDAR (line 1)"},
		{"text behind", crlf(sample + "X:1\n"), "X stands outside of a VCALENDAR (line 33)"},
		{"two", crlf(sample + sample), "a second VCALENDAR follows the first (line 33)"},
		{"nested calendar", cal("BEGIN:VCALENDAR\nEND:VCALENDAR\n"), "VCALENDAR inside of VCALENDAR (line 4)"},
		{"not closed", crlf("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\n"), "VCALENDAR is not closed: END:VCALENDAR is missing (line 1)"},
		{"crossed", cal("BEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\nEND:VALARM\n"), "END:VEVENT where END:VALARM is expected (BEGIN in line 5) (line 6)"},
		{"END alone", "END:VCALENDAR\r\n", "END:VCALENDAR without BEGIN (line 1)"},
		{"BEGIN alone", cal("BEGIN:\n"), `BEGIN without a component name: "" (line 4)`},
		{"odd BEGIN", cal("BEGIN:V EVENT\n"), `BEGIN without a component name: "V EVENT" (line 4)`},
		{"no colon", cal("DTSTART;TZID=X\n"), "DTSTART: no colon before the value (line 4)"},
		{"END with parameters", cal("BEGIN:VEVENT\nEND;00:VEVENT\nEND:VEVENT\n"), `END has parameters: "END;00:VEVENT" (line 5)`},
		{"BEGIN with parameters", cal("BEGIN;X=1:VEVENT\nEND:VEVENT\n"), `BEGIN has parameters: "BEGIN;X=1:VEVENT" (line 4)`},
		{"no colon 2", cal("DTSTART\n"), `no colon after the property name: "DTSTART" (line 4)`},
		{"no colon 3", cal("DTSTART;TZID\n"), "DTSTART: no colon before the value (line 4)"},
		{"blank in name", cal("DT START:1\n"), `no colon after the property name: "DT START:1" (line 4)`},
		{"open quote", cal("A;CN=\"x:y\n"), "A: the quote in CN is not closed (line 4)"},
		{"empty parameter", cal("A;=1:y\n"), "A: a parameter without a name (line 4)"},
		{"empty parameter 2", cal("A;;B=1:y\n"), "A: a parameter without a name (line 4)"},
		{"odd parameter", cal("A;B C=1:y\n"), "A: no equals sign after the parameter B (line 4)"},
		{"first line folded", " BEGIN:VCALENDAR\r\n", "a folded line without a line before it (line 1)"},
		{"fold after empty line", cal("A:1\n\n b\n"), "a folded line after an empty line (line 5)"},
		{"bare CR", cal("A:1\rB:2\n"), "a carriage return without a line feed (line 4)"},
	} {
		_, err := Parse([]byte(c.text), Limits{})
		if err == nil || err.Error() != c.want || CodeOf(err) != CodeInvalidData {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		}
	}
}

// A08: lines without end, NUL bytes, broken UTF-8, deep nesting, masses of
// parameters; A07: masses of components. Each is one clean error.
func TestParseLimits(t *testing.T) {
	t.Parallel()
	rep := strings.Repeat
	for _, c := range []struct {
		name, text string
		lim        Limits
		code       Code
		want       string
	}{
		{"A08 size", cal("X:" + rep("a", 11<<20) + "\n"), Limits{}, CodeMaxSize, "at most 10485760 are accepted"},
		{"A08 line of 50 MB", cal("X:" + rep("a", 50<<20) + "\n"), Limits{Bytes: 100 << 20}, CodeInvalidData, "a line of 52428802 octets, at most 4194304 are accepted (line 4)"},
		{"A08 folded line of 5 MB", cal("X:" + rep("a\n ", 5<<20) + "\n"), Limits{Bytes: 100 << 20}, CodeInvalidData, "(line 4)"},
		{"A08 NUL", cal("A:1\nX:\x00\n"), Limits{}, CodeInvalidData, "a NUL byte in the text (line 5)"},
		{"A08 UTF-8", cal("A:1\nX:a\xff\n"), Limits{}, CodeInvalidData, `the text is not UTF-8: "X:a\xff" (line 5)`},
		{"A08 UTF-8 surrogate", cal("X:\xed\xa0\x80\n"), Limits{}, CodeInvalidData, "the text is not UTF-8"},
		{"A08 UTF-16", "\xff\xfeB\x00E\x00", Limits{}, CodeInvalidData, "a NUL byte in the text (line 1)"},
		{"A08 nesting", crlf(rep("BEGIN:VCALENDAR\n", 1) + rep("BEGIN:X\n", 1_000_000)), Limits{}, CodeInvalidData, "components are nested more than 10 deep (line 11)"},
		{"A08 parameters", cal("X" + rep(";A=1", 1_000_000) + ":\n"), Limits{}, CodeInvalidData, "X: more than 1000 parameters (line 4)"},
		{"A08 parameters without value", cal("X" + rep(";A", 1_000_000) + ":\n"), Limits{}, CodeInvalidData, "X: more than 1000 parameters (line 4)"},
		{"A08 parameter values", cal("X;A=1" + rep(",1", 1_000_000) + ":\n"), Limits{}, CodeInvalidData, "X: more than 1000 parameters (line 4)"},
		{"A08 parameters in all", cal(rep("X;A=1;A=1;A=1;A=1;A=1:\n", 100)), Limits{Properties: 110}, CodeInvalidData, "more than 440 parameters (line 92)"},
		{"A07 components", cal(rep("BEGIN:VEVENT\nEND:VEVENT\n", 100_000)), Limits{}, CodeInvalidData, "more than 50000 components (line 100002)"},
		{"A07 properties", cal(rep("A:\n", 300_000)), Limits{}, CodeInvalidData, "more than 250000 properties (line 250002)"},
	} {
		_, err := Parse([]byte(c.text), c.lim)
		if err == nil || !strings.Contains(err.Error(), c.want) || CodeOf(err) != c.code {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: a message of %d octets", c.name, len(err.Error()))
		}
	}
}

// A08: memory stays a small multiple of the text, also for the texts that
// need most of it.
func TestParseMemory(t *testing.T) {
	for name, line := range map[string]string{
		"short lines":      "A:\r\n",
		"short parameters": "A;B=;B=;B=;B=:\r\n",
		"folds":            "A:\r\n b\r\n c\r\n",
		"caret":            `A;B="^n^n^n^n^n^n":` + "\r\n",
		"small names":      "abc;def=1:\r\n",
	} {
		text := []byte("BEGIN:VCALENDAR\r\n" + strings.Repeat(line, 200_000) + "END:VCALENDAR\r\n")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(text, Limits{})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64*uint64(len(text)) {
			t.Errorf("%s: %d bytes for a text of %d", name, got, len(text))
		}
	}
}

func TestParseAll(t *testing.T) {
	t.Parallel()
	one := crlf(sample)
	objects, err := ParseAll([]byte("\ufeff"+one+"\r\n\ufeff"+one+one), Limits{})
	if err != nil || len(objects) != 3 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for _, o := range objects {
		if string(o.Bytes()) != one {
			t.Errorf("written as\n%s", o.Bytes())
		}
	}
	if _, err := ParseAll([]byte(" "), Limits{}); CodeOf(err) != CodeInvalidData {
		t.Errorf("nothing: %v", err)
	}
	if _, err := ParseAll([]byte(one+"junk"), Limits{}); err == nil || !strings.Contains(err.Error(), "(line 33)") {
		t.Errorf("junk behind: %v", err)
	}
}

func TestErrorIs(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("x"), Limits{})
	err = fmt.Errorf("import: %w", err)
	if !errors.Is(err, &Error{Code: CodeInvalidData}) || errors.Is(err, &Error{Code: CodeMaxSize}) {
		t.Error("errors.Is must ask for the code")
	}
	cause := errors.New("cause")
	if err := (&Error{Code: CodeBudget, Err: cause}); !errors.Is(err, cause) || err.Error() != "number-of-matches-within-limits: cause" {
		t.Errorf("wrapped: %v", err)
	}
	if CodeOf(cause) != "" {
		t.Error("foreign errors have no code")
	}
}

// Foreign text in messages is short and whole characters.
func TestExcerpt(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("a"+strings.Repeat("é", 1000)+"\n"), Limits{})
	if want := `no colon after the property name: "a` + strings.Repeat("é", 19) + `…" (line 1)`; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// The caller may use its buffer again.
func TestParseCopies(t *testing.T) {
	t.Parallel()
	data := []byte(crlf(sample))
	o, err := Parse(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if string(o.Bytes()) != crlf(sample) {
		t.Error("the object changed with the buffer")
	}
}

// Slices handed out by the parser must not share room behind their ends.
func TestParseSlabsAreApart(t *testing.T) {
	t.Parallel()
	o := mustParse(t, crlf(sample))
	e := o.Master()
	want := e.Children[0].Append(nil)
	o.Add(NewProperty("X-NEW", "1"))
	e.Add(NewProperty("X-NEW", "2"))
	for _, p := range e.Props {
		p.params = append(p.params, NewParam("X-P", "1"))
	}
	at := e.All("ATTENDEE")
	if !bytes.Equal(want, e.Children[0].Append(nil)) || at[0].Param("PARTSTAT") != "ACCEPTED" || at[1].Param("PARTSTAT") != "NEEDS-ACTION" {
		t.Errorf("an append reached a neighbour:\n%s", o.Bytes())
	}
}

// canonicalText draws texts that must come back octet by octet.
func canonicalText(t *rapid.T) string {
	name := rapid.StringMatching(`[A-Z][A-Z0-9-]{0,12}`).Filter(func(s string) bool { return s != "BEGIN" && s != "END" })
	value := rapid.StringOf(rapid.RuneFrom([]rune("ab ,;:\\\"^=\tné漢😀")))
	param := rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("ab /^n'é漢"))),
		rapid.Map(rapid.StringOf(rapid.RuneFrom([]rune("ab ,;:^é😀"))), func(s string) string { return `"` + s + `"` }),
	)
	var b strings.Builder
	line := func(s string) {
		for len(s) > 0 { // folds anywhere between characters
			r := []rune(s)
			n := rapid.IntRange(1, 80).Draw(t, "fold")
			if n >= len(r) || b.Len() == 0 {
				b.WriteString(s)
				break
			}
			b.WriteString(string(r[:n]) + "\r\n ")
			s = string(r[n:])
		}
		b.WriteString("\r\n")
	}
	var component func(name string, depth int)
	component = func(n string, depth int) {
		b.WriteString("BEGIN:" + n + "\r\n")
		for range rapid.IntRange(0, 5).Draw(t, "properties") {
			s := name.Draw(t, "name")
			for range rapid.IntRange(0, 3).Draw(t, "parameters") {
				s += ";" + name.Draw(t, "parameter") + "=" + strings.Join(rapid.SliceOfN(param, 1, 3).Draw(t, "values"), ",")
			}
			line(s + ":" + value.Draw(t, "value"))
		}
		if depth < 4 {
			for range rapid.IntRange(0, 2).Draw(t, "children") {
				component(rapid.SampledFrom([]string{"VEVENT", "VALARM", "VTIMEZONE", "X-ODD"}).Draw(t, "child"), depth+1)
			}
		}
		b.WriteString("END:" + n + "\r\n")
	}
	component("VCALENDAR", 1)
	return b.String()
}

func TestRoundTripProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := canonicalText(t)
		o, err := Parse([]byte(text), Limits{})
		if err != nil {
			t.Fatalf("%v\n%q", err, text)
		}
		if got := string(o.Bytes()); got != text {
			t.Fatalf("got  %q\nwant %q", got, text)
		}
		checkRewrite(t, o)
	})
}

// checkRewrite tests that o means the same when every line is written anew.
func checkRewrite(t interface {
	Fatalf(string, ...any)
}, o *Object) {
	forget := o.Clone()
	forget.walk(func(c *Component) {
		for _, p := range c.Props {
			p.raw = ""
		}
	})
	text := forget.Bytes()
	for l := range bytes.Lines(text) {
		if len(l) > foldAt+2 || !bytes.HasSuffix(l, []byte("\r\n")) {
			t.Fatalf("bad line %q", l)
		}
	}
	again, err := Parse(text, Limits{})
	if err != nil {
		t.Fatalf("written anew: %v\n%q", err, text)
	}
	if !sameMeaning(o.Component, again.Component) {
		t.Fatalf("written anew it differs:\n%q\n%q", o.Bytes(), text)
	}
}

func (c *Component) walk(f func(*Component)) {
	f(c)
	for _, k := range c.Children {
		k.walk(f)
	}
}

func sameMeaning(a, b *Component) bool {
	return a.Name == b.Name &&
		slices.EqualFunc(a.Props, b.Props, func(p, q *Property) bool {
			return p.name == q.name && p.value == q.value && slices.EqualFunc(p.params, q.params, func(x, y Param) bool {
				return x.Name == y.Name && slices.Equal(x.Values, y.Values)
			})
		}) && slices.EqualFunc(a.Children, b.Children, sameMeaning)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		crlf(sample), sample, "\ufeff" + sample,
		cal("BEGIN:VEVENT\nSUMMARY:Caf\xc3\n \xa9\nEND:VEVENT\n"),
		cal("A;CN=\"a\"b;X=^n^^^':v\n"), cal("A;RSVP;B=:v\n"), cal("item1.URL:x\n"),
		cal("DTSTART;TZID=X\n"), cal("A:1\rB\n"), cal("\n\n"), "BEGIN:VCALENDAR\nEND:VCALENDAR",
		cal("BEGIN:VTODO\nBEGIN:VALARM\nEND:VALARM\nX-LATE:1\nEND:VTODO\nX-LATER:2\n"),
		cal("UID:../../etc/passwd\nTZID:a\"b\nX:" + strings.Repeat("é", 80) + "\n"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := ParseAll(data, Limits{})
		if err != nil {
			if code := CodeOf(err); code != CodeInvalidData && code != CodeMaxSize {
				t.Fatalf("error without a code: %v", err)
			}
			if _, err := Parse(data, Limits{}); err == nil {
				t.Fatal("Parse takes what ParseAll refuses")
			}
			return
		}
		for _, o := range objects {
			text := o.Bytes()
			again, err := Parse(text, Limits{})
			if err != nil {
				t.Fatalf("own output: %v\n%q", err, text)
			}
			if !bytes.Equal(again.Bytes(), text) {
				t.Fatalf("not stable:\n%q\n%q", text, again.Bytes())
			}
			checkRewrite(t, o)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := []byte(crlf(sample))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBytes(b *testing.B) {
	o := mustParse(b, crlf(sample))
	b.SetBytes(int64(len(sample)))
	b.ReportAllocs()
	for b.Loop() {
		o.Bytes()
	}
}
