package itip

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/kalends/kalends/caldav/calendar"
)

// seeds are all calendar objects of the scenarios.
func seeds(f *testing.F) []string {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	var out []string
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range a.Files {
			if strings.HasSuffix(x.Name, ".ics") {
				if o, err := newWorld().ics(string(x.Data)); err == nil {
					out = append(out, string(o.Bytes()))
				}
			}
		}
	}
	return out
}

var fuzzLimits = calendar.Limits{Bytes: 1 << 14, Components: 40, Properties: 400}

func parsed(text string) *calendar.Object {
	o, err := calendar.Parse([]byte(text), fuzzLimits)
	if err != nil {
		return nil
	}
	return o
}

// FuzzPlan changes one object into another as each of three people: nothing
// panics, the inputs stay as they are, and every message is well formed when
// the stored object is.
func FuzzPlan(f *testing.F) {
	all := seeds(f)
	for i := range all {
		f.Add(all[i], all[(i+1)%len(all)])
	}
	f.Fuzz(func(t *testing.T, x, y string) {
		a, b := parsed(x), parsed(y)
		for _, by := range []calendar.Address{"mailto:org@example.com", "mailto:ann@example.com", "mailto:eve@elsewhere.example"} {
			for _, pair := range [][2]*calendar.Object{{a, b}, {b, a}, {nil, b}, {a, nil}} {
				var before []byte
				if pair[1] != nil {
					before = pair[1].Bytes()
				}
				p, err := PlanChange(Change{Old: pair[0], New: pair[1], By: []calendar.Address{by}, Now: time.Unix(1767225600, 0).UTC(), AllowReset: true})
				if err != nil {
					continue
				}
				if pair[1] != nil && !bytes.Equal(before, pair[1].Bytes()) {
					t.Fatal("the new object was changed")
				}
				if p.Store != nil {
					if _, err := calendar.Parse(p.Store.Bytes(), calendar.Limits{}); err != nil {
						t.Fatalf("the stored object cannot be read: %v", err)
					}
				}
				for _, m := range p.Messages {
					if m.Object.Method() != m.Method || len(m.Recipients) == 0 || strings.Contains(string(m.Object.Bytes()), "BEGIN:VALARM") {
						t.Fatalf("message %+v", m)
					}
				}
			}
		}
		if a != nil && b != nil {
			Significant(a, b)
			for _, who := range []calendar.Address{"mailto:ann@example.com", "mailto:bob@example.com"} {
				if _, err := PlanRecipient(a, b, who, MessageOptions{}); err != nil {
					t.Fatal(err)
				}
				Tailor(a, who)
			}
		}
	})
}

// FuzzProcess hands a message to people with and without a copy: nothing
// panics, the inputs stay, and applying the outcome again changes nothing
// more.
func FuzzProcess(f *testing.F) {
	all := seeds(f)
	for i, m := range all {
		if strings.Contains(m, "METHOD:") {
			for j := range 4 {
				f.Add(m, all[(i+j*7)%len(all)])
			}
		} else {
			f.Add(strings.Replace(m, "VERSION:2.0", "VERSION:2.0\r\nMETHOD:REQUEST", 1), all[(i+1)%len(all)])
			f.Add(strings.Replace(m, "VERSION:2.0", "VERSION:2.0\r\nMETHOD:CANCEL", 1), all[(i+2)%len(all)])
		}
	}
	f.Fuzz(func(t *testing.T, x, y string) {
		m, cur := parsed(x), parsed(y)
		if m == nil {
			return
		}
		if cur != nil {
			cur.Remove("METHOD")
		}
		message := m.Bytes()
		for _, self := range []calendar.Address{"mailto:org@example.com", "mailto:ann@example.com", "mailto:bob@example.com"} {
			for _, c := range []*calendar.Object{cur, nil} {
				p := Policy{Self: []calendar.Address{self}, Now: time.Unix(1767225600, 0).UTC(), Outside: self == "mailto:bob@example.com"}
				out, err := Process(m, c, p)
				if err != nil {
					continue
				}
				if !bytes.Equal(message, m.Bytes()) {
					t.Fatal("the message was changed")
				}
				if out.Status == "" || out.Changed != (out.Store != nil || out.Remove) {
					t.Fatalf("outcome %+v", out)
				}
				if out.Store == nil {
					continue
				}
				if out.Store.Method() != "" {
					t.Fatal("a METHOD was stored")
				}
				p.ServerTransp, p.OrganizerTransp, p.LastReply = out.ServerTransp, out.OrganizerTransp, out.ReplyStamps
				again, err := Process(m, out.Store, p)
				if err != nil {
					t.Fatal(err)
				}
				if again.Inbox != nil && roleOf(out.Store, calendar.NewAddressSet(self)) == RoleOrganizer {
					t.Fatalf("the same answer was news twice\n%s\n%s", message, y)
				}
			}
		}
	})
}
