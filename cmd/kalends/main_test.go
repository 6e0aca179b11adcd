package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kalends/kalends/storage/storagetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kalends": main})
}

// Each script is a session of an administrator on a fresh, empty database of
// each engine; $ENGINE is its name, $DATABASE its address; $YEAR is in the names of
// new keys.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, engine := range storagetest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			scripts(t, engine)
		})
	}
}

func scripts(t *testing.T, engine storagetest.Engine) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			address, name := "sqlite:"+e.WorkDir+"/data/kalends.db", "sqlite"
			if engine == storagetest.Postgres {
				address, name = storagetest.PostgresURL(t), "postgres"
			}
			e.Vars = append(e.Vars, "KALENDS_DATABASE_URL="+address, "DATABASE="+address, "ENGINE="+name, "KALENDS_DATA_DIR="+e.WorkDir+"/data", "YEAR="+time.Now().UTC().Format("2006"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N COMMAND... runs a command and wants the exit code N, and of
			// a failure one line on the standard error.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) < 2 {
					ts.Fatalf("usage: code N COMMAND...")
				}
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				if err != nil {
					got = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if got != args[0] {
					ts.Fatalf("exit code %s, want %s", got, args[0])
				}
				if lines := strings.Count(ts.ReadFile("stderr"), "\n"); got != "0" && lines > 1 {
					ts.Fatalf("%d lines on the standard error, want one", lines)
				}
			},
			// ref NAME sets REF to the newest delivery of an account.
			"ref": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("kalends", "deliveries", "list", "--user", args[0]))
				lines := strings.Split(ts.ReadFile("stdout"), "\n")
				if len(lines) < 2 {
					ts.Fatalf("no delivery of %s", args[0])
				}
				ref, _, _ := strings.Cut(lines[1], " ")
				ts.Setenv("REF", ref)
			},
			// freeport VAR sets VAR to an address on loopback that is free.
			"freeport": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				ts.Check(err)
				ts.Setenv(args[0], l.Addr().String())
				ts.Check(l.Close())
			},
			// waitfor COMMAND... runs a command until it succeeds.
			"waitfor": func(ts *testscript.TestScript, _ bool, args []string) {
				for range 600 {
					if ts.Exec(args[0], args[1:]...) == nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				ts.Fatalf("%s does not succeed", strings.Join(args, " "))
			},
			// nosecret FILE wants that the first line of a file is nowhere in
			// what the last command wrote.
			"nosecret": func(ts *testscript.TestScript, _ bool, args []string) {
				secret, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
				if secret == "" || strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), secret) {
					ts.Fatalf("the secret of %s was printed, or there is none", args[0])
				}
			},
			// genkey FILE writes a fresh RSA key in PEM.
			"genkey": func(ts *testscript.TestScript, _ bool, args []string) {
				key, err := rsa.GenerateKey(rand.Reader, 1024)
				ts.Check(err)
				b := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
			},
		},
	})
}
