package scheduling_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// TestScenarios plays every file of testdata/scenarios on both engines. A file
// is a txtar archive: a script, then the calendar objects it speaks of, written
// short (see short and normal). README.md in that folder explains the commands.
//
// With KALENDS_SCENARIO_UPDATE=1 the expected objects are written anew, to be
// read over and compared with what the RFCs say.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil || len(files) < 97 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	update := os.Getenv("KALENDS_SCENARIO_UPDATE") != ""
	for _, e := range storagetest.Engines(t) {
		if update && e != storagetest.SQLite {
			continue
		}
		for _, f := range files {
			t.Run(string(e)+"/"+strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
				t.Parallel()
				a, err := txtar.ParseFile(f)
				if err != nil {
					t.Fatal(err)
				}
				s := &script{t: t, engine: e, a: a, update: update, seen: map[string]int{}, noted: map[string][2]string{}, stamps: map[string]string{}}
				s.play(string(a.Comment))
				if update && !t.Failed() {
					if err := os.WriteFile(f, txtar.Format(a), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// script plays one scenario.
type script struct {
	t       *testing.T
	engine  storagetest.Engine
	w       *world
	a       *txtar.Archive
	update  bool
	line    string
	seen    map[string]int       // inbox items already looked at, by user
	noted   map[string][2]string // etag and schedule tag, by user and UID
	stamps  map[string]string    // DTSTAMP of the last message looked at, by address and UID
	err     error                // of the last change
	result  scheduling.Result
	results []scheduling.RecipientResult
	options []func(*scheduling.Config)
	gateway bool // see post
	signs   bool
}

// sources are what the comment of a scenario must name one of.
var sources = []string{"rfc ", "want ", "abuse ", "design:"}

func (s *script) play(text string) {
	s.t.Helper()
	sourced := false
	for n, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "#") {
			for _, word := range sources {
				sourced = sourced || strings.Contains(strings.ToLower(l), word)
			}
			continue
		}
		if l == "" {
			continue
		}
		s.line = fmt.Sprintf("line %d: %s", n+1, l)
		f := strings.Fields(l)
		if f[0] == "config" {
			s.config(f[1:])
			continue
		}
		if s.w == nil {
			s.w = newWorld(s.t, s.engine, func(c *scheduling.Config) {
				for _, set := range s.options {
					set(c)
				}
			})
			s.w.post.gateway, s.w.post.signed = s.gateway, s.signs
		}
		s.command(f[0], f[1:])
		if s.t.Failed() {
			return
		}
	}
	if !sourced {
		s.t.Error("the scenario names no RFC section, want, abuse case or design rule")
	}
	if s.err != nil {
		s.fail("the last change was refused: %v", s.err)
	}
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n%s", s.line, fmt.Sprintf(format, args...))
}

func (s *script) check(err error) {
	s.t.Helper()
	if err != nil {
		s.fail("%v", err)
	}
}

// config sets what the Service is made with: "threshold 3", "hold 0".
func (s *script) config(f []string) {
	switch f[0] {
	case "threshold":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.LocalThreshold = n })
	case "burst":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Burst = n })
	case "per-hour":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.PerHour = n })
	case "attendees":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Rules.MaxAttendees = n })
	case "instances":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Rules.MaxInstances = n })
	case "size":
		n, err := strconv.Atoi(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Rules.MaxSize = n })
	case "quota":
		n, err := strconv.ParseInt(f[1], 10, 64)
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Quota = n })
	case "until":
		d, err := time.Parse(time.DateOnly, f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.Rules.MaxDate = d })
	case "hold":
		d, err := time.ParseDuration(f[1])
		s.check(err)
		s.options = append(s.options, func(c *scheduling.Config) { c.HoldDelete = d })
	case "mail": // mail gateway|signed...
		for _, x := range f[1:] {
			s.gateway, s.signs = s.gateway || x == "gateway", s.signs || x == "signed"
		}
	default:
		s.fail("unknown setting")
	}
}

// flags takes words such as silent and key=value apart.
func flags(f []string) (plain []string, opt map[string]string) {
	opt = map[string]string{}
	for _, x := range f {
		if k, v, ok := strings.Cut(x, "="); ok {
			opt[k] = v
		} else {
			plain = append(plain, x)
		}
	}
	return plain, opt
}

