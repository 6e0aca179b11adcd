package blackbox

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
)

// World is what servers of one test have in common: a name server and an
// authority that all of them trust.
type World struct {
	t   testing.TB
	DNS *discovertest.Server
	CA  *Authority
}

// NewWorld makes an empty world.
func NewWorld(t testing.TB) *World {
	t.Helper()
	return &World{t: t, CA: NewAuthority(t), DNS: discovertest.Start(t, discovertest.World{
		SRV: map[string][]discovertest.SRV{}, TXT: map[string][][]string{}, Addr: map[string][]string{}, TTL: 1, NegativeTTL: 1,
	})}
}

// Authority is a throw-away certificate authority whose certificates servers
// read from files.
type Authority struct {
	*discovertest.Authority
	file string
}

// NewAuthority makes one that lives as long as the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{Authority: discovertest.NewAuthority(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(a.file, a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// Issue writes a certificate for a host, and its key.
func (a *Authority) Issue(t testing.TB, host, certFile, keyFile string) {
	t.Helper()
	c := a.Authority.Issue(t, host, "localhost", "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	// The key first: who looks at the certificate's file sees both.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Client speaks to servers whose certificates the authority issued.
func (a *Authority) Client() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{RootCAs: a.Pool()}}}
}
