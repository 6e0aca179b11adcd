// Package peers tests federation with the servers that others run: Cyrus as
// Debian ships it, set up by the words of docs/interoperability.md.
package peers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const patience = 30 * time.Second

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

// settings gives the lines of imapd.conf that docs/interoperability.md asks an
// administrator for.
func settings(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/interoperability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## Cyrus")
	_, text, _ = strings.Cut(text, "\n```\n")
	text, _, ok := strings.Cut(text, "\n```\n")
	if !ok || !strings.Contains(text, "httpmodules") {
		t.Fatal("docs/interoperability.md has no settings for Cyrus")
	}
	return strings.ReplaceAll(text, "example.net", "cyrus.test") + "\n"
}

// cyrus is a Cyrus of its own: configuration, mailboxes, ports.
type cyrus struct {
	dir         string
	https, imap int
	outbox      *blackbox.Catcher // of the mails that it sends
}

func newCyrus(t *testing.T, w *blackbox.World, people ...string) *cyrus {
	t.Helper()
	const master = "/usr/lib/cyrus/bin/master"
	lacks := ""
	if _, err := os.Stat(master); err != nil {
		lacks = "Cyrus is missing; to run this: apt-get install cyrus-imapd cyrus-caldav sasl2-bin"
	} else if os.Getuid() != 0 {
		lacks = "Cyrus starts as root only"
	}
	switch {
	case lacks == "":
	case os.Getenv("CI") != "":
		t.Fatal(lacks)
	default:
		t.Skip(lacks)
	}
	dir, err := os.MkdirTemp("", "kalends-cyrus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &cyrus{dir: dir, https: blackbox.Port(t), imap: blackbox.Port(t), outbox: blackbox.NewCatcher(t)}
	for _, d := range []string{"conf", "spool", "run/proc", "run/lock"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	w.CA.Issue(t, "cal.cyrus.test", cert, key)
	for name, text := range map[string]string{
		"imapd.conf": settings(t) + strings.NewReplacer("DIR", dir, "CERT", cert, "KEY", key, "SMTP", c.outbox.Addr).Replace(`configdirectory: DIR/conf
partition-default: DIR/spool
defaultpartition: default
proc_path: DIR/run/proc
mboxname_lockpath: DIR/run/lock
tls_server_cert: CERT
tls_server_key: KEY
smtp_backend: host
smtp_host: SMTP
admins: cyrus
unixhierarchysep: yes
altnamespace: yes
conversations: no
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: DIR/sasldb2
sasl_auto_transition: no
lmtpsocket: DIR/run/lmtp
idlesocket: DIR/run/idle
notifysocket: DIR/run/notify
`),
		"cyrus.conf": fmt.Sprintf(`START {
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -C %[1]s/imapd.conf -r"
}
SERVICES {
  imap cmd="imapd -C %[1]s/imapd.conf -U 30" listen="127.0.0.1:%[2]d" prefork=0 maxchild=4
  https cmd="httpd -s -C %[1]s/imapd.conf -U 100" listen="127.0.0.1:%[3]d" prefork=1 maxchild=8
}
EVENTS {
  checkpoint cmd="/usr/sbin/cyrus ctl_cyrusdb -C %[1]s/imapd.conf -c" period=30
}
`, dir, c.imap, c.https),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(stdin, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Stdin, cmd.Env = strings.NewReader(stdin), append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	for _, name := range append([]string{"cyrus"}, people...) {
		run("pw", "saslpasswd2", "-p", "-c", "-f", filepath.Join(dir, "sasldb2"), "-u", "cyrus.test", name)
	}
	run("", "chown", "-R", "cyrus:mail", dir)
	cmd := exec.Command("setpriv", "--reuid", "cyrus", "--regid", "mail", "--clear-groups", master, "-C", filepath.Join(dir, "imapd.conf"), "-M", filepath.Join(dir, "cyrus.conf"), "-p", filepath.Join(dir, "pid"))
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	said, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = said.Close()
	})
	for _, port := range []int{c.imap, c.https} {
		blackbox.Must(t, patience, func() error {
			n, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				text, _ := os.ReadFile(said.Name())
				return fmt.Errorf("%w %s", err, text)
			}
			return n.Close()
		})
	}
	n, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.imap))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	fmt.Fprintf(n, "a LOGIN cyrus pw\r\n")
	for _, name := range people {
		fmt.Fprintf(n, "b CREATE user/%s\r\n", name)
	}
	fmt.Fprintf(n, "z LOGOUT\r\n")
	if text, _ := io.ReadAll(n); strings.Count(string(text), "\nb OK") != len(people) {
		t.Fatalf("mailboxes: %s", text)
	}
	w.DNS.Change(func(w *discovertest.World) {
		w.Addr["cal.cyrus.test"] = []string{"127.0.0.1"}
		w.SRV["_ischedules._tcp.cyrus.test"] = []discovertest.SRV{{Port: uint16(c.https), Target: "cal.cyrus.test"}}
		w.TXT["_ischedules._tcp.cyrus.test"] = [][]string{{"path=/ischedule"}}
	})
	return c
}

