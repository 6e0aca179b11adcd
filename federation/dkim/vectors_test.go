package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vectorDir is the folder of vectors: our copy, or one of the same format named
// by the environment.
func vectorDir() string {
	if dir := os.Getenv("KALENDS_ISCHEDULE_VECTORS"); dir != "" {
		return dir
	}
	return filepath.Join("testdata", "ischedule")
}

type manifest struct {
	Receiver struct {
		PublicSuffixes []string `json:"public_suffixes"`
	}
	Zone    map[string]any `json:"zone_txt"`
	Vectors []vector
}

type vector struct {
	ID       string
	File     string
	VerifyAt int64 `json:"verify_at"`
	Expect   expectation
	Without  *expectation `json:"expect_without_private_key"`
	Canon    string
	Needs    struct {
		Private *struct{ D, S string } `json:"private_exchange"`
	}
}

type expectation struct {
	DKIM    string
	Verdict string
	Error   string
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readManifest(t testing.TB) *manifest {
	t.Helper()
	var m manifest
	if err := json.Unmarshal(readFile(t, "manifest.json"), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Vectors) == 0 || len(m.Zone) == 0 {
		t.Fatal("manifest without vectors or zone")
	}
	return &m
}

// readRequest reads a raw request as net/http does.
func readRequest(t testing.TB, name string) ([]Header, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(readFile(t, name))))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return HeadersFromMap(r.Header, r.Host), body
}

// zone is a KeySource over zone_txt of the manifest.
type zone struct {
	records map[string]any
	private map[string]bool // "s._domainkey.d" configured locally
}

type temporary struct{}

func (temporary) Error() string   { return "SERVFAIL" }
func (temporary) Temporary() bool { return true }

var errNoMethod = errors.New("no usable q= method")

func (z zone) Keys(_ context.Context, domain, selector string, methods []string) ([]string, error) {
	name := selector + "._domainkey." + domain
	if !z.private[name] && !slices.Contains(methods, "dns/txt") {
		return nil, errNoMethod
	}
	for owner, answer := range z.records {
		if !strings.EqualFold(owner, name) {
			continue
		}
		if answer == "SERVFAIL" {
			return nil, temporary{}
		}
		var out []string
		for _, record := range answer.([]any) {
			var b strings.Builder
			for _, s := range record.([]any) {
				b.WriteString(s.(string))
			}
			out = append(out, b.String())
		}
		return out, nil
	}
	return nil, nil
}

func (m *manifest) policy() Policy {
	return Policy{PublicSuffix: func(d string) bool { return slices.Contains(m.Receiver.PublicSuffixes, d) }}
}

// TestVectorsVerify runs every request against its expected DKIM result, and
// the alignment against the expected verdict.
func TestVectorsVerify(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	ran := 0
	for _, v := range m.Vectors {
		run := func(name string, z zone, want expectation) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h, body := readRequest(t, v.File)
				got, err := Verify(t.Context(), h, body, time.Unix(v.VerifyAt, 0), z, m.policy())
				t.Logf("%s aligned=%t: %v", got.Result, got.Aligned, err)
				if want.DKIM == "not-evaluated" {
					// Refused by the handler before; we must not let it speak
					// when the Originator is in doubt.
					if strings.Contains(want.Error, "originator") && err == nil {
						t.Error("accepted")
					}
					return
				}
				if string(got.Result) != want.DKIM || got.Result != ResultOf(err) {
					t.Errorf("result %q, want %q (%v)", got.Result, want.DKIM, err)
				}
				if want.Verdict == "accept" && err != nil {
					t.Errorf("want accepted: %v", err)
				}
				if want.Verdict != "accept" && want.Error == "verification-failed" && err == nil {
					t.Error("want refused")
				}
				if got.Aligned != (err == nil) {
					t.Errorf("Aligned is %t with error %v", got.Aligned, err)
				}
				if err == nil && (got.Domain == "" || got.Selector == "" || got.Time.IsZero() || got.SignatureHash == [32]byte{}) {
					t.Errorf("verdict not filled: %+v", got)
				}
			})
			ran++
		}
		z := zone{records: m.Zone}
		if v.Without != nil {
			run(v.ID+"/without", z, *v.Without)
		}
		if p := v.Needs.Private; p != nil {
			z.private = map[string]bool{p.S + "._domainkey." + p.D: true}
		}
		run(v.ID, z, v.Expect)
	}
	if ran < len(m.Vectors) {
		t.Errorf("ran %d of %d vectors", ran, len(m.Vectors))
	}
}

