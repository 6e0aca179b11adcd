package calendar

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBytesVerbatimUntilChanged(t *testing.T) {
	t.Parallel()
	o := mustParse(t, cal(`BEGIN:VEVENT
summary;language=en:odd
  fold
ATTENDEE;CN="No quotes needed";X-P=1;X-P=2:mailto:a@alpha.test
DTSTART:20260101T000000Z
END:VEVENT
`))
	e := o.Master()
	want := string(o.Bytes())
	e.SetValue("DTSTART", "20260101T000000Z")
	e.Prop("ATTENDEE").SetParam("CN", "No quotes needed")
	e.Prop("ATTENDEE").DelParam("ABSENT")
	if got := string(o.Bytes()); got != want {
		t.Errorf("setting what is there changed the text:\n%s", got)
	}
	e.Prop("ATTENDEE").SetParam("PARTSTAT", "ACCEPTED")
	want = strings.Replace(want, `;CN="No quotes needed";X-P=1;X-P=2`, `;CN=No quotes needed;X-P=1;X-P=2;PARTSTAT=ACCEPTED`, 1)
	want = strings.Replace(want, "mailto:a@alpha.test", "mailto:a@alpha.t\r\n est", 1)
	if got := string(o.Bytes()); got != want {
		t.Errorf("one parameter set:\n%s\nwant\n%s", got, want)
	}
	copied := o.Clone()
	copied.Master().Prop("ATTENDEE").DelParam("X-P")
	if v := copied.Master().Prop("ATTENDEE").ParamValues("X-P"); v != nil {
		t.Errorf("a repetition of the parameter is left: %q", v)
	}
	if got := string(o.Bytes()); got != want {
		t.Errorf("a change of the copy reached the original:\n%s", got)
	}
}

func TestSetParamRepeated(t *testing.T) {
	t.Parallel()
	o := mustParse(t, cal("A;B=1;C=2;b=3;B=1:v\n"))
	p := o.Props[2]
	p.SetParam("B", "1")
	if got := string(p.appendTo(nil)); got != "A;B=1;C=2:v\r\n" {
		t.Errorf("got %q", got)
	}
	p.SetParam("B")
	if got := string(p.appendTo(nil)); got != "A;C=2:v\r\n" {
		t.Errorf("got %q", got)
	}
}

// A10, A20: nothing that is set can end its line and begin another.
func TestWriteHasNoInjection(t *testing.T) {
	t.Parallel()
	evil := "a\r\nATTENDEE:mailto:eve@evil.test\nX:1\x00\xff\"^;:,"
	for name, p := range map[string]*Property{
		"value":        NewProperty("SUMMARY", evil),
		"text":         NewProperty("SUMMARY", EscapeText(evil)),
		"parameter":    NewProperty("X-A", "v", NewParam("CN", evil, evil)),
		"no parameter": NewProperty("X-A", "v", NewParam("CN")),
	} {
		line := string(p.appendTo(nil))
		if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
			t.Errorf("%s: %q", name, line)
		}
		o := mustParse(t, "BEGIN:VCALENDAR\r\n"+line+"END:VCALENDAR\r\n")
		if len(o.Props) != 1 || o.Props[0].Name() != p.Name() || len(o.Props[0].Params()) != len(p.Params()) {
			t.Errorf("%s: read back as %d properties:\n%s", name, len(o.Props), line)
		}
	}
	o := mustParse(t, "BEGIN:VCALENDAR\r\n"+string(NewProperty("A", "", NewParam("CN", evil)).appendTo(nil))+"END:VCALENDAR\r\n")
	if got, want := o.Props[0].Param("CN"), "a\nATTENDEE:mailto:eve@evil.test\nX:1\ufffd\"^;:,"; got != want {
		t.Errorf("parameter read back as %q", got)
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"a", "é", "漢", "😀", "a😀", "\x80\x80\x80\x80\x80\x80\x80"} {
		for n := range 260 {
			s := strings.Repeat(unit, n)
			folded := string(appendFolded(nil, s))
			for i, l := range strings.Split(folded, "\r\n") {
				if len(l) > foldAt || i > 0 && (l[0] != ' ' || len(l) == 1) || utf8.ValidString(s) && !utf8.ValidString(l) {
					t.Fatalf("%d x %q: line %d is %q", n, unit, i, l)
				}
			}
			if strings.ReplaceAll(folded, "\r\n ", "") != s {
				t.Fatalf("%d x %q: text lost", n, unit)
			}
		}
	}
	if got := string(appendFolded(nil, strings.Repeat("x", 76))); got != strings.Repeat("x", 75)+"\r\n x" {
		t.Errorf("fold of 76 octets: %q", got)
	}
}

func TestEscapeText(t *testing.T) {
	t.Parallel()
	for text, wire := range map[string]string{
		"plain":               "plain",
		"a,b;c\\d":            `a\,b\;c\\d`,
		"two\nlines":          `two\nlines`,
		"two\r\nlines\rthree": `two\nlines\nthree`,
		"tab\tbell\a\x7f":     "tab\tbell",
	} {
		if got := EscapeText(text); got != wire {
			t.Errorf("%q: %q, want %q", text, got, wire)
		}
	}
	for wire, text := range map[string]string{
		`a\,b\;c\\d`: "a,b;c\\d", `\n\N`: "\n\n", `\x\`: `x\`, `C:\\new`: `C:\new`,
	} {
		if got := UnescapeText(wire); got != text {
			t.Errorf("%q: %q, want %q", wire, got, text)
		}
	}
}
