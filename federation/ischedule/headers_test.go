package ischedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
)

func headers(lines ...string) []dkim.Header {
	var hs []dkim.Header
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		hs = append(hs, dkim.Header{Name: name, Value: strings.TrimSpace(value)})
	}
	return hs
}

// without returns the good header set with the named ones replaced.
func replaced(name string, lines ...string) []dkim.Header {
	good := headers(
		"iSchedule-Version: 1.0",
		"Content-Type: text/calendar; charset=utf-8; component=VEVENT; method=REQUEST",
		"Originator: mailto:alice@north.example",
		"Recipient: mailto:bob@south.example",
	)
	var out []dkim.Header
	for _, h := range good {
		if !strings.EqualFold(h.Name, name) {
			out = append(out, h)
		}
	}
	return append(out, headers(lines...)...)
}

func TestReadEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("mailto:u%d@south.example", i)
	}
	cases := []struct {
		name string
		in   []dkim.Header
		want Condition
	}{
		{"no version", replaced("iSchedule-Version"), VersionNotSupported},
		{"version 2", replaced("iSchedule-Version", "iSchedule-Version: 2.0"), VersionNotSupported},
		{"version is no prefix", replaced("iSchedule-Version", "iSchedule-Version: 1.01"), VersionNotSupported},
		{"no content type", replaced("Content-Type"), InvalidCalendarDataType},
		{"two content types", replaced("", "Content-Type: text/calendar; component=VEVENT; method=REPLY"), InvalidCalendarDataType},
		{"joined content types", replaced("Content-Type", "Content-Type: text/calendar; component=VEVENT; method=REPLY, text/calendar"), InvalidCalendarDataType},
		{"json", replaced("Content-Type", "Content-Type: application/calendar+json; component=VEVENT; method=REQUEST"), InvalidCalendarDataType},
		{"latin 1", replaced("Content-Type", "Content-Type: text/calendar; charset=iso-8859-1; component=VEVENT; method=REQUEST"), InvalidCalendarDataType},
		{"method twice", replaced("Content-Type", "Content-Type: text/calendar; method=REPLY; component=VEVENT; method=REQUEST"), InvalidCalendarDataType},
		{"no originator", replaced("Originator"), OriginatorMissing},
		{"empty originator", replaced("Originator", "Originator:"), OriginatorMissing},
		{"two originators", replaced("", "Originator: mailto:alice@north.example"), TooManyOriginators},
		{"list of originators", replaced("Originator", "Originator: mailto:a@north.example,mailto:b@north.example"), TooManyOriginators},
		{"urn originator", replaced("Originator", "Originator: urn:uuid:0b9f0a6e-6f0e-4a3e-8f51-2f7a1c1d0b11"), OriginatorInvalid},
		{"path originator", replaced("Originator", "Originator: /principals/alice/"), OriginatorInvalid},
		{"no domain", replaced("Originator", "Originator: mailto:alice"), OriginatorInvalid},
		{"address literal", replaced("Originator", "Originator: mailto:alice@[192.0.2.7]"), OriginatorInvalid},
		{"bare IP address", replaced("Originator", "Originator: mailto:alice@192.0.2.7"), OriginatorInvalid},
		{"encoded line end", replaced("Originator", "Originator: mailto:alice%0d%0aX@north.example"), OriginatorInvalid},
		{"blank inside", replaced("Originator", "Originator: mailto:alice x@north.example"), OriginatorInvalid},
		{"no recipient", replaced("Recipient"), RecipientMissing},
		{"only empty elements", replaced("Recipient", "Recipient: , ,", "Recipient:"), RecipientMissing},
		{"101 recipients", replaced("Recipient", "Recipient: "+strings.Join(many, ",")), MaxRecipients},
		// Several faults: the first of the table counts.
		{"order 1", replaced("Recipient", "iSchedule-Version: 1.0", "Originator: mailto:x@y.example"), TooManyOriginators},
		{"nothing at all", nil, VersionNotSupported},
		{"version before all", headers("Content-Type: x/y"), VersionNotSupported},
	}
	for _, c := range cases {
		_, err := ReadEnvelope(c.in, 0)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
			continue
		}
		if e.Condition != c.want || e.HTTPStatus() != 403 {
			t.Errorf("%s: %s (%d), want %s (403)", c.name, e.Condition, e.HTTPStatus(), c.want)
		}
	}
}