// TestVectorsAlignment names the requests whose signature is right and whose
// domain is not (A38).
func TestVectorsAlignment(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	for _, v := range m.Vectors {
		if v.Expect.DKIM != "pass" || v.Expect.Error != "originator-denied" || strings.HasPrefix(v.ID, "n39") {
			continue // n39: aligned, but the Originator is the receiver's own user
		}
		h, body := readRequest(t, v.File)
		got, err := Verify(t.Context(), h, body, time.Unix(v.VerifyAt, 0), zone{records: m.Zone}, m.policy())
		if !errors.Is(err, ErrNotAligned) || got.Aligned {
			t.Errorf("%s: aligned=%t, error %v", v.ID, got.Aligned, err)
		}
	}
}

// TestVectorsCanon rebuilds every canon text from what net/http leaves of the
// request.
func TestVectorsCanon(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, v := range readManifest(t).Vectors {
		if v.Canon == "" {
			continue
		}
		ran++
		h, _ := readRequest(t, v.File)
		value, _ := fromBottom(h, "DKIM-Signature", 0)
		tags, err := parseTags(value)
		if err != nil {
			t.Errorf("%s: %v", v.ID, err)
			continue
		}
		// The generator of the set wrote ischedule-relaxed for every c= that is
		// refused by rule.
		mode := ISchedule
		if c, _ := tags.get("c"); c == "relaxed/simple" || c == "relaxed" {
			mode = Relaxed
		}
		names, _ := tags.get("h")
		got := CanonicalHeaders(mode, h, splitList(names), value)
		if diff := cmp.Diff(string(readFile(t, v.Canon)), string(got)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", v.ID, diff)
		}
	}
	if ran == 0 {
		t.Error("no canon texts")
	}
}

// privateKeys reads the keys of the set, by their public record.
func privateKeys(t testing.TB) map[string]*rsa.PrivateKey {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir(), "keys", "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatal("no keys", err)
	}
	out := map[string]*rsa.PrivateKey{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		if block == nil {
			t.Fatalf("%s is no PEM file", f)
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			k, err8 := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err8 != nil {
				t.Fatalf("%s: %v, %v", f, err, err8)
			}
			key = k.(*rsa.PrivateKey)
		}
		out[key.N.String()] = key
	}
	return out
}

// blank empties b= and bh= of a tag list.
func blank(t testing.TB, value string) string {
	t.Helper()
	for _, name := range []string{"b", "bh"} {
		tags, err := parseTags(value)
		if err != nil {
			t.Fatal(err)
		}
		tag, _ := findTag(tags, name)
		value = value[:tag.start] + value[tag.end:]
	}
	return value
}