// person is somebody with a calendar program there.
func (c *cyrus) person(w *blackbox.World, name string) *blackbox.User {
	return &blackbox.User{Name: name, Password: "pw", Address: "mailto:" + name + "@cyrus.test", Base: fmt.Sprintf("https://127.0.0.1:%d", c.https), Client: w.CA.Client()}
}

var hrefs = regexp.MustCompile(`<D:href>([^<]*\.ics)</D:href>`)

// list reads the objects of a calendar there.
func list(u *blackbox.User, name string) ([]blackbox.Found, error) {
	a, err := u.Do("PROPFIND", "/dav/calendars/user/"+u.Name+"/"+name+"/", "", "Depth", "1")
	if err != nil || a.Status != http.StatusMultiStatus {
		return nil, errors.Join(err, fmt.Errorf("PROPFIND: %s", a))
	}
	var out []blackbox.Found
	for _, m := range hrefs.FindAllStringSubmatch(string(a.Body), -1) {
		o, err := u.Get(m[1])
		if err != nil {
			return nil, err
		}
		out = append(out, blackbox.Found{Href: m[1], Object: o})
	}
	return out, nil
}

// find waits for the object of a UID there.
func find(t *testing.T, u *blackbox.User, name, uid string, ok func(*calendar.Object) bool) blackbox.Found {
	t.Helper()
	var found blackbox.Found
	blackbox.Must(t, patience, func() error {
		all, err := list(u, name)
		if err != nil {
			return err
		}
		for _, f := range all {
			if f.Object.UID() == uid && (ok == nil || ok(f.Object)) {
				found = f
				return nil
			}
		}
		return fmt.Errorf("%s has %d objects in %s, none as expected", u.Name, len(all), name)
	})
	return found
}

// mail waits for a mail that Cyrus sends.
func (c *cyrus) mail(t *testing.T, method, uid string) blackbox.Mail {
	t.Helper()
	m, err := c.outbox.Wait(patience, func(m blackbox.Mail) bool {
		return m.Calendar != nil && m.Calendar.Method() == method && m.Calendar.UID() == uid
	})
	if err != nil {
		t.Fatalf("%s about %s: %v", method, uid, err)
	}
	return m
}

// status waits for the SCHEDULE-STATUS of somebody in an event of ours.
func status(t *testing.T, u *blackbox.User, path, who, partstat, code string) {
	t.Helper()
	blackbox.Must(t, patience, func() error {
		o, err := u.Get(path)
		if err != nil {
			return err
		}
		if p, st := blackbox.Attendee(o, who); p != partstat || !strings.HasPrefix(st, code) {
			return fmt.Errorf("%s says of %s: %s, SCHEDULE-STATUS %s; want %s, %s", path, who, p, st, partstat, code)
		}
		return nil
	})
}