func TestReadEnvelopeAccepts(t *testing.T) {
	t.Parallel()
	env, err := ReadEnvelope(headers(
		"ischedule-version: 2.0 , 1.0",
		"content-type: Text/Calendar;method=\"request\" ; component=vevent",
		"ORIGINATOR:  alice@North.example ",
		"Recipient: mailto:bob@south.example ,,\tMAILTO:Carol@south.example",
		"Recipient: mailto:BOB@SOUTH.example., dave@south.example",
		"iSchedule-Message-ID: <a@b>",
	), 3)
	if err != nil {
		t.Fatal(err)
	}
	if env.Originator != "alice@North.example" || env.Component != "VEVENT" || env.Method != "REQUEST" || env.MessageID != "<a@b>" {
		t.Errorf("envelope %+v", env)
	}
	want := []calendar.Address{"mailto:bob@south.example", "MAILTO:Carol@south.example", "dave@south.example"}
	if fmt.Sprint(env.Recipients) != fmt.Sprint(want) {
		t.Errorf("recipients %q, want %q", env.Recipients, want)
	}
}

func TestSenderForm(t *testing.T) {
	t.Parallel()
	got := recipientList([]calendar.Address{"bob@south.example", "MAILTO:a,b@south.example", "mailto:é@south.example"})
	if want := "mailto:bob@south.example,mailto:a%2Cb@south.example,mailto:%C3%A9@south.example"; got != want {
		t.Errorf("recipient list %q, want %q", got, want)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("1.0", "text/calendar; component=VEVENT; method=REQUEST", "mailto:alice@north.example", "mailto:bob@south.example, mailto:carol@south.example", "id")
	f.Add("1.0, 2.0", `text/calendar;method="REPLY";component=VTODO`, "alice@b\u00fccher.example", ",,mailto:%22a%40b%22@south.example", "<x@y>")
	f.Add("", "text/calendar; =; ;", "mailto:a%00@b", "\x00\r\n", "")
	f.Fuzz(func(t *testing.T, version, ctype, originator, recipients, id string) {
		env, err := ReadEnvelope([]dkim.Header{
			{Name: headerVersion, Value: version}, {Name: headerContentType, Value: ctype}, {Name: headerOriginator, Value: originator},
			{Name: headerRecipient, Value: recipients}, {Name: headerMessageID, Value: id},
		}, 0)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Condition == "" {
				t.Fatalf("error without condition: %v", err)
			}
			return
		}
		if env.Originator.Domain() == "" || len(env.Recipients) == 0 || len(env.Recipients) > DefaultMaxRecipients {
			t.Fatalf("accepted %+v", env)
		}
		// What we would send for these people is read back as the same people.
		// Only mail addresses are ever sent.
		env.Recipients = slices.DeleteFunc(env.Recipients, func(a calendar.Address) bool { return !a.IsMailto() || a.Key() == "" })
		if len(env.Recipients) == 0 {
			return
		}
		again, err := ReadEnvelope([]dkim.Header{
			{Name: headerVersion, Value: Version}, {Name: headerContentType, Value: contentType("VEVENT", "REQUEST")},
			{Name: headerOriginator, Value: headerAddress(env.Originator)}, {Name: headerRecipient, Value: recipientList(env.Recipients)},
		}, 0)
		if err != nil {
			t.Fatalf("sender form is refused: %v", err)
		}
		if again.Originator.Key() != env.Originator.Key() || len(again.Recipients) != len(env.Recipients) {
			t.Fatalf("sender form reads as %+v, want %+v", again, env)
		}
		for i := range again.Recipients {
			if again.Recipients[i].Key() != env.Recipients[i].Key() {
				t.Fatalf("recipient %q reads as %q", env.Recipients[i], again.Recipients[i])
			}
		}
	})
}
