package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kalends/kalends/migrations"
	"github.com/kalends/kalends/storage"
)

// Cluster is a PostgreSQL server of its own, reached by a socket in its folder.
type Cluster struct {
	dir  string
	bin  string
	args string
}

// ClusterOptions of NewCluster.
type ClusterOptions struct {
	Durable bool // fsync, as in production; for benchmarks
}

// NewCluster makes and starts a server for one test, which may stop it. It is
// gone after the test.
func NewCluster(tb testing.TB, o ClusterOptions) *Cluster {
	tb.Helper()
	dir, err := os.MkdirTemp("", "kalends-pg-")
	if err != nil {
		tb.Fatal(err)
	}
	c, err := newCluster(dir, o)
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = c.Stop()
		_ = os.RemoveAll(dir)
	})
	return c
}

func newCluster(dir string, o ClusterOptions) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin, args: "-c listen_addresses='' -c max_connections=400 -c shared_buffers=128MB -c autovacuum_naptime=30s -k " + dir}
	if !o.Durable {
		c.args += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if uid, gid, ok := postgresUser(); ok {
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	return c, c.run("initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Start starts the server and waits until it answers.
func (c *Cluster) Start() error {
	return c.run("pg_ctl", "start", "-w", "-t", "60", "-s", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-o", c.args)
}

// Stop stops the server at once, as a crash would.
func (c *Cluster) Stop() error {
	return c.run("pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", c.data())
}

// URL names a database of the cluster.
func (c *Cluster) URL(database string) string {
	q := url.Values{"host": {c.dir}, "sslmode": {"disable"}}
	return "postgres://postgres@/" + database + "?" + q.Encode()
}

// Create makes a database; template may be empty. It is never dropped, which
// costs more than the whole cluster's end.
func (c *Cluster) Create(ctx context.Context, name, template string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + template
	}
	_, err = conn.Exec(ctx, statement)
	return err
}

// run runs one of PostgreSQL's programs, as the user postgres when we are root.
func (c *Cluster) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid, gid, ok := postgresUser(); ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	// The server inherits what pg_ctl writes to, so a pipe would never end.
	out, err := os.CreateTemp("", "kalends-pg-out-")
	if err != nil {
		return err
	}
	defer func() {
		_ = out.Close()
		_ = os.Remove(out.Name())
	}()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		return fmt.Errorf("storagetest: %s: %w: %s %s", program, err, bytes.TrimSpace(text), log[max(0, len(log)-2000):])
	}
	return nil
}

// postgresUser tells whom to become; ok is false when we are not root.
func postgresUser() (uid, gid int, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	u, err := osuser.Lookup("postgres")
	if err != nil {
		if u, err = osuser.Lookup("nobody"); err != nil {
			return 0, 0, false
		}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err1 == nil && err2 == nil
}

// binaries finds the folder with initdb; as root it installs Debian's package
// when there is none.
var binaries = sync.OnceValues(func() (string, error) {
	if dir := findBinaries(); dir != "" {
		return dir, nil
	}
	if os.Getuid() != 0 {
		return "", errors.New("storagetest: PostgreSQL is not installed (no initdb in PATH or /usr/lib/postgresql/*/bin); the tests need it: apt-get install postgresql")
	}
	var failed error
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "postgresql"}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			failed = fmt.Errorf("storagetest: PostgreSQL is not installed, and apt-get %s: %w: %s", args[0], err, out[max(0, len(out)-500):])
		}
	}
	if dir := findBinaries(); dir != "" {
		return dir, nil
	}
	return "", failed
})

func findBinaries() string {
	complete := func(dir string) bool {
		for _, p := range []string{"initdb", "pg_ctl", "postgres"} {
			if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
				return false
			}
		}
		return true
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real)
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(dirs)
	for _, d := range dirs {
		if complete(d) {
			return d
		}
	}
	return ""
}

// The shared cluster serves all test processes of a user. Two lock files make
// that safe: "start" is held while somebody looks, starts or stops, "users" is
// held shared by each process until it ends, however it ends. A small watcher
// process stops the server and removes it when nobody holds "users" for a while.
const watcher = `
while :; do
	flock -x users true
	sleep 5
	flock -x start flock -xn users sh -c '"$0/pg_ctl" stop -s -w -m immediate -D "$1/data"; rm -rf "$1/data"' "$1" "$2" && exit 0
done`

var shared = sync.OnceValues(func() (*Cluster, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("kalends-test-%d", os.Getuid()))
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, err
	}
	start, err := lockFile(filepath.Join(base, "start"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { _ = start.Close() }()
	if usersLock, err = lockFile(filepath.Join(base, "users"), syscall.LOCK_SH); err != nil {
		return nil, err
	}
	c := &Cluster{dir: filepath.Join(base, "pg")}
	if c.bin, err = binaries(); err != nil {
		return nil, err
	}
	if c.alive() {
		return c, nil
	}
	_ = os.RemoveAll(c.dir)
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, err
	}
	if c, err = newCluster(c.dir, ClusterOptions{}); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	watch := exec.Command("sh", "-c", watcher, "sh", c.bin, c.dir)
	watch.Dir = base
	watch.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid, gid, ok := postgresUser(); ok {
		watch.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return c, watch.Start()
})

//lint:ignore U1000 keeps the lock until the process ends
var usersLock *os.File

func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	_ = f.Chmod(0o666)
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// alive tells whether the server answers.
func (c *Cluster) alive() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return false
	}
	return conn.Close(ctx) == nil
}

// template is a migrated database of the shared cluster, made once for each
// state of the migrations.
var template = sync.OnceValues(func() (string, error) {
	c, err := shared()
	if err != nil {
		return "", err
	}
	files, err := migrations.Files("postgres")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	names, _ := fs.Glob(files, "*.sql")
	for _, n := range names {
		text, err := fs.ReadFile(files, n)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", n, len(text), text)
	}
	name := "template_" + hex.EncodeToString(sum.Sum(nil)[:8])
	lock, err := lockFile(filepath.Join(filepath.Dir(c.dir), "template"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var n int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&n); err != nil || n > 0 {
		return name, err
	}
	draft := fmt.Sprintf("draft_%d_%d", os.Getpid(), time.Now().UnixNano())
	if err := c.Create(ctx, draft, ""); err != nil {
		return "", err
	}
	db, err := storage.Open(ctx, c.URL(draft), storage.Options{MaxConns: 2})
	if err != nil {
		return "", err
	}
	err = db.Migrate(ctx)
	_ = db.Close()
	if err != nil {
		return "", err
	}
	for range 50 { // the server needs a moment to see that we are gone
		if _, err = conn.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name); err == nil || !strings.Contains(err.Error(), "accessed") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return name, err
})
