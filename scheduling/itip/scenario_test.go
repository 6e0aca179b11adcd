package itip

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/kalends/kalends/caldav/calendar"
)

// TestScenarios runs every file of testdata: a txtar archive whose comment is
// a script of what users do and what must come of it. Objects are written
// short (see world.ics); what is expected is compared in the form of normal.
//
//	put USER FILE [silent] [force] [tag]   PUT; tag: under If-Schedule-Tag-Match
//	delete USER [silent]                   DELETE
//	respond USER PARTSTAT [INSTANCE]       answer in the own copy, then PUT it
//	receive USER FILE [from=A] [outside]   a message arrives
//	counter USER FILE accept|decline       the organizer decides on a proposal
//	sent [METHOD USERS KIND]...            what the last command sent, exactly
//	message N FILE                         the N-th of these messages
//	expect USER FILE|none|same             the user's copy; same: untouched since the last look
//	inbox USER [METHOD]...                 new inbox items, then emptied
//	status CODE, error CONDITION, rewritten yes|no, tag USER yes|no
//	hold, release [N]..., drop USER, clock DURATION
//
// With ITIP_UPDATE=1 the expected files are written anew, to be read over.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			r := &runner{t: t, w: newWorld(), a: a, seen: map[string]string{}, update: os.Getenv("ITIP_UPDATE") != ""}
			r.run(string(a.Comment))
			if r.update && !t.Failed() {
				if err := os.WriteFile(f, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type runner struct {
	t      *testing.T
	w      *world
	a      *txtar.Archive
	seen   map[string]string
	tags   map[string]int
	line   string
	update bool
}

func (r *runner) run(script string) {
	r.tags = map[string]int{}
	source := false
	for n, l := range strings.Split(script, "\n") {
		l = strings.TrimSpace(l)
		source = source || strings.HasPrefix(l, "#") && (strings.Contains(l, "RFC ") || strings.Contains(l, "want ") || strings.Contains(l, "abuse "))
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		r.line = fmt.Sprintf("line %d: %s", n+1, l)
		f := strings.Fields(l)
		r.command(f[0], f[1:])
		if r.t.Failed() {
			return
		}
	}
	if !source {
		r.t.Error("the scenario names no RFC section, want or abuse case")
	}
}

func (r *runner) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s\n%s", r.line, fmt.Sprintf(format, args...))
}

func (r *runner) file(name string) string {
	for _, f := range r.a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	if !r.update {
		r.fail("no file %s", name)
	}
	return ""
}

func (r *runner) object(name string) *calendar.Object {
	o, err := r.w.ics(r.file(name))
	if err != nil {
		r.fail("%s: %v", name, err)
		return calendar.NewObject("")
	}
	return o
}

// compare holds text against a file of the archive.
func (r *runner) compare(name, got string) {
	if r.update {
		for i := range r.a.Files {
			if r.a.Files[i].Name == name {
				r.a.Files[i].Data = []byte(got)
				return
			}
		}
		r.a.Files = append(r.a.Files, txtar.File{Name: name, Data: []byte(got)})
		return
	}
	if want := r.file(name); want != got {
		r.fail("--- got\n%s--- want\n%s", got, want)
	}
}

func (r *runner) command(name string, args []string) {
	w := r.w
	has := func(s string) bool { return slices.Contains(args, s) }
	w.now = w.now.Add(time.Minute)
	switch name {
	case "put":
		r.untag()
		w.put(args[0], r.object(args[1]), putOptions{silent: has("silent"), force: has("force"), keepTag: has("tag")})
	case "delete":
		r.untag()
		w.put(args[0], nil, putOptions{silent: has("silent")})
	case "respond":
		r.untag()
		u := w.user(args[0])
		var id *calendar.DateTime
		if len(args) > 2 {
			p := calendar.NewProperty("RECURRENCE-ID", args[2])
			if !strings.Contains(args[2], "T") {
				p.SetParam("VALUE", "DATE")
			} else if !strings.HasSuffix(args[2], "Z") {
				p.SetParam("TZID", "Europe/Berlin")
			}
			d, err := calendar.ParseDateTime(p)
			if err != nil {
				r.fail("%v", err)
			}
			id = &d
		}
		o, err := Respond(u.copy, u.addresses, args[1], id, RespondOptions{})
		if w.err = err; err == nil {
			w.put(args[0], o, putOptions{})
		}
	case "receive":
		r.untag()
		var from calendar.Address
		for _, a := range args[2:] {
			if s, ok := strings.CutPrefix(a, "from="); ok {
				from = calendar.Address("mailto:" + s)
			}
		}
		w.err, w.sent = nil, nil
		w.receive(w.user(args[0]), r.object(args[1]), from, has("outside"))
	case "counter":
		r.untag()
		u := w.user(args[0])
		if args[2] == "decline" {
			m, err := DeclineCounter(u.copy, r.object(args[1]), "not then", MessageOptions{By: u.addresses, Now: w.now})
			if w.err = err; err == nil {
				w.sent = []Message{m}
				w.send(u, w.sent)
			}
			return
		}
		o, err := AcceptCounter(u.copy, r.object(args[1]))
		if w.err = err; err == nil {
			w.put(args[0], o, putOptions{})
		}
	case "sent":
		var got []string
		for _, m := range w.sent {
			var to []string
			for _, a := range m.Recipients {
				n, _, _ := strings.Cut(a.Email(), "@")
				to = append(to, n)
			}
			sort.Strings(to)
			kind := string(m.Kind)
			if m.Redundant {
				kind += "+redundant"
			}
			got = append(got, m.Method, strings.Join(to, ","), kind)
		}
		if strings.Join(got, " ") != strings.Join(args, " ") {
			r.fail("sent: %s", strings.Join(got, " "))
		}
		if w.err != nil {
			r.fail("refused: %v", w.err)
		}
	case "message":
		n, _ := strconv.Atoi(args[0])
		if n < 1 || n > len(w.sent) {
			r.fail("%d messages were sent", len(w.sent))
			return
		}
		m := w.sent[n-1]
		text := normal(m.Object)
		for _, c := range m.Changes {
			text += strings.TrimRight(fmt.Sprintf("changed %s %s: %q -> %q", c.Instance, c.Field, c.Old, c.New), " ") + "\n"
		}
		r.compare(args[1], text)
	case "expect":
		got := normal(w.user(args[0]).copy)
		switch args[1] {
		case "none":
			if w.user(args[0]).copy != nil {
				r.fail("there is a copy:\n%s", got)
			}
		case "same":
			if got != r.seen[args[0]] {
				r.fail("--- got\n%s--- before\n%s", got, r.seen[args[0]])
			}
		default:
			r.compare(args[1], got)
		}
		r.seen[args[0]] = got
	case "inbox":
		u := w.user(args[0])
		var got []string
		for _, o := range u.inbox {
			got = append(got, o.Method())
		}
		u.inbox, u.kinds = nil, nil
		if !slices.Equal(got, args[1:]) {
			r.fail("inbox: %v", got)
		}
	case "status":
		if !strings.HasPrefix(w.status, args[0]) {
			r.fail("status %q", w.status)
		}
	case "error":
		if w.condition() != args[0] {
			r.fail("refused with %q (%v)", w.condition(), w.err)
		}
		w.err = nil
	case "rewritten":
		if w.rewrite != (args[0] == "yes") {
			r.fail("rewritten %v", w.rewrite)
		}
	case "tag":
		if (w.user(args[0]).tags != r.tags[args[0]]) != (args[1] == "yes") {
			r.fail("the Schedule-Tag's change is not as expected")
		}
	case "hold":
		w.hold = true
	case "release":
		w.hold = false
		held := w.held
		if len(args) > 0 {
			held = nil
			for _, a := range args {
				n, _ := strconv.Atoi(a)
				held = append(held, w.held[n-1])
			}
		} else {
			w.held = nil
		}
		w.send(nil, held)
	case "drop":
		w.user(args[0]).drop = true
	case "clock":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			r.fail("%v", err)
		}
		w.now = w.now.Add(d)
	default:
		r.fail("unknown command")
	}
}

func (r *runner) untag() {
	for n, u := range r.w.users {
		r.tags[n] = u.tags
	}
}
