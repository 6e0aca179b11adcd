package imip

import (
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// asOrganizers makes an organizer's message of dave's answer.
func asOrganizers(t *testing.T, method string) []byte {
	return []byte(strings.NewReplacer("REPLY", method, "reply", strings.ToLower(method), "ORGANIZER:mailto:alice@alpha.test", "ORGANIZER:mailto:dave@mail.test").Replace(string(shape(t, "bare.eml"))))
}

// Want 24, A32: what the recipient wants from whom. What is published waits
// for him whatever he set.
func TestIntakePolicies(t *testing.T) {
	t.Parallel()
	const from = "mailto:dave@mail.test"
	for name, c := range map[string]struct {
		set     Admission
		raw     func(w *world) []byte
		applied int
		held    Reason // "" none
	}{
		"invitation admitted":      {Admit, func(w *world) []byte { return w.dave(asOrganizers(t, "REQUEST")) }, 1, ""},
		"invitation to decide":     {Hold, func(w *world) []byte { return w.dave(asOrganizers(t, "REQUEST")) }, 0, ReasonPolicy},
		"cancellation to decide":   {Hold, func(w *world) []byte { return w.dave(asOrganizers(t, "CANCEL")) }, 0, ReasonPolicy},
		"answer in spite of it":    {Hold, func(w *world) []byte { return w.dave(shape(t, "bare.eml")) }, 1, ""},
		"blocked":                  {Drop, func(w *world) []byte { return w.dave(asOrganizers(t, "REQUEST")) }, 0, ""},
		"blocked and not proven":   {Drop, func(w *world) []byte { return asOrganizers(t, "REQUEST") }, 0, ""},
		"published":                {Admit, func(w *world) []byte { return w.dave(asOrganizers(t, "PUBLISH")) }, 0, ReasonPublish},
		"published and not proven": {Admit, func(w *world) []byte { return asOrganizers(t, "PUBLISH") }, 0, ReasonUnproven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.admit = map[string]Admission{from: c.set}
			wantCodes(t, w.deliver(c.raw(w), "alice@alpha.test"), 250)
			if len(w.applied) != c.applied || len(w.held) != map[bool]int{true: 1}[c.held != ""] {
				t.Fatalf("%d applied, held %+v", len(w.applied), w.held)
			}
			if c.held != "" && (w.held[0].Reason != c.held || w.held[0].Message == nil) {
				t.Errorf("%+v", w.held[0])
			}
		})
	}
}

// Want 20, A35: what contradicts itself is kept as a file; a winmail.dat is
// kept with the reason.
func TestIntakeKeepsFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := "calendar+" + w.token("mailto:dave@mail.test") + "@alpha.test"
	for _, name := range []string{"method-conflict.eml", "twins-disagree.eml", "broken-calendar.eml"} {
		wantCodes(t, w.deliver(w.dave(shape(t, name)), "alice@alpha.test"), 250)
		h := w.held[len(w.held)-1]
		if h.Reason != ReasonUnusable || h.Message != nil || !strings.Contains(string(h.File), "BEGIN:VCALENDAR") {
			t.Errorf("%s: %s %q, file %q", name, h.Reason, h.Detail, h.File)
		}
	}
	wantCodes(t, w.deliver(shape(t, "tnef.eml"), tok), 250)
	if h := w.held[len(w.held)-1]; h.Reason != ReasonUnusable || !strings.Contains(h.Detail, "winmail.dat") || len(h.File) != 0 {
		t.Errorf("%+v", h)
	}
	if len(w.applied) != 0 {
		t.Errorf("%d applied", len(w.applied))
	}
}

// What its recipient's calendar cannot take is not lost: it is kept where it is
// beyond a limit, and comes again where the trouble may pass.
func TestIntakeBeyondLimits(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]struct{ code, held int }{
		"3.5;Invalid date or time": {250, 1}, "3.6;Invalid rule": {250, 1}, "3.14;Unsupported capability": {250, 1},
		"5.1;No room left": {451, 0}, "3.7;Invalid calendar user": {250, 0}, "2.0;Success": {250, 0},
	} {
		w := newWorld(t)
		w.answer = func(in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
			return []scheduling.RecipientResult{{Recipient: in.Recipients[0], Status: status}}, nil
		}
		wantCodes(t, w.deliver(w.dave(asOrganizers(t, "REQUEST")), "alice@alpha.test"), want.code)
		if len(w.held) != want.held || want.held > 0 && (w.held[0].Reason != ReasonUnusable || !strings.Contains(w.held[0].Detail, status)) {
			t.Errorf("%s: held %+v", status, w.held)
		}
	}
	w := newWorld(t)
	w.answer = func(in scheduling.Inbound) ([]scheduling.RecipientResult, error) { // a backend has given up
		return []scheduling.RecipientResult{{Recipient: in.Recipients[0], Status: "5.1;Could not complete delivery", Transport: "gateway"}}, nil
	}
	wantCodes(t, w.deliver(w.dave(asOrganizers(t, "REQUEST")), "alice@alpha.test"), 250)
	w = newWorld(t)
	w.answer = func(scheduling.Inbound) ([]scheduling.RecipientResult, error) {
		return nil, &calendar.Error{Code: calendar.CodeMaxDate, Msg: "too late"}
	}
	wantCodes(t, w.deliver(w.dave(asOrganizers(t, "REQUEST")), "alice@alpha.test"), 250)
	if len(w.held) != 1 || w.held[0].Reason != ReasonUnusable {
		t.Errorf("held %+v", w.held)
	}
}
