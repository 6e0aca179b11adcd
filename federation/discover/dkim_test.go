package discover_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
)

// KeyLookup has the shape that dkim wants, without either knowing the other.
var (
	_ dkim.KeySource = (*discover.KeyLookup)(nil)
	_ dkim.Refresher = (*discover.KeyLookup)(nil)
)

// TestVerifyByDNS signs a request and verifies it with the key in DNS, through
// a change of the key under its selector and a failure of the name server.
func TestVerifyByDNS(t *testing.T) {
	t.Parallel()
	now := time.Unix(1770000000, 0)
	h := []dkim.Header{
		{Name: "Content-Type", Value: "text/calendar"}, {Name: "iSchedule-Version", Value: "1.0"},
		{Name: "Originator", Value: "mailto:a@north.example"}, {Name: "Recipient", Value: "mailto:b@south.example"},
	}
	body := []byte("BEGIN:VCALENDAR\r\n")
	publish := func() ([]dkim.Header, [][]string) {
		key, err := dkim.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		field, err := (&dkim.Signer{Domain: "north.example", Selector: "k", Key: key}).Sign(h, body, now)
		if err != nil {
			t.Fatal(err)
		}
		record, err := dkim.MarshalKeyRecord(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return append(h[:len(h):len(h)], field), [][]string{dkim.TXTStrings(record)}
	}
	signed, txt := publish()
	const owner = "k._domainkey.north.example"
	server := discovertest.Start(t, discovertest.World{TXT: map[string][][]string{owner: txt}})
	clock := now
	tick := func() time.Time { return clock }
	resolver, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{server.Addr()}, Rounds: 1, Now: tick})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := discover.NewKeyLookup(discover.KeyConfig{Resolver: resolver, Now: tick})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(h []dkim.Header) error {
		_, err := dkim.Verify(t.Context(), h, body, now, keys, dkim.Policy{})
		return err
	}
	if err := verify(signed); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Minute)
	signed, txt = publish()
	server.Change(func(w *discovertest.World) { w.TXT[owner] = txt })
	if err := verify(signed); err != nil {
		t.Error("changed key:", err)
	}
	clock = clock.Add(2 * time.Hour)
	server.Change(func(w *discovertest.World) { w.Fail = []string{owner} })
	if err := verify(signed); !errors.Is(err, dkim.ErrKeyLookup) || dkim.ResultOf(err) != dkim.TempError {
		t.Error("SERVFAIL:", err)
	}
	server.Change(func(w *discovertest.World) { w.Fail, w.TXT = nil, nil })
	if err := verify(signed); !errors.Is(err, dkim.ErrNoKey) {
		t.Error("no key:", err)
	}
}
