package blackbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kalends/kalends/federation/discover/discovertest"
)

// Node is one `kalends serve`, with its folder and its environment. It may be
// started, stopped and killed any number of times.
type Node struct {
	t      testing.TB
	w      *World
	Domain string
	Dir    string
	HTTP   int // port of the plain listener
	HTTPS  int
	Admin  int // port of the management listener
	Cert   string
	Key    string

	mu  sync.Mutex
	env []string
	log *output
	cmd *exec.Cmd
	end chan struct{} // closed when the process has ended
}

// Node prepares a server for a domain on a database; env is more environment,
// as NAME=VALUE. Several nodes may have one domain and one database.
func (w *World) Node(domain, database string, env ...string) *Node {
	w.t.Helper()
	n := &Node{t: w.t, w: w, Domain: domain, Dir: w.t.TempDir(), HTTP: Port(w.t), HTTPS: Port(w.t), Admin: Port(w.t), log: &output{}}
	n.Cert, n.Key = filepath.Join(n.Dir, "cert.pem"), filepath.Join(n.Dir, "key.pem")
	w.CA.Issue(w.t, "cal."+domain, n.Cert, n.Key)
	if database == "" {
		database = "sqlite:" + filepath.Join(n.Dir, "kalends.db")
	}
	n.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + n.Dir, "TMPDIR=" + os.TempDir(),
		"KALENDS_DATABASE_URL=" + database,
		"KALENDS_DATA_DIR=" + n.Dir,
		"KALENDS_DOMAINS=" + domain,
		fmt.Sprintf("KALENDS_EXTERNAL_URL=https://cal.%s:%d", domain, n.HTTPS),
		fmt.Sprintf("KALENDS_HTTP_LISTEN=127.0.0.1:%d", n.HTTP),
		fmt.Sprintf("KALENDS_HTTPS_LISTEN=127.0.0.1:%d", n.HTTPS),
		fmt.Sprintf("KALENDS_MANAGEMENT_LISTEN=127.0.0.1:%d", n.Admin),
		"KALENDS_TLS_CERT=" + n.Cert, "KALENDS_TLS_KEY=" + n.Key, "KALENDS_TLS_EXTRA_CA=" + w.CA.file,
		"KALENDS_DNS_RESOLVER=" + w.DNS.Addr(),
		"KALENDS_DIAL_ALLOW=127.0.0.0/8",
		"KALENDS_RETRY_MIN=300ms", "KALENDS_RETRY_MAX=2s", "KALENDS_RETRY_EXPIRY=1h", "KALENDS_HOLD_DELETE=0s",
		"KALENDS_ADMIN_PASSWORD=secret",
		"GORACE=halt_on_error=0",
	}, env...)
	w.t.Cleanup(func() {
		n.Stop()
		if text := n.log.String(); strings.Contains(text, "DATA RACE") {
			w.t.Errorf("the race detector spoke in %s:\n%s", domain, text)
		} else if w.t.Failed() {
			w.t.Logf("the end of the log of %s:\n%s", domain, n.log.last(30))
		}
	})
	return n
}

// Set adds or changes environment for the next start.
func (n *Node) Set(env ...string) { n.env = append(n.env, env...) }

// Environment is what the server is started with.
func (n *Node) Environment() []string { return n.env }

// Bare replaces the environment: nothing is configured but env.
func (n *Node) Bare(env ...string) {
	n.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.Dir, "TMPDIR=" + os.TempDir()}, env...)
}

// Start runs the server and waits until it answers.
func (n *Node) Start() {
	n.t.Helper()
	if err := n.Run(); err != nil {
		n.t.Fatal(err)
	}
	if err := n.Ready(30 * time.Second); err != nil {
		n.t.Fatalf("the server of %s is not ready: %v\n%s", n.Domain, err, n.log.last(10))
	}
}

// Run runs the server and does not wait for it.
func (n *Node) Run() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	cmd := exec.Command(Binary(), "serve")
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = n.env, n.Dir, n.log, n.log
	cmd.SysProcAttr = child()
	if err := cmd.Start(); err != nil {
		return err
	}
	end := make(chan struct{})
	n.cmd, n.end = cmd, end
	go func() { _ = cmd.Wait(); close(end) }()
	return nil
}

