package imip

import (
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
)

// What programs send to somebody who is invited, and what becomes of it when
// the sender's domain has signed it: invitations, changes, cancellations,
// proposals, and what people send on (clients.md section 5, want 18).
func TestInvitationShapes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		method  string
		reason  Reason // "": applied
		uid     string
		summary string
		start   string // DTSTART with its TZID
	}{
		"google-request.eml":      {"REQUEST", "", "7kukuqrfedlm2f9t0vlccg@google.com", "Design review", "Europe/Berlin:20261124T150000"},
		"google-cancel.eml":       {"CANCEL", "", "7kukuqrfedlm2f9t0vlccg@google.com", "Design review", "Europe/Berlin:20261124T150000"},
		"google-counter.eml":      {"COUNTER", "", "meeting-1@alpha.test", "Design review", "Europe/Berlin:20261124T150000"},
		"exchange-request.eml":    {"REQUEST", "", "040000008200E00074C5B7101A82E00800000000B0D3A7", "Büroplanung", "W. Europe Standard Time:20261125T090000"},
		"exchange-cancel.eml":     {"CANCEL", "", "040000008200E00074C5B7101A82E00800000000B0D3A7", "Büroplanung", "W. Europe Standard Time:20261125T090000"},
		"apple-request.eml":       {"REQUEST", "", "8F1B2C33-AAAA-4BBB-8CCC-1234567890AB", "Ausflug 🏔", ":20261126"},
		"thunderbird-request.eml": {"REQUEST", "", "1f5a5f0b-0000-4444-8888-9f9f9f9f9f9f", "Grüße & Kuchen", ":20261128T140000Z"},
		"proton-request-lf.eml":   {"REQUEST", "", "4zMZT8sN0bZo@proton.me", "Werkschau", "Europe/Zurich:20261129T100000"},
		"proton-cancel-lf.eml":    {"CANCEL", "", "4zMZT8sN0bZo@proton.me", "Werkschau", "Europe/Zurich:20261129T100000"},
		// Somebody else's From than the organizer's: the recipient decides.
		"outlook-forward.eml": {"REQUEST", ReasonSpeaker, "040000008200E00074C5B7101A82E00800000000B0D3A7", "Büroplanung", "W. Europe Standard Time:20261125T090000"},
		"icloud-request.eml":  {"REQUEST", ReasonSpeaker, "8F1B2C33-AAAA-4BBB-8CCC-1234567890AB", "Ausflug 🏔", ":20261126"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			wantCodes(t, w.deliver(w.dave(shape(t, name)), "alice@alpha.test"), 250)
			var o *calendar.Object
			switch {
			case want.reason == "" && len(w.applied) == 1 && len(w.held) == 0:
				o = w.applied[0].Message
				if w.applied[0].Originator != "mailto:dave@mail.test" || w.applied[0].Recipients[0] != "mailto:alice@alpha.test" {
					t.Errorf("%+v", w.applied[0])
				}
			case want.reason != "" && len(w.applied) == 0 && len(w.held) == 1 && w.held[0].Reason == want.reason:
				o = w.held[0].Message
			default:
				t.Fatalf("%d applied, held %+v", len(w.applied), w.held)
			}
			c := o.Components()[0]
			p := c.Prop("DTSTART")
			if o.Method() != want.method || o.UID() != want.uid || c.Text("SUMMARY") != want.summary || p.Param("TZID")+":"+p.Value() != want.start {
				t.Errorf("%s %s %q %s", o.Method(), o.UID(), c.Text("SUMMARY"), p.Param("TZID")+":"+p.Value())
			}
			// What a program wrote for itself is there still.
			if text := string(o.Bytes()); strings.Contains(string(shape(t, name)), "X-APPLE-STRUCTURED") && !strings.Contains(text, "X-APPLE-STRUCTURED-LOCATION") {
				t.Error(text)
			}
		})
	}
	// A mail inside of a mail is somebody else's, and says nothing to a calendar.
	w := newWorld(t)
	wantCodes(t, w.deliver(w.dave(shape(t, "forwarded-attached.eml")), "alice@alpha.test"), 250)
	if len(w.applied) != 0 || len(w.held) != 0 {
		t.Errorf("%d applied, held %+v", len(w.applied), w.held)
	}
}
