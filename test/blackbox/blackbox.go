// Package blackbox holds what tests of the real binary share: it builds
// `kalends`, runs servers as processes of their own, and makes the world
// around them: names, certificates, mail servers, and calendar programs.
//
// It knows the commands, environment variables and URLs that are documented
// and nothing else of Kalends; a server is only ever told what an
// administrator could tell it. Set-up that fails ends the test; what clients do
// returns errors, so that it can be used from any goroutine.
package blackbox

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var binary string

// Main builds the binary, runs the tests of a package, and ends the process.
// KALENDS_TEST_RACE=1 builds it with the race detector; KALENDS_TEST_BINARY
// names one that is there already.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if binary = os.Getenv("KALENDS_TEST_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "kalends-blackbox-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "kalends")
	args := []string{"build", "-o", binary}
	if Race() {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/kalends/kalends/cmd/kalends")...).CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build ./cmd/kalends: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Race tells whether the binary has the race detector.
func Race() bool { return os.Getenv("KALENDS_TEST_RACE") != "" }

// Binary is the path of the built program.
func Binary() string { return binary }

var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// Port finds a port of 127.0.0.1 that nobody uses. It lies below the range
// that the system gives to outgoing connections, so that it stays free while
// its server is down.
func Port(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		p := 12000 + rand.IntN(20000)
		if ports.given[p] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		l.Close()
		ports.given[p] = true
		return p
	}
	t.Fatal("no port is free")
	return 0
}

// Wait tries until f succeeds; the last error tells what was still missing.
func Wait(limit time.Duration, f func() error) error {
	end := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w (waited %v)", err, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Must is Wait for what the test cannot go on without.
func Must(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	if err := Wait(limit, f); err != nil {
		t.Fatal(err)
	}
}