// TestCyrus: invitations, changes and questions for busy times go to a Debian
// Cyrus by iSchedule; its people's answers and invitations, which it mails, are
// taken; what it would send by iSchedule, unsigned, is taken when its domain is
// trusted, and refused before.
func TestCyrus(t *testing.T) {
	t.Parallel()
	w := blackbox.NewWorld(t)
	c := newCyrus(t, w, "carl", "cora")
	lmtp := blackbox.Port(t)
	n := w.Node("alpha.test", "", fmt.Sprintf("KALENDS_LMTP_LISTEN=127.0.0.1:%d", lmtp), "KALENDS_MAIL_TRUSTED_AUTHSERV=mx.alpha.test")
	n.Start()
	n.Publish()
	n.People("alice")
	alice, carl := n.User("alice"), c.person(w, "carl")
	invite := func(uid string, sequence int, start time.Time, people ...string) string {
		t.Helper()
		path := alice.Path(uid + ".ics")
		if err := alice.MustPut(path, (blackbox.Event{UID: uid, Start: start, Organizer: alice.Address, Attendees: people, Sequence: sequence}).String()); err != nil {
			t.Fatal(err)
		}
		return path
	}

	// Cyrus makes calendars when somebody signs in for the first time. Before,
	// it does not know him.
	path := invite("early", 0, noon, "mailto:cora@cyrus.test")
	status(t, alice, path, "mailto:cora@cyrus.test", "NEEDS-ACTION", "3.7")

	// A REQUEST, in calendar and inbox; a change.
	if _, err := list(carl, "Default"); err != nil {
		t.Fatal(err)
	}
	path = invite("meeting", 0, noon, carl.Address)
	status(t, alice, path, carl.Address, "NEEDS-ACTION", "1.2")
	copied := find(t, carl, "Default", "meeting", nil)
	find(t, carl, "Inbox", "meeting", func(o *calendar.Object) bool { return o.Method() == "REQUEST" })
	list, err := n.Deliveries("--uid", "meeting")
	if err != nil || len(list) != 1 || list[0].Transport != "ischedule" || !strings.HasPrefix(list[0].Status, "1.2") {
		t.Errorf("the delivery: %+v %v", list, err)
	}
	shown, err := n.Command("", "deliveries", "show", list[0].Ref)
	if err != nil || !strings.Contains(shown, "2.0;Success") {
		t.Errorf("what Cyrus said: %v %s", err, shown)
	}
	later := noon.Add(time.Hour)
	invite("meeting", 1, later, carl.Address)
	copied = find(t, carl, "Default", "meeting", func(o *calendar.Object) bool {
		return o.Master().Value("DTSTART") == later.Format("20060102T150405Z")
	})

	// A question for busy times is answered (without any: see the docs).
	const utc = "20060102T150405Z"
	day := noon.Truncate(24 * time.Hour)
	a, err := alice.Do("POST", alice.Home()+"outbox/", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Black box//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:"+time.Now().UTC().Format(utc)+
		"\r\nDTSTART:"+day.Format(utc)+"\r\nDTEND:"+day.AddDate(0, 0, 1).Format(utc)+"\r\nORGANIZER:"+alice.Address+"\r\nATTENDEE:"+carl.Address+"\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n", "Content-Type", "text/calendar; charset=utf-8")
	if err != nil || a.Status != 200 || !strings.Contains(string(a.Body), "2.0;Success") || !strings.Contains(string(a.Body), "BEGIN:VFREEBUSY") {
		t.Errorf("busy times: %s %v", a.Body, err)
	}

	// carl answers; Cyrus mails it to alice, by way of her mail server.
	take := func(m blackbox.Mail, to string) {
		t.Helper()
		raw := append([]byte("Authentication-Results: mx.alpha.test; dmarc=pass header.from=cyrus.test\r\n"), m.Raw...)
		if err := blackbox.SendLMTP(lmtp, "carl@cyrus.test", to, raw); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range copied.Object.Master().All("ATTENDEE") {
		if calendar.Address(p.Value()).Equal(calendar.Address(carl.Address)) {
			p.SetParam("PARTSTAT", "ACCEPTED")
		}
	}
	if err := carl.MustPut(copied.Href, string(copied.Object.Bytes())); err != nil {
		t.Fatal(err)
	}
	take(c.mail(t, "REPLY", "meeting"), "alice@alpha.test")
	status(t, alice, path, carl.Address, "ACCEPTED", "2.0")

	// carl invites alice; her answer goes back by iSchedule.
	if err := carl.MustPut("/dav/calendars/user/carl/Default/his.ics", (blackbox.Event{UID: "his", Start: day.Add(16 * time.Hour), Organizer: carl.Address, Attendees: []string{alice.Address}}).String()); err != nil {
		t.Fatal(err)
	}
	take(c.mail(t, "REQUEST", "his"), "alice@alpha.test")
	blackbox.Must(t, patience, func() error {
		f, err := alice.Copy("his")
		if err == nil && f == nil {
			err = errors.New("alice has no copy of carl's meeting")
		}
		return err
	})
	if err := alice.Answer("his", "TENTATIVE"); err != nil {
		t.Fatal(err)
	}
	find(t, carl, "Default", "his", func(o *calendar.Object) bool {
		p, _ := blackbox.Attendee(o, alice.Address)
		return p == "TENTATIVE"
	})

	// What a Cyrus in our neighbourhood sends: unsigned, its own Message-ID,
	// Expect. Refused from anybody, taken from a domain that is trusted.
	post := func(password string) (int, string) {
		t.Helper()
		body := (blackbox.Event{UID: "direct", Start: day.Add(18 * time.Hour), Organizer: carl.Address, Attendees: []string{alice.Address}}).String()
		body = strings.Replace(body, "VERSION:2.0", "VERSION:2.0\r\nMETHOD:REQUEST", 1)
		req, err := http.NewRequest("POST", fmt.Sprintf("https://127.0.0.1:%d/ischedule", n.HTTPS), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"User-Agent": {"Cyrus-HTTP/3.6.1-Debian"}, "Ischedule-Version": {"1.0"}, "Ischedule-Message-Id": {"<cmu-ischedule-4711-1@cal.cyrus.test>"},
			"Content-Type": {"text/calendar; charset=utf-8; method=REQUEST; component=VEVENT"}, "Originator": {carl.Address}, "Recipient": {alice.Address}, "Expect": {"100-continue"}, "Cache-Control": {"no-cache, no-transform"}}
		if password != "" {
			req.SetBasicAuth("cyrus.test", password)
		}
		resp, err := w.CA.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, text := post(""); code != 403 {
		t.Errorf("unsigned, from a stranger: %d %s", code, text)
	}
	text, err := n.Command("", "peer", "set", "cyrus.test", "--network", "127.0.0.0/8", "--new-password")
	if err != nil {
		t.Fatal(err, text)
	}
	secret := regexp.MustCompile(`[A-Za-z0-9_-]{20,}`).FindString(text)
	blackbox.Must(t, patience, func() error {
		if code, text := post(secret); code != 200 || !strings.Contains(text, "2.0") {
			return fmt.Errorf("from the trusted domain: %d %s", code, text)
		}
		return nil
	})
	if f, err := alice.Copy("direct"); err != nil || f == nil {
		t.Errorf("alice's copy of what came from the trusted domain: %v", err)
	}

	// A CANCEL is taken; the doctor finds nothing broken on the way.
	if a, err := alice.Do("DELETE", path, ""); err != nil || !a.OK() {
		t.Fatal(a, err)
	}
	find(t, carl, "Inbox", "meeting", func(o *calendar.Object) bool { return o.Method() == "CANCEL" })
	said, err := n.Command("", "doctor", "cyrus.test", "--json")
	if err != nil || strings.Contains(said, `"broken"`) || !strings.Contains(said, "believes a question") {
		t.Errorf("doctor: %v %s", err, said)
	}
}
