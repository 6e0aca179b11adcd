// Package browser looks at the web pages as people do: the real binary, a real
// Chromium, mouse and keyboard. What a page did is checked from outside, over
// CalDAV or by a command.
//
// Each test has people and a browser profile of its own. In every one of them
// a message on the console, a violation of the content security policy or a
// request to another origin is a failure. Without Chromium the tests fail.
package browser

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

// limit is how long anything that a page does may take on a busy machine.
const limit = 20 * time.Second

// world is two organizations with TLS and names between them, a server as a
// newcomer starts it, and a browser.
type world struct {
	alpha, beta, plain *blackbox.Node
	mail               *blackbox.Catcher // of everybody who has mail only
	browser            context.Context
}

// TestPages runs everything on one set of servers and one browser.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"the watch sees what it should", watchSees},
		{"sign in and out", signInAndOut},
		{"sign in over plain HTTP", signInPlain},
		{"week", week},
		{"keyboard", keyboard},
		{"invitation", invitation},
		{"answer by link", answerByLink},
		{"without JavaScript", withoutJavaScript},
		{"where is my invitation", delivery},
		{"app passwords", appPasswords},
		{"settings", settings},
		{"every width", widths},
		{"dark and light", colours},
		{"administration", administration},
		{"picture", picture},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, w)
		})
	}
}

// people of alpha; each test takes its own. The password is the name.
var people = []string{"alice", "bob", "dora", "emil", "fay", "gus", "hedy", "ivo", "jan", "kim", "lea", "max", "nora", "olga", "pia", "ruth"}

func newWorld(t *testing.T) *world {
	t.Helper()
	exe := chromium(t)
	bw := blackbox.NewWorld(t)
	mail := blackbox.NewCatcher(t)
	w := &world{
		mail:  mail,
		alpha: bw.Node("alpha.test", "", "KALENDS_SMTP_URL="+mail.URL()),
		beta:  bw.Node("beta.test", ""),
		plain: bw.Node("plain.test", "", "KALENDS_EXTERNAL_URL="),
	}
	for _, n := range []*blackbox.Node{w.alpha, w.beta, w.plain} {
		if err := n.Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*blackbox.Node{w.alpha, w.beta, w.plain} {
		if err := n.Ready(limit + limit); err != nil {
			t.Fatalf("the server of %s is not ready: %v\n%s", n.Domain, err, n.Log())
		}
	}
	w.alpha.Publish()
	w.beta.Publish()
	csv := "name,kind,emails,display_name,password\n"
	for _, p := range people {
		csv += fmt.Sprintf("%s,user,%s@alpha.test,%s,%s\n", p, p, strings.ToUpper(p[:1])+p[1:], p)
	}
	if _, err := w.alpha.Command(csv, "user", "import", "-"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.beta.Command("name,kind,emails,display_name,password\ncarol,user,carol@beta.test,Carol,carol\n", "user", "import", "-"); err != nil {
		t.Fatal(err)
	}
	w.plain.People("pat")

	// The names of the world lead to this machine, every other name to nowhere.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("lang", "en-GB"),
		chromedp.Flag("host-resolver-rules", "MAP *.alpha.test 127.0.0.1, MAP *.beta.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	all, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, closeBrowser := chromedp.NewContext(all)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("%s does not start: %v", exe, err)
	}
	w.browser = browser
	return w
}

// chromium finds the browser. A machine without one cannot say whether the
// pages work.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("the tests of the web pages need Chromium, and none is installed; on Debian: apt-get install chromium")
	return ""
}

// secure is where people find a node's pages.
func secure(n *blackbox.Node) string { return fmt.Sprintf("https://cal.%s:%d", n.Domain, n.HTTPS) }

// day is midnight (UTC) of a day of the week that lies n weeks ahead; 0 is
// Monday.
func day(weeks, n int) time.Time {
	now := time.Now().UTC()
	monday := now.AddDate(0, 0, -(int(now.Weekday())+6)%7)
	return time.Date(monday.Year(), monday.Month(), monday.Day()+7*weeks+n, 0, 0, 0, 0, time.UTC)
}

// weekOf is the address of the week of t.
func weekOf(t time.Time) string {
	y, w := t.ISOWeek()
	return fmt.Sprintf("/?week=%04d-W%02d", y, w)
}

// put stores an event in the user's calendar over CalDAV.
func put(t *testing.T, u *blackbox.User, name, text string) {
	t.Helper()
	if err := u.MustPut(u.Path(name), text); err != nil {
		t.Fatal(err)
	}
}

// answerOf waits until the organizer's copy of an event says partstat for an
// address.
func answerOf(t *testing.T, u *blackbox.User, uid, address, partstat string) {
	t.Helper()
	blackbox.Must(t, limit, func() error {
		f, err := u.Copy(uid)
		if err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("%s has no %s", u.Name, uid)
		}
		if got, _ := blackbox.Attendee(f.Object, address); got != partstat {
			return fmt.Errorf("%s's event says %q for %s instead of %s", u.Name, got, address, partstat)
		}
		return nil
	})
}