func (s *script) command(name string, f []string) {
	s.t.Helper()
	refused := ""
	if name == "refused" {
		refused, name, f = f[0], f[1], f[2:]
	}
	if s.err != nil {
		s.fail("the change before was refused: %v", s.err)
	}
	words := f
	f, opt := flags(f)
	if name == "expect" && len(f) > 0 && strings.HasSuffix(f[0], "line") { // a line has "=" in it
		f, opt = words, nil
	}
	switch name {
	case "account":
		s.makeAccount(f, opt)
	case "set":
		s.set(f, opt)
	case "may-send":
		s.maySend(f)
	case "calendar":
		s.makeCalendar(f)
	case "put":
		s.put(f, opt)
	case "delete":
		s.delete(f, opt)
	case "delete-calendar":
		s.err = s.w.svc.DeleteCollection(bg, s.actor(f[0], opt), s.w.key(f[0], f[1]).CollectionKey, slices.Contains(f, "silent"), "test")
	case "move":
		s.result, s.err = s.w.svc.Move(bg, scheduling.Move{Actor: s.w.actor(f[0]), From: s.key(f[0], f[1]), To: s.w.key(f[0], f[2]), Overwrite: slices.Contains(f, "overwrite"), IfScheduleTag: s.ifTag(f[0], f[1], opt)})
	case "copy":
		row := s.must(f[0], f[1])
		s.result, s.err = s.w.svc.Put(bg, scheduling.Put{Actor: s.w.actor(f[0]), Key: s.w.key(f[0], f[2]), Data: []byte(row.Data)})
	case "answer":
		s.answer(f, opt)
	case "decline-counter":
		s.err = s.w.svc.DeclineCounter(bg, s.declined(f, opt))
	case "deliver":
		s.deliver(f, opt)
	case "mail":
		s.mail(f, opt)
	case "dav":
		s.dav(f)
	case "share":
		s.share(f)
	case "accept-counter":
		s.acceptCounter(f)
	case "leave":
		s.leave(f, opt)
	case "press":
		s.press(f, opt)
	case "block":
		s.check(s.w.db.BlockSender(bg, s.w.account(f[0]).ID, address(f[1]).Key()))
	case "bounce":
		// The newest delivery to the attendee came back.
		list, err := s.w.db.Deliveries(bg, storage.DeliveryFilter{Account: s.w.account(f[0]).ID, UID: f[1], Limit: 100})
		s.check(err)
		for _, d := range list {
			if d.RecipientKey == address(f[2]).Key() {
				s.err = s.w.svc.Bounced(bg, scheduling.Bounce{Account: d.Account, UID: f[1], Attendee: address(f[2]), Delivery: d.ID, Detail: "no such mailbox"})
				break
			}
		}
	case "corrupt":
		s.corrupt(f[0], f[1])
	case "peer":
		s.w.net.set(f[0], f[1])
	case "clock":
		d, err := time.ParseDuration(strings.TrimPrefix(f[0], "+"))
		s.check(err)
		s.w.clock.Advance(d)
	case "work":
		s.w.work()
	case "alarms":
		_, err := s.w.svc.StepAlarms(bg)
		s.check(err)
		s.w.work()
	case "note":
		row := s.must(f[0], "@"+f[1])
		s.noted[f[0]+" "+f[1]] = [2]string{row.ETag, row.ScheduleTag}
	case "expect":
		s.expect(f[0], f[1:], opt)
	default:
		s.fail("unknown command")
	}
	if refused != "" {
		if got := condition(s.err); got != refused {
			s.fail("refused with %q (%v), want %q", got, s.err, refused)
		}
		s.err = nil
	} else if s.err != nil {
		s.fail("%v", s.err)
	}
}

// condition is the precondition that an error names; "" without error.
func condition(err error) string {
	var e *scheduling.Error
	var i *itip.Error
	var c *calendar.Error
	switch {
	case err == nil:
		return ""
	case mailCondition(err) != "":
		return mailCondition(err)
	case errors.As(err, &e) && e.Precond:
		return "precondition"
	case errors.As(err, &e) && e.Condition != "":
		return string(e.Condition)
	case errors.As(err, &i):
		return string(i.Condition)
	case errors.As(err, &c):
		return "invalid-data"
	case errors.Is(err, scheduling.ErrReplayConflict):
		return "replay-conflict"
	case scheduling.IsNotFound(err):
		return "not-found"
	}
	return err.Error()
}

// address is a full address for a user's short name.
func address(name string) calendar.Address {
	if !strings.Contains(name, "@") && !strings.Contains(name, ":") && !strings.Contains(name, "/") {
		name += "@example.com"
	}
	if !strings.Contains(name, ":") && !strings.HasPrefix(name, "/") {
		name = "mailto:" + name
	}
	return calendar.Address(name)
}

func addresses(list string) []calendar.Address {
	var out []calendar.Address
	for _, n := range strings.Split(list, ",") {
		out = append(out, address(n))
	}
	return out
}

func (s *script) file(name string) string {
	for _, f := range s.a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	if !s.update {
		s.fail("the archive has no file %s", name)
	}
	return ""
}

func (s *script) object(name string) *calendar.Object {
	o, err := short(s.file(name), s.w.clock.Now())
	if err != nil {
		s.fail("%s: %v", name, err)
	}
	return o
}

// compare holds an object against a file of the archive.
func (s *script) compare(name string, o *calendar.Object) {
	got := normal(o)
	if s.update {
		s.write(name, got)
		return
	}
	want := normal(s.object(name))
	if m := s.object(name).Method(); m != "" && o.Method() != m {
		s.fail("METHOD %q, want %q", o.Method(), m)
	}
	if got != want {
		s.fail("%s differs\n%s", name, difference(want, got))
	}
}

// write sets a file of the archive.
func (s *script) write(name, text string) {
	for i := range s.a.Files {
		if s.a.Files[i].Name == name {
			s.a.Files[i].Data = []byte(text)
			return
		}
	}
	s.a.Files = append(s.a.Files, txtar.File{Name: name, Data: []byte(text)})
}

// difference marks the lines that only one of two texts has.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	for _, l := range a {
		if !slices.Contains(b, l) {
			out.WriteString("- " + l + "\n")
		}
	}
	out.WriteString("got:\n")
	for _, l := range b {
		mark := "  "
		if !slices.Contains(a, l) {
			mark = "+ "
		}
		out.WriteString(mark + l + "\n")
	}
	return out.String()
}