// TestVectorsSign signs every accepted request with a canon text again, with
// its own tags in its own order, and wants the same b=.
func TestVectorsSign(t *testing.T) {
	t.Parallel()
	m, keys := readManifest(t), privateKeys(t)
	ran := 0
	for _, v := range m.Vectors {
		if v.Canon == "" || v.Expect.Verdict != "accept" {
			continue
		}
		ran++
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			h, body := readRequest(t, v.File)
			value, _ := fromBottom(h, "DKIM-Signature", 0)
			original, err := ParseSignature(value)
			if err != nil {
				t.Fatal(err)
			}
			records, err := zone{m.Zone, map[string]bool{original.Selector + "._domainkey." + original.Domain: true}}.
				Keys(t.Context(), original.Domain, original.Selector, nil)
			if err != nil {
				t.Fatal(err)
			}
			usable, err := usableKeys(records, false)
			if err != nil {
				t.Fatal(err)
			}
			key := keys[usable[0].Key.N.String()]
			if key == nil {
				t.Fatal("no private key for", original.Selector)
			}
			field, err := SignTemplate(key, h, body, blank(t, value))
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseSignature(field.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.B, original.B) || !bytes.Equal(again.BodyHash, original.BodyHash) {
				t.Errorf("signed\n%s\nwant\n%s", field.Value, value)
			}
		})
	}
	if ran == 0 {
		t.Error("nothing signed")
	}
}

// TestVectorsSigner: the Signer itself reproduces the worked example of
// ischedule §7.9, octet for octet.
func TestVectorsSigner(t *testing.T) {
	t.Parallel()
	m, keys := readManifest(t), privateKeys(t)
	for _, id := range []string{"p09-own-baseline", "p20-reply", "p21-cancel"} {
		i := slices.IndexFunc(m.Vectors, func(v vector) bool { return v.ID == id })
		if i < 0 {
			if os.Getenv("KALENDS_ISCHEDULE_VECTORS") != "" {
				continue // another set need not have our worked example
			}
			t.Fatal("no vector", id)
		}
		h, body := readRequest(t, m.Vectors[i].File)
		want, _ := fromBottom(h, "DKIM-Signature", 0)
		parsed, err := ParseSignature(want)
		if err != nil {
			t.Fatal(err)
		}
		records, err := zone{records: m.Zone}.Keys(t.Context(), parsed.Domain, parsed.Selector, parsed.Methods)
		if err != nil {
			t.Fatal(err)
		}
		usable, err := usableKeys(records, false)
		if err != nil {
			t.Fatal(err)
		}
		s := Signer{Domain: parsed.Domain, Selector: parsed.Selector, Key: keys[usable[0].Key.N.String()]}
		h = slices.DeleteFunc(h, func(f Header) bool { return strings.EqualFold(f.Name, "DKIM-Signature") })
		got, err := s.Sign(h, body, time.Unix(parsed.Time, 0))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Value); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", id, diff)
		}
	}
}

// TestVectorsCanonicalization runs canonicalization.json.
func TestVectorsCanonicalization(t *testing.T) {
	t.Parallel()
	var set struct {
		Headers []struct {
			Mode    Canon
			Name    string
			Values  []string
			Out     string
			OutEach []string `json:"out_each"`
		}
		Body []struct {
			Name, Body, Canonical string
			BH                    string `json:"bh_sha256"`
		} `json:"body_simple"`
	}
	if err := json.Unmarshal(readFile(t, "canonicalization.json"), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Headers) == 0 || len(set.Body) == 0 {
		t.Fatal("no cases")
	}
	for i, c := range set.Headers {
		var h []Header
		var names []string
		for _, v := range c.Values {
			h = append(h, Header{c.Name, v})
			if c.Mode == Relaxed || len(names) == 0 {
				names = append(names, c.Name)
			}
		}
		want := c.Out + strings.Join(c.OutEach, "") + "dkim-signature:"
		if got := string(CanonicalHeaders(c.Mode, h, names, "")); got != want {
			t.Errorf("case %d: got %q, want %q", i, got, want)
		}
	}
	for _, c := range set.Body {
		if got := string(CanonicalBody([]byte(c.Body))); got != c.Canonical {
			t.Errorf("%s: got %q, want %q", c.Name, got, c.Canonical)
		}
		sum, n := bodyHash(Simple, []byte(c.Body))
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != c.BH || n != len(c.Canonical) {
			t.Errorf("%s: bh=%s over %d octets, want %s over %d", c.Name, got, n, c.BH, len(c.Canonical))
		}
		if sum != sha256.Sum256([]byte(c.Canonical)) {
			t.Errorf("%s: hash is not that of the canonical text", c.Name)
		}
	}
}

