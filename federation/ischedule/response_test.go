package ischedule

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
)

func TestResponseVectors(t *testing.T) {
	t.Parallel()
	var set struct {
		Cases []struct {
			File   string             `json:"file"`
			HTTP   int                `json:"http_status"`
			Sent   []calendar.Address `json:"sent_recipients"`
			Expect map[string]string  `json:"expect"`
		} `json:"cases"`
	}
	vectorJSON(t, "responses.json", &set)
	if len(set.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range set.Cases {
		a := ReadAnswer(c.HTTP, vectorFile(t, c.File), c.Sent)
		if len(a.Outcomes) != len(c.Sent) {
			t.Errorf("%s: %d outcomes for %d recipients", c.File, len(a.Outcomes), len(c.Sent))
		}
		for _, o := range a.Outcomes {
			if o.Code != c.Expect[string(o.Recipient)] {
				t.Errorf("%s: %s: %s, want %s", c.File, o.Recipient, o.Code, c.Expect[string(o.Recipient)])
			}
		}
		if strings.Contains(c.File, "freebusy") {
			data := a.Outcomes[0].CalendarData
			if !bytes.HasPrefix(data, []byte("BEGIN:VCALENDAR\r\n")) || !bytes.HasSuffix(data, []byte("END:VCALENDAR\r\n")) ||
				bytes.Count(data, []byte("\n")) != bytes.Count(data, []byte("\r\n")) || bytes.Contains(data, []byte("\r\r")) {
				t.Errorf("%s: calendar data %q", c.File, data)
			}
		}
	}
}

func TestReadAnswerDispositions(t *testing.T) {
	t.Parallel()
	response := func(entries ...string) string {
		return `<schedule-response xmlns="` + Namespace + `">` + strings.Join(entries, "") + `</schedule-response>`
	}
	entry := func(recipient, status string) string {
		return "<response><recipient>" + recipient + "</recipient><request-status>" + status + "</request-status></response>"
	}
	errorDoc := func(name string) string { return `<error xmlns="` + Namespace + `"><` + name + `/></error>` }
	bob := "mailto:bob@south.example"
	for _, c := range []struct {
		name   string
		http   int
		body   string
		code   string
		action Disposition
	}{
		{"success", 200, response(entry(bob, "2.0;Success")), "2.0", Done},
		{"single instance", 200, response(entry(bob, "2.8;once")), "2.8", Done},
		{"delivered", 200, response(entry(bob, "1.2")), "1.2", Done},
		{"deferred", 200, response(entry(bob, "1.0;later")), "1.0", Retry},
		{"temporary", 200, response(entry(bob, "5.1;busy")), "5.1", Retry},
		{"three parts", 200, response(entry(bob, "3.1.2;x")), "3.1.2", Fail},
		{"unknown user", 200, response(entry(bob, "3.7")), "3.7", Fail},
		{"capability", 200, response(entry(bob, "3.14;RSCALE")), "3.14", Mail},
		{"blank for semicolon", 200, response(entry(bob, "2.0 Success")), "2.0", Done},
		{"no number", 200, response(entry(bob, "Success")), "5.1", Retry},
		{"no status", 200, response("<response><recipient>" + bob + "</recipient></response>"), "5.1", Retry},
		{"contradiction", 200, response(entry(bob, "2.0"), entry(strings.ToUpper(bob), "3.8;no")), "3.8", Fail},
		{"contradiction, other order", 200, response(entry(bob, "3.8;no"), entry(bob, "2.0")), "3.8", Fail},
		{"final is worse than temporary", 200, response(entry(bob, "5.1"), entry(bob, "3.7")), "3.7", Fail},
		{"wrong namespace", 200, strings.ReplaceAll(response(entry(bob, "2.0")), Namespace, "urn:other"), "5.1", Retry},
		{"empty", 200, "", "5.1", Retry},
		{"accepted without document", 202, "", "5.1", Retry},
		{"204", 204, "", "5.1", Retry},
		{"document under another status", 202, response(entry(bob, "2.0")), "5.1", Retry},
		{"verification", 403, errorDoc("verification-failed"), "5.1", Fail},
		{"key lookup failed there", 503, errorDoc("verification-failed"), "5.1", Retry},
		{"denied with 200", 200, errorDoc("originator-denied"), "5.1", Fail},
		{"version", 403, errorDoc("version-not-supported"), "5.1", Mail},
		{"too long", 400, errorDoc("max-content-length"), "5.1", Mail},
		{"empty error", 403, `<error xmlns="` + Namespace + `"/>`, "5.1", Fail},
		{"plain 412", 412, "DKIM signature invalid", "5.1", Fail},
		{"404", 404, "", "5.1", Fail},
		{"408", 408, "", "5.1", Retry},
		{"425", 425, "", "5.1", Retry},
		{"429", 429, "", "5.1", Retry},
		{"500", 500, "", "5.1", Retry},
		{"501", 501, "", "5.1", Fail},
		{"503", 503, "<html>", "5.1", Retry},
		{"505", 505, "", "5.1", Fail},
		{"507", 507, "", "5.1", Fail},
		{"303", 303, "", "5.1", Fail},
		{"DTD", 200, "<!DOCTYPE x>" + response(entry(bob, "2.0")), "5.1", Retry},
		{"too large", 200, response(entry(bob, "2.0")) + strings.Repeat(" ", MaxResponseSize), "5.1", Retry},
	} {
		a := ReadAnswer(c.http, []byte(c.body), []calendar.Address{calendar.Address(bob)})
		if o := a.Outcomes[0]; o.Code != c.code || o.Disposition != c.action {
			t.Errorf("%s: %s %s, want %s %s", c.name, o.Code, o.Disposition, c.code, c.action)
		}
	}
}

func TestResponseDocument(t *testing.T) {
	t.Parallel()
	data := []byte("BEGIN:VCALENDAR\r\nSUMMARY:a < b & c ]]>\r\nEND:VCALENDAR\r\n")
	in := []Result{
		{Recipient: "mailto:one@south.example", Status: "2.0;Success", CalendarData: data},
		{Recipient: "TWO@south.example", Status: "3.7;Invalid calendar user", Description: "no such <user>\x00"},
	}
	doc := ResponseDocument(in)
	a := ReadAnswer(200, doc, []calendar.Address{"mailto:two@south.example", "mailto:one@south.example"})
	if a.Err != nil {
		t.Fatalf("%v\n%s", a.Err, doc)
	}
	if o := a.Outcomes[0]; o.Code != "3.7" || o.Text != "Invalid calendar user" || o.Disposition != Fail {
		t.Errorf("first outcome %+v", o)
	}
	if o := a.Outcomes[1]; o.Code != "2.0" || !bytes.Equal(o.CalendarData, data) {
		t.Errorf("second outcome %+v", o)
	}
	if !bytes.Contains(doc, []byte("<recipient>TWO@south.example</recipient>")) {
		t.Errorf("recipient is not written as received: %s", doc)
	}
	a = ReadAnswer(403, ErrorDocument(OriginatorDenied, "not <yours>"), []calendar.Address{"mailto:one@south.example"})
	if a.Condition != OriginatorDenied || a.Description != "not <yours>" {
		t.Errorf("error document reads as %+v", a)
	}
}

func TestScheduleStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code     string
		freeBusy bool
		want     string
	}{{"2.0", false, "1.2"}, {"2.0", true, "2.0"}, {"1.2", false, "1.2"}, {"2.8", false, "2.8"}, {"3.7", false, "3.7"}, {"5.3", false, "5.3"}} {
		if got := ScheduleStatus(c.code, c.freeBusy); got != c.want {
			t.Errorf("%s: %s, want %s", c.code, got, c.want)
		}
	}
}

func FuzzResponse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectorsDir(), "responses", "*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, b)
		f.Add(403, b)
	}
	sent := []calendar.Address{"mailto:one@south.example", "two@south.example"}
	f.Fuzz(func(t *testing.T, status int, b []byte) {
		a := ReadAnswer(status, b, sent)
		if len(a.Outcomes) != len(sent) {
			t.Fatalf("%d outcomes", len(a.Outcomes))
		}
		for _, o := range a.Outcomes {
			if code, _, ok := ParseStatus(o.Code); !ok || code != o.Code {
				t.Fatalf("code %q", o.Code)
			}
		}
	})
}
