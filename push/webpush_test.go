package push

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The values of RFC 8291 §5 and appendix A.
const (
	vectorText    = "When I grow up, I want to be a watermelon"
	vectorAuth    = "BTBZMqHH6r4Tts7J_aSIgg"
	vectorSalt    = "DGv6ra1nlYgDCS1FRnbzlw"
	vectorPrivate = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	vectorPublic  = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	vectorReader  = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
	vectorBody    = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// decrypt is the receiver's side (RFC 8291 §3.4, RFC 8188 §2), for one record.
func decrypt(t *testing.T, body []byte, private *ecdh.PrivateKey, auth []byte) string {
	t.Helper()
	if len(body) < 21 || body[20] != 65 {
		t.Fatalf("%d octets are no aes128gcm message with a key of P-256", len(body))
	}
	salt, sender := body[:16], body[21:86]
	shared := must(private.ECDH(must(ecdh.P256().NewPublicKey(sender))))
	ikm := must(derive(shared, auth, "WebPush: info\x00"+string(private.PublicKey().Bytes())+string(sender), 32))
	gcm := must(cipher.NewGCM(must(aes.NewCipher(must(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))))))
	plain := must(gcm.Open(nil, must(derive(ikm, salt, "Content-Encoding: nonce\x00", 12)), body[86:], nil))
	text, ok := strings.CutSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
	if !ok {
		t.Fatal("the record has no delimiter")
	}
	return text
}

// RFC 8291 §5.
func TestEncryptionVector(t *testing.T) {
	t.Parallel()
	raw := func(s string) []byte { return must(decode(s)) }
	pub, secret, err := keys(vectorPublic, vectorAuth)
	if err != nil {
		t.Fatal(err)
	}
	body := must(seal([]byte(vectorText), len(vectorText), pub, secret, must(ecdh.P256().NewPrivateKey(raw(vectorPrivate))), raw(vectorSalt)))
	if got := encoding.EncodeToString(body); got != vectorBody {
		t.Errorf("body %s,\nwant %s", got, vectorBody)
	}
	reader := must(ecdh.P256().NewPrivateKey(raw(vectorReader)))
	if got := decrypt(t, raw(vectorBody), reader, secret); got != vectorText {
		t.Errorf("decrypted %q", got)
	}
	// Padded messages of different lengths look the same from outside.
	a := must(encrypt([]byte("a"), vectorPublic, vectorAuth, rand.Reader))
	b := must(encrypt([]byte(strings.Repeat("b", 200)), vectorPublic+"==", vectorAuth, rand.Reader))
	if len(a) != len(b) {
		t.Errorf("%d and %d octets", len(a), len(b))
	}
	if got := decrypt(t, b, reader, secret); got != strings.Repeat("b", 200) {
		t.Errorf("decrypted %q", got)
	}
	if _, err := encrypt(make([]byte, 4096), vectorPublic, vectorAuth, rand.Reader); err == nil {
		t.Error("more than a record was encrypted")
	}
}

func TestCheckKeys(t *testing.T) {
	t.Parallel()
	point := must(ecdh.P256().GenerateKey(rand.Reader)).PublicKey().Bytes()
	point[40] ^= 1
	for name, c := range map[string][2]string{
		"empty": {"", ""}, "no base64": {"***", vectorAuth}, "short key": {"BCVx", vectorAuth}, "short secret": {vectorPublic, "BTBZ"},
		"not on the curve": {encoding.EncodeToString(point), vectorAuth}, "infinity": {"AA", vectorAuth},
	} {
		if CheckKeys(c[0], c[1]) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := CheckKeys(vectorPublic, vectorAuth); err != nil {
		t.Error(err)
	}
}

// RFC 8292 §2, §3.
func TestIdentity(t *testing.T) {
	t.Parallel()
	id := must(NewIdentity([]byte("secret"), "mailto:postmaster@example.com"))
	if must(NewIdentity([]byte("secret"), "")).PublicKey() != id.PublicKey() {
		t.Error("the same secret makes another key")
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := must(id.authorization(must(url.Parse("https://push.example.net:8443/secret?x=1")), now))
	token, k, ok := strings.Cut(strings.TrimPrefix(h, "vapid t="), ", k=")
	parts := strings.Split(token, ".")
	if !ok || len(parts) != 3 || k != id.PublicKey() {
		t.Fatalf("authorization %q", h)
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal(must(decode(parts[1])), &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Aud != "https://push.example.net:8443" || claims.Sub != "mailto:postmaster@example.com" || claims.Exp <= now.Unix() || claims.Exp > now.Add(24*time.Hour).Unix() {
		t.Errorf("claims %+v", claims)
	}
	pub := must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), must(decode(k))))
	sig := must(decode(parts[2]))
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(sig) != 64 || !ecdsa.Verify(pub, hash[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		t.Error("the signature does not verify")
	}
}

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	lab := func(h string) bool { return h == "127.0.0.1" }
	for endpoint, want := range map[string]bool{
		"https://push.example.net/x": true, "http://127.0.0.1:1/x": true, "http://push.example.net/x": false, "ftp://127.0.0.1/": false, "/x": false, "": false,
		"https://user:pw@push.example.net/": false, "https://": false, "https://x/#y": false, "https://x/" + strings.Repeat("a", 2000): false, "file:///etc/passwd": false, "https://x/\x00": false,
	} {
		if got := CheckEndpoint(endpoint, lab) == nil; got != want {
			t.Errorf("%q: %v, want %v", endpoint, got, want)
		}
	}
}