// Ready waits until the server says that it is.
func (n *Node) Ready(limit time.Duration) error {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return Wait(limit, func() error {
		select {
		case <-n.end:
			return fmt.Errorf("it has ended: %v", n.cmd.ProcessState)
		default:
		}
		resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", n.Admin))
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// Pid is the process of the running server.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Kill ends the process as kill -9 does.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill()
	<-n.end
}

// Signal sends a signal; Exit waits for what comes of it.
func (n *Node) Signal(s os.Signal) error { return n.cmd.Process.Signal(s) }

// Exit waits for the end of the process and returns its exit code.
func (n *Node) Exit(limit time.Duration) (int, error) {
	select {
	case <-n.end:
		return n.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return -1, fmt.Errorf("the server still runs after %v", limit)
	}
}

// Stop ends the server in order; it may have ended already.
func (n *Node) Stop() {
	if n.cmd == nil {
		return
	}
	select {
	case <-n.end:
		return
	default:
	}
	_ = n.Signal(syscall.SIGTERM)
	if _, err := n.Exit(30 * time.Second); err != nil {
		n.t.Errorf("%s: %v", n.Domain, err)
		n.Kill()
	}
}

// Log is everything that the server printed so far.
func (n *Node) Log() string { return n.log.String() }

// Command runs a command of the binary as the administrator of the node.
func (n *Node) Command(stdin string, args ...string) (string, error) {
	cmd := exec.Command(Binary(), args...)
	cmd.Env, cmd.Dir, cmd.Stdin = n.env, n.Dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kalends %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}

// People creates users whose passwords are their names. A name may be followed
// by ":" and a kind: "blue:room".
func (n *Node) People(names ...string) {
	n.t.Helper()
	csv := "name,kind,emails,password\n"
	for _, s := range names {
		name, kind, ok := strings.Cut(s, ":")
		if !ok {
			kind = "user"
		}
		csv += fmt.Sprintf("%s,%s,%s@%s,%s\n", name, kind, name, n.Domain, name)
	}
	if _, err := n.Command(csv, "user", "import", "-"); err != nil {
		n.t.Fatal(err)
	}
}

// Publish puts the records that `kalends domain dns` prints into the world's
// DNS. The server must have been started once.
func (n *Node) Publish() { n.t.Helper(); n.PublishDomain(n.Domain) }

// PublishDomain is Publish for another domain that the server hosts.
func (n *Node) PublishDomain(domain string) {
	n.t.Helper()
	text, err := n.Command("", "domain", "dns", domain)
	if err != nil {
		n.t.Fatal(err)
	}
	var records []dns.RR
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, rr)
	}
	if err := p.Err(); err != nil {
		n.t.Fatalf("what `kalends domain dns` prints is no zone file: %v\n%s", err, text)
	}
	n.w.DNS.Change(func(w *discovertest.World) {
		w.Addr["cal."+n.Domain] = []string{"127.0.0.1"}
		for _, rr := range records {
			name := strings.ToLower(strings.TrimSuffix(rr.Header().Name, "."))
			switch r := rr.(type) {
			case *dns.SRV:
				w.SRV[name] = []discovertest.SRV{{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: r.Target}}
			case *dns.TXT:
				w.TXT[name] = append(w.TXT[name], r.Txt)
			}
		}
	})
}

// Delivery is what `kalends deliveries list --json` says.
type Delivery struct {
	Ref       string `json:"ref"`
	UID       string `json:"uid"`
	Recipient string `json:"recipient"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	Transport string `json:"transport"`
	Status    string `json:"status"`
	Detail    string `json:"detail"`
}

// Deliveries lists what became of messages; args are more flags.
func (n *Node) Deliveries(args ...string) ([]Delivery, error) {
	text, err := n.Command("", append([]string{"deliveries", "list", "--json", "--limit", "10000"}, args...)...)
	if err != nil {
		return nil, err
	}
	var out []Delivery
	return out, json.Unmarshal([]byte(text), &out)
}

// Drained waits until nothing is on its way any more.
func (n *Node) Drained(limit time.Duration) error {
	return Wait(limit, func() error {
		for _, state := range []string{"queued", "held", "in-flight"} {
			open, err := n.Deliveries("--state", state)
			if err != nil {
				return err
			}
			if len(open) > 0 {
				return fmt.Errorf("%d deliveries are %s, such as %+v", len(open), state, open[0])
			}
		}
		return nil
	})
}

// Memory is the resident memory of the process, in octets.
func (n *Node) Memory() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// output keeps what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) last(n int) string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
