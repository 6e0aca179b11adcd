package dkim

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"
)

type oneKey []string

func (k oneKey) Keys(context.Context, string, string, []string) ([]string, error) { return k, nil }

// benchMessage is an invitation of a usual size with its header fields.
func benchMessage() ([]Header, []byte) {
	h := []Header{{"Host", "cal.south.example"}, {"Content-Type", "text/calendar; charset=utf-8; component=VEVENT; method=REQUEST"}, {"iSchedule-Version", "1.0"},
		{"iSchedule-Message-ID", "0b7a7a8c6e4f4b1d9f2a"}, {"Originator", "mailto:alice@north.example"}, {"Recipient", "mailto:bob@south.example,mailto:carol@south.example"},
		{"User-Agent", "Kalends"}, {"Cache-Control", "no-cache, no-transform"}, {"Accept", "application/xml, text/xml"}}
	body := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:bench\r\n" + strings.Repeat("ATTENDEE;CN=Somebody;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:somebody@south.example\r\n", 25) + "END:VEVENT\r\nEND:VCALENDAR\r\n"
	return h, []byte(body)
}

func benchSigner(tb testing.TB) (*Signer, *rsa.PrivateKey, oneKey) {
	tb.Helper()
	key := testKey()
	record, err := MarshalKeyRecord(&key.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return &Signer{Domain: "north.example", Selector: "k1", Key: key}, key, oneKey{record}
}

// BenchmarkSign and BenchmarkVerify print the ratio to the bare RSA operation
// with SHA-256 of the same octets, measured in the same run and in turns. The
// goal is at most 1.3.
func BenchmarkSign(b *testing.B) {
	s, key, _ := benchSigner(b)
	h, body := benchMessage()
	now := time.Unix(1770000000, 0)
	ratio(b, func() {
		if _, err := s.Sign(h, body, now); err != nil {
			b.Fatal(err)
		}
	}, func() {
		_ = sha256.Sum256(body)
		digest := sha256.Sum256(body[:700])
		if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s, key, keys := benchSigner(b)
	h, body := benchMessage()
	now := time.Unix(1770000000, 0)
	sig, err := s.Sign(h, body, now)
	if err != nil {
		b.Fatal(err)
	}
	h = append(h, sig)
	digest := sha256.Sum256(body[:700])
	raw, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	ratio(b, func() {
		if _, err := Verify(b.Context(), h, body, now, keys, Policy{}); err != nil {
			b.Fatal(err)
		}
	}, func() {
		_ = sha256.Sum256(body)
		digest := sha256.Sum256(body[:700])
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], raw); err != nil {
			b.Fatal(err)
		}
	})
}

// ratio runs both in turns and compares the medians, so that a busy machine
// slows both alike and a pause counts for neither.
func ratio(b *testing.B, ours, bare func()) {
	ours()
	bare()
	b.ReportAllocs()
	var o, r []time.Duration
	for b.Loop() {
		start := time.Now()
		ours()
		mid := time.Now()
		bare()
		o, r = append(o, mid.Sub(start)), append(r, time.Since(mid))
	}
	slices.Sort(o)
	slices.Sort(r)
	b.ReportMetric(float64(o[len(o)/2])/float64(r[len(r)/2]), "ratio")
	b.ReportMetric(float64(r[len(r)/2]), "bare-ns/op")
}
