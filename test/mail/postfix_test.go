// Package mail tests scheduling by mail with a real mail server, Postfix, set
// up by the words of docs/mail.md.
package mail

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

// recipe gives the code blocks for Postfix in a part of docs/mail.md, made fit
// for the test's domain, folder and port.
func recipe(t *testing.T, part, dir string, lmtp int) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/mail.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## "+part)
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, ok := strings.Cut(text, "\n### Postfix")
	if !ok {
		t.Fatalf("docs/mail.md has nothing about Postfix in the part %q", part)
	}
	text, _, _ = strings.Cut(text, "\n### ")
	var out []string
	for i, block := range strings.Split(text, "```") {
		if i%2 == 1 {
			_, block, _ = strings.Cut(block, "\n")
			out = append(out, strings.NewReplacer("example.org", "alpha.test", "/etc/postfix", dir, "127.0.0.1:2024", fmt.Sprintf("127.0.0.1:%d", lmtp)).Replace(block))
		}
	}
	return out
}

// postfix is a mail server with its own configuration, queue and ports.
type postfix struct {
	t    *testing.T
	dir  string
	Addr string
	cmd  *exec.Cmd
	log  string
}

// newPostfix starts one that is responsible for alpha.test: mail for its users
// goes to mailboxes, mail for mail.test to outside, and what the recipes say to
// the server's LMTP listener.
func newPostfix(t *testing.T, lmtp int, mailboxes, outside *blackbox.Catcher) *postfix {
	t.Helper()
	if _, err := exec.LookPath("postfix"); err != nil {
		if _, err := os.Stat("/usr/sbin/postfix"); err != nil {
			t.Fatal("Postfix is missing; the tests of mail need it: apt-get install postfix")
		}
	}
	if os.Getuid() != 0 {
		t.Fatal("Postfix starts as root only; run the tests of mail as root")
	}
	dir, err := os.MkdirTemp("", "kalends-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &postfix{t: t, dir: dir, Addr: fmt.Sprintf("127.0.0.1:%d", blackbox.Port(t)), log: filepath.Join(dir, "log")}
	copies, gateway := recipe(t, "A: ", dir, lmtp), recipe(t, "B: ", dir, lmtp)
	if len(copies) != 2 || len(gateway) != 2 {
		t.Fatalf("docs/mail.md has %d and %d blocks for Postfix; the test knows two each", len(copies), len(gateway))
	}
	smtp := func(c *blackbox.Catcher) string {
		host, port, _ := net.SplitHostPort(c.Addr)
		return "smtp:[" + host + "]:" + port
	}
	for name, text := range map[string]string{
		"calendar_checks": copies[0],
		"transport":       gateway[0] + "mail.test " + smtp(outside) + "\n",
		"mailboxes":       "alice@alpha.test x\nbob@alpha.test x\ncalendar@alpha.test kalends\n",
		"main.cf": copies[1] + gateway[1] + strings.Join([]string{
			"compatibility_level = 3.6",
			"queue_directory = " + dir + "/queue", "data_directory = " + dir + "/data",
			"maillog_file = " + p.log, "maillog_file_prefixes = " + dir,
			"myhostname = mx.alpha.test", "mydomain = alpha.test", "myorigin = alpha.test", "mydestination =",
			"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "mynetworks = 127.0.0.0/8",
			"virtual_mailbox_domains = alpha.test", "virtual_mailbox_maps = hash:" + dir + "/mailboxes", "virtual_transport = " + smtp(mailboxes),
			"alias_maps =", "alias_database =", "smtpd_peername_lookup = no", "smtp_host_lookup = native", "smtp_tls_security_level = none",
			"smtpd_recipient_restrictions = permit_mynetworks, reject", "",
		}, "\n"),
		"master.cf": p.Addr + ` inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.run("chown", "postfix", filepath.Join(dir, "data"))
	for _, name := range []string{"transport", "mailboxes"} {
		p.run("postmap", "-c", dir, "hash:"+filepath.Join(dir, name))
	}
	p.cmd = exec.Command("postfix", "-c", dir, "start-fg")
	p.cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &out, &out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := make(chan error, 1)
	go func() { dead <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.run("postfix", "-c", dir, "stop")
		select {
		case <-dead:
		case <-time.After(20 * time.Second):
			t.Error("Postfix does not stop")
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
		if t.Failed() {
			b, _ := os.ReadFile(p.log)
			t.Logf("the log of Postfix:\n%s", b)
		}
	})
	blackbox.Must(t, 20*time.Second, func() error {
		select {
		case err := <-dead:
			b, _ := os.ReadFile(p.log)
			t.Fatalf("Postfix has ended: %v\n%s%s", err, out.Bytes(), b)
		default:
		}
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return p
}

func (p *postfix) run(name string, args ...string) {
	p.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Errorf("%s: %v: %s", name, err, out)
	}
}
