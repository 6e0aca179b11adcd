package push

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// encoding is base64url without padding (RFC 8291 §3, RFC 8292 §3.2).
var encoding = base64.RawURLEncoding

// decode reads base64url with or without its padding, and the plain alphabet
// that some libraries write.
func decode(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(s), "="))
	return encoding.DecodeString(s)
}

// CheckKeys tells whether a subscription's keys can be used: a point of P-256
// in uncompressed form and a secret of 16 octets (RFC 8291 §3.1, §3.2).
func CheckKeys(publicKey, auth string) error {
	_, _, err := keys(publicKey, auth)
	return err
}

func keys(publicKey, auth string) (*ecdh.PublicKey, []byte, error) {
	raw, err := decode(publicKey)
	if err != nil {
		return nil, nil, errors.New("subscription-public-key is not base64url")
	}
	pub, err := ecdh.P256().NewPublicKey(raw)
	if err != nil {
		return nil, nil, errors.New("subscription-public-key is no uncompressed point of P-256")
	}
	secret, err := decode(auth)
	if err != nil || len(secret) != 16 {
		return nil, nil, errors.New("auth-secret is not 16 octets in base64url")
	}
	return pub, secret, nil
}

// recordSize is that of RFC 8291 §4; a message is one record.
const recordSize = 4096

// encrypt makes the body of a push message (RFC 8291 §3, RFC 8188 §2). Padding
// to multiples of 256 octets hides which kind of message it is.
func encrypt(text []byte, publicKey, auth string, random io.Reader) ([]byte, error) {
	pub, secret, err := keys(publicKey, auth)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 16)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, err
	}
	private, err := ecdh.P256().GenerateKey(random)
	if err != nil {
		return nil, err
	}
	return seal(text, (len(text)/256+1)*256, pub, secret, private, salt)
}

// seal is encrypt with everything given; size is that of the padded text
// without its delimiter.
func seal(text []byte, size int, pub *ecdh.PublicKey, secret []byte, private *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if size+1+16 > recordSize {
		return nil, fmt.Errorf("a push message of %d octets is too long", len(text))
	}
	shared, err := private.ECDH(pub)
	if err != nil {
		return nil, err
	}
	own := private.PublicKey().Bytes()
	// RFC 8291 §3.4
	ikm, err := derive(shared, secret, "WebPush: info\x00"+string(pub.Bytes())+string(own), 32)
	if err != nil {
		return nil, err
	}
	key, err := derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := derive(ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	// RFC 8188 §2.1: salt, record size, length of the key id, key id.
	var out bytes.Buffer
	out.Write(salt)
	out.Write(binary.BigEndian.AppendUint32(nil, recordSize))
	out.WriteByte(byte(len(own)))
	out.Write(own)
	plain := append(append(make([]byte, 0, size+1), text...), 2) // RFC 8188 §2: the last record's delimiter
	plain = append(plain, make([]byte, size+1-len(plain))...)
	return gcm.Seal(out.Bytes(), nonce, plain, nil), nil
}

func derive(secret, salt []byte, info string, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, salt, info, n)
}

// Identity is the server's key pair towards push services (RFC 8292).
type Identity struct {
	key     *ecdsa.PrivateKey
	public  string
	contact string // "sub": mailto: or https:, "" for none
}

// NewIdentity derives the key pair from a secret that all nodes share, so that
// the public key stays the same as long as the secret does.
func NewIdentity(secret []byte, contact string) (*Identity, error) {
	for i := range byte(100) {
		// A random scalar is out of range once in 2^32; then the next one.
		scalar := sha256.Sum256(append([]byte{i}, secret...))
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
		if err != nil {
			continue
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		return &Identity{key: key, public: encoding.EncodeToString(point), contact: contact}, nil
	}
	return nil, errors.New("push: no key can be made of the secret")
}

// PublicKey is the key as clients give it to their push services: uncompressed,
// base64url.
func (id *Identity) PublicKey() string { return id.public }

// authorization proves to the push service who is sending (RFC 8292 §2, §3).
func (id *Identity) authorization(endpoint *url.URL, now time.Time) (string, error) {
	claims := map[string]any{"aud": endpoint.Scheme + "://" + endpoint.Host, "exp": now.Add(12 * time.Hour).Unix()}
	if id.contact != "" {
		claims["sub"] = id.contact
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	token := encoding.EncodeToString([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + encoding.EncodeToString(body)
	hash := sha256.Sum256([]byte(token))
	r, s, err := ecdsa.Sign(rand.Reader, id.key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // RFC 7518 §3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return "vapid t=" + token + "." + encoding.EncodeToString(signature) + ", k=" + id.public, nil
}