// TestVectorDavical: the signature a real DAViCal made passes under the draft
// -01 policy, once its key is published (ischedule §11).
func TestVectorDavical(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "ischedule", "requests", "n47-davical-simple-http.http"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	h := HeadersFromMap(r.Header, r.Host)
	pub, err := os.ReadFile(filepath.Join("testdata", "ischedule", "keys", "k2048.pem"))
	if err != nil {
		t.Fatal(err)
	}
	record := publicRecord(t, pub)
	now := time.Unix(1795218987, 0)
	for _, service := range []string{"", "s=calendar; ", "s=*; "} {
		ks := keyList{strings.Replace(record, "k=rsa; ", "k=rsa; "+service, 1)}
		v, err := Verify(t.Context(), h, body, now, ks, Policy{Draft01: true})
		if err != nil || v.Canon != SimpleHTTP || !v.Aligned {
			t.Errorf("%q: %+v, %v", service, v, err)
		}
	}
	// l= that does not reach the end of the body stays refused (A40).
	longer := append(slices.Clone(body), "X-ADDED:1\r\n"...)
	if _, err := Verify(t.Context(), h, longer, now, keyList{record}, Policy{Draft01: true}); !errors.Is(err, ErrBodyLength) {
		t.Errorf("appended body: %v", err)
	}
	if _, err := Verify(t.Context(), h, body, now, keyList{record}, Policy{}); !errors.Is(err, ErrCanonicalization) {
		t.Errorf("default policy: %v", err)
	}
}

func publicRecord(t testing.TB, pemKey []byte) string {
	t.Helper()
	block, _ := pem.Decode(pemKey)
	if block == nil {
		t.Fatal("no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		k, err1 := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err1 != nil {
			t.Fatal(err, err1)
		}
		key = k
	}
	record, err := MarshalKeyRecord(&key.(*rsa.PrivateKey).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// TestCapturesDraft01: what DAViCal really sent is readable as draft -01, its
// body hash and l= are right under those rules, and the default refuses it.
func TestCapturesDraft01(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "ischedule", "captures", "*-*.req.http"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, f := range files {
		name, err := filepath.Rel(filepath.Join("testdata", "ischedule"), f)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join("testdata", "ischedule", name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(name, err)
		}
		if r.Method != http.MethodPost {
			continue
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(name, err)
		}
		h := HeadersFromMap(r.Header, r.Host)
		s, err := ParseSignature(r.Header.Get("DKIM-Signature"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ran++
		if !s.Draft01() {
			t.Errorf("%s: not seen as draft -01", name)
		}
		now := time.Unix(s.Time+10, 0)
		if _, err := Verify(t.Context(), h, body, now, zone{}, Policy{}); !errors.Is(err, ErrCanonicalization) {
			t.Errorf("%s: default policy: %v", name, err)
		}
		// The keys of the lab are not known: the rules pass up to the key.
		if v, err := Verify(t.Context(), h, body, now, zone{}, Policy{Draft01: true}); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: draft -01 policy: %v", name, err)
		} else if v.OriginatorDomain != s.Domain {
			t.Errorf("%s: Originator domain %q", name, v.OriginatorDomain)
		}
		_, rawBody, err := s.check(h, &Policy{Draft01: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		canon := Simple
		if rawBody {
			canon = SimpleHTTP
		}
		sum, n := bodyHash(canon, body)
		if !bytes.Equal(sum[:], s.BodyHash) || s.HasLength && s.Length != int64(n) {
			t.Errorf("%s: body hash or l= differ", name)
		}
	}
	if ran < 4 {
		t.Errorf("only %d captures ran", ran)
	}
}
