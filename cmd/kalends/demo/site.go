package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// site is one installation: a process of its own, with its own folder,
// database, certificate and environment.
type site struct {
	domain string
	dir    string
	url    string // https://cal.DOMAIN:PORT
	port   int
	smtp   int // port of its SMTP listener
	env    []string
	exe    string
	cmd    *exec.Cmd
	log    *tail
	dead   chan struct{}
}

// tail keeps the last lines of a process's output for the case that it dies.
type tail struct {
	mu   sync.Mutex
	text []byte
	also io.Writer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > 16<<10 {
		t.text = t.text[len(t.text)-8<<10:]
	}
	if t.also != nil {
		return t.also.Write(b)
	}
	return len(b), nil
}

func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// newSite prepares an installation; ca signs its certificate, trust is what it
// believes of others.
func newSite(exe, base, domain, dnsAddr string, mailPort int, ca, trust *authority) (*site, error) {
	s := &site{domain: domain, exe: exe, dir: filepath.Join(base, domain), dead: make(chan struct{})}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if s.smtp, err = freePort(); err != nil {
		return nil, err
	}
	host := "cal." + domain
	s.url = fmt.Sprintf("https://%s:%d", host, s.port)
	cert, key, roots := filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem"), filepath.Join(s.dir, "trusted-ca.pem")
	if err := ca.issue(host, cert, key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(roots, trust.pem, 0o600); err != nil {
		return nil, err
	}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(),
		"KALENDS_DATABASE_URL=sqlite:" + filepath.Join(s.dir, "kalends.db"),
		"KALENDS_DATA_DIR=" + s.dir,
		"KALENDS_DOMAINS=" + domain,
		"KALENDS_EXTERNAL_URL=" + s.url,
		"KALENDS_HTTP_LISTEN=",
		fmt.Sprintf("KALENDS_HTTPS_LISTEN=127.0.0.1:%d", s.port),
		"KALENDS_MANAGEMENT_LISTEN=",
		"KALENDS_TLS_CERT=" + cert, "KALENDS_TLS_KEY=" + key, "KALENDS_TLS_EXTRA_CA=" + roots,
		"KALENDS_DNS_RESOLVER=" + dnsAddr,
		"KALENDS_DIAL_ALLOW=127.0.0.0/8",
		fmt.Sprintf("KALENDS_SMTP_URL=smtp://127.0.0.1:%d", mailPort),
		fmt.Sprintf("KALENDS_SMTP_LISTEN=127.0.0.1:%d", s.smtp),
		"KALENDS_MAIL_GATEWAY=*",
		"KALENDS_RETRY_MIN=500ms", "KALENDS_RETRY_MAX=2s", "KALENDS_RETRY_EXPIRY=10m",
		"KALENDS_ADMIN_PASSWORD=" + adminPassword,
		"KALENDS_LOG_LEVEL=info",
	}
	return s, nil
}

// command runs a command of the same program against this installation, as its
// administrator would.
func (s *site) command(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.exe, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = s.env, s.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kalends %s at %s: %w: %s", strings.Join(args, " "), s.domain, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// start runs `kalends serve`.
func (s *site) start(verbose io.Writer) error {
	s.log = &tail{also: verbose}
	s.cmd = exec.Command(s.exe, "serve")
	s.cmd.Env, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.env, s.dir, s.log, s.log
	s.cmd.SysProcAttr = childAttributes()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() { _ = s.cmd.Wait(); close(s.dead) }()
	return nil
}

// stop asks the process to end and waits for it.
func (s *site) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.dead:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.dead
	}
}

func (s *site) alive() error {
	select {
	case <-s.dead:
		return fmt.Errorf("the server of %s has ended:\n%s", s.domain, s.log.last(5))
	default:
		return nil
	}
}
