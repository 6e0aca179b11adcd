package federation

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// TestGatewaysInACircle: two installations host the same two domains. What alpha
// has for people of aa.test goes by LMTP to beta, who has their calendars. Then
// somebody sets up beta to hand all of it back: the message comes back once, and
// its sender is told (A33).
func TestGatewaysInACircle(t *testing.T) {
	s := newScene(t)
	both := []*blackbox.Node{s.alpha, s.beta}
	var lmtp []int
	for _, n := range both {
		n.Stop()
		lmtp = append(lmtp, blackbox.Port(t))
		n.Set(fmt.Sprintf("KALENDS_LMTP_LISTEN=127.0.0.1:%d", lmtp[len(lmtp)-1]), "KALENDS_DOMAINS="+n.Domain+",aa.test,shared.test")
	}
	gateway := func(n *blackbox.Node, port int) {
		t.Helper()
		if _, err := n.Command("", "domain", "add", "aa.test", "--role", "gateway", "--backend", fmt.Sprintf("lmtp://127.0.0.1:%d", port)); err != nil {
			t.Fatal(err)
		}
	}
	// Either may sign for shared.test.
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range both {
		n.Start()
		if _, err := n.Command("", "key", "import", "shared.test", "--purpose", "mail", "--selector", "both", "--file", file); err != nil {
			t.Fatal(err)
		}
		n.Stop()
	}
	gateway(s.alpha, lmtp[1])
	for _, n := range both {
		n.Start()
	}
	s.alpha.PublishDomain("shared.test")
	s.w.DNS.Change(func(w *discovertest.World) { delete(w.SRV, "_ischedules._tcp.shared.test") })
	if _, err := s.beta.Command("gina\n", "user", "add", "gina", "--email", "gina@aa.test", "--password-stdin"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.alpha.Command("eve\n", "user", "add", "eve", "--email", "eve@shared.test", "--password-stdin"); err != nil {
		t.Fatal(err)
	}
	eve := s.alpha.User("eve")
	eve.Address = "mailto:eve@shared.test"

	invite := func(from *blackbox.User, uid string) {
		t.Helper()
		if err := from.MustPut(from.Path(uid+".ics"), (blackbox.Event{UID: uid, Start: monday, Organizer: from.Address, Attendees: []string{"mailto:gina@aa.test"}}).String()); err != nil {
			t.Fatal(err)
		}
	}
	status := func(from *blackbox.User, uid, want string) {
		t.Helper()
		blackbox.Must(t, patience, func() error {
			o, err := from.Get(from.Path(uid + ".ics"))
			if err != nil {
				return err
			}
			if _, st := blackbox.Attendee(o, "mailto:gina@aa.test"); !strings.HasPrefix(st, want) {
				return fmt.Errorf("%s: status %s, want %s", uid, st, want)
			}
			return nil
		})
	}
	gina := s.beta.User("gina")
	for _, from := range []*blackbox.User{s.alice, eve} {
		uid := "straight-" + from.Name
		invite(from, uid)
		status(from, uid, "1.")
		s.has(gina, uid, func(o *calendar.Object) error { return nil })
	}

	s.beta.Stop()
	if _, err := s.beta.Command("", "user", "remove", "gina", "--cancel-meetings"); err != nil {
		t.Fatal(err)
	}
	gateway(s.beta, lmtp[0])
	s.beta.Start()
	for _, from := range []*blackbox.User{s.alice, eve} {
		uid := "circle-" + from.Name
		invite(from, uid)
		status(from, uid, "5.")
	}
	if err := s.alpha.Drained(patience); err != nil {
		t.Error(err)
	}
}
