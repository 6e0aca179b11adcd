package demo_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/cmd/kalends/demo"
)

// binary builds the program once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kalends-demo-test-")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "kalends")
	out, err := exec.Command("go", "build", "-o", exe, "github.com/kalends/kalends/cmd/kalends").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return exe, nil
})

func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"demo", "--exit"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	stop := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	err = cmd.Run()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// The newcomer's command: every step happens, by the transport it should.
func TestStory(t *testing.T) {
	t.Parallel()
	out, code := run(t)
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	for _, want := range []string{
		"PUT answered; no peer was waited for",
		"same transaction as alice's PUT; in calendar and inbox as NEEDS-ACTION, transparent",
		"signed HTTPS to beta.test, proof DKIM d=alpha.test, status 1.2; in calendar and inbox as NEEDS-ACTION",
		"dave's server saw DKIM d=alpha.test",
		"alice's event says ACCEPTED, SCHEDULE-STATUS 2.0; same transaction as bob's PUT",
		"alice's event says ACCEPTED, SCHEDULE-STATUS 2.0; signed HTTPS from beta.test, proof DKIM d=beta.test",
		"alice's event says ACCEPTED, SCHEDULE-STATUS 2.0; mail to calendar+",
		"the other five meetings stayed where they were",
		"carol@beta.test          2.0;Success",
		"The whole story took",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the story lacks %q:\n%s", want, out)
		}
	}
}

// The story notices what is broken, says where and why, and ends with 1.
func TestBrokenWorld(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ step, why string }{
		"dns":  {"carol has it (iSchedule)", "no SRV record _ischedules._tcp.beta.test"},
		"key":  {"carol accepts at her own server", "verification-failed"},
		"cert": {"carol has it (iSchedule)", "certificate signed by unknown authority"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			out, code := run(t, "--break", what)
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(out, "the story stopped at step") || !strings.Contains(out, "("+c.step+")") || !strings.Contains(out, c.why) {
				t.Errorf("the end does not name %q because of %q:\n%s", c.step, c.why, out)
			}
		})
	}
}

// The generated calendars are what any server must take: valid, one object per
// UID, and the same for the same person and day.
func TestGeneratedCalendar(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	text := demo.Generate("alice", 300, now)
	if !bytes.Equal(text, demo.Generate("alice", 300, now)) || bytes.Equal(text, demo.Generate("bob", 300, now)) {
		t.Error("the calendar is not that person's own")
	}
	all, err := calendar.ParseAll(text, calendar.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	n, recurring, overrides, zones := 0, 0, 0, map[string]bool{}
	for _, file := range all {
		for _, o := range calendar.Split(file) {
			if err := calendar.Validate(o, calendar.Rules{}); err != nil {
				t.Fatalf("%s: %v", o.UID(), err)
			}
			n++
			if o.Master().Prop("RRULE") != nil {
				recurring++
			}
			overrides += len(o.Components()) - 1
			for _, z := range o.ChildrenNamed("VTIMEZONE") {
				zones[z.Text("TZID")] = true
			}
		}
	}
	if n != 300 || recurring < 50 || overrides < 40 || len(zones) != 3 {
		t.Errorf("%d objects, %d series, %d overrides, zones %v", n, recurring, overrides, zones)
	}
}
