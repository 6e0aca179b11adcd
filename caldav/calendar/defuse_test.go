package calendar

import (
	"strings"
	"testing"
)

// A55: what comes from outside must not act in the program that shows it.
func TestDefuse(t *testing.T) {
	t.Parallel()
	keep := []string{
		"DTSTART:20260105T100000Z",
		`SUMMARY:see file:///etc/passwd and \\\\host\\share`,
		"DESCRIPTION:<b>plain text</b> javascript:x",
		"ATTACH:https://alpha.test/agenda.pdf",
		"ATTACH;FMTTYPE=image/png;ENCODING=BASE64;VALUE=BINARY:iVBORw0KGgo=",
		"ATTACH:cid:part1@alpha.test",
		"URL:https://alpha.test/meeting",
		"CONFERENCE;VALUE=URI;FEATURE=AUDIO:tel:+43-1-5550100",
		"CONFERENCE;VALUE=URI:https://meet.alpha.test/1",
		"ATTENDEE;DIR=\"https://alpha.test/bob\":mailto:bob@alpha.test",
		"X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE=Hall:geo:48.2,16.3",
		"STYLED-DESCRIPTION;FMTTYPE=text/plain;VALUE=TEXT:hello",
		"X-UNKNOWN:keep me",
		"URL:",
	}
	drop := []string{
		"ATTACH:file:///C:/Windows/calc.exe",
		`ATTACH:\\host\share\x.exe`,
		"ATTACH://host/share",
		`ATTACH:C:\x.exe`,
		"ATTACH;FMTTYPE=text/html;ENCODING=BASE64;VALUE=BINARY:PGI+",
		"ATTACH:FILE:/x",
		"ATTACH:data:text/html,<script>",
		"IMAGE;VALUE=URI:file:///x.png",
		"URL:javascript:alert(1)",
		"URL:ms-msdt:/id PCWDiagnostic",
		"URL:https:evil",
		"URL:https://a b",
		"CONFERENCE;VALUE=URI:zoommtg://zoom.test/join",
		"STYLED-DESCRIPTION;FMTTYPE=text/html;VALUE=TEXT:<b>x</b>",
		"X-ALT-DESC;FMTTYPE=text/html:<b>x</b>",
		"X-SOUND:file:///x.wav",
		`X-SHARE:"\\\\host\\share"`,
	}
	alarm := func(lines string) string { return "BEGIN:VALARM\n" + lines + "TRIGGER:-PT5M\nEND:VALARM\n" }
	display := alarm("ACTION:DISPLAY\nDESCRIPTION:x\n")
	lines := func(s []string) string { return strings.Join(s, "\n") + "\n" }

	o := mustParse(t, event(lines(drop)+lines(keep)+alarm("ACTION:PROCEDURE\nATTACH:https://evil.test/x\n")+display+
		alarm("ACTION:EMAIL\nATTENDEE:mailto:victim@beta.test\n")+alarm("")+alarm("ACTION:AUDIO\nATTACH:file:///x.wav\n")))
	if n, want := Defuse(o), len(drop)+4; n != want {
		t.Errorf("%d things removed, want %d", n, want)
	}
	if got, want := string(o.Bytes()), event(lines(keep)+display+alarm("ACTION:AUDIO\n")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := Defuse(o); n != 0 {
		t.Errorf("%d more things the second time", n)
	}

	o = mustParse(t, event("DTSTART:20260105T100000Z\nDESCRIPTION;ALTREP=\"data:text/html,<b>\";X-A=\"a\x07\":a\x0bb\n"))
	if n := Defuse(o); n != 2 {
		t.Errorf("%d changes in the description", n)
	}
	if got, want := string(o.Bytes()), event("DTSTART:20260105T100000Z\nDESCRIPTION;X-A=a:ab\n"); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if err := Validate(o, Rules{}); err != nil {
		t.Error(err)
	}
	o = mustParse(t, crlf(sample))
	if n := Defuse(o); n != 0 || string(o.Bytes()) != crlf(sample) {
		t.Errorf("an ordinary invitation was changed in %d places", n)
	}
}
