// Package auth decides whether a password belongs to an account: argon2id
// verifiers, app passwords, a cache of what was verified, and a brake on
// guessing.
//
// It never stores or logs a password. A cached verification is valid only
// with the verifier version that the request's own statement read or compared, so a new
// password, a disabled account or a revoked right acts on the next request on
// every node. It fails closed: any error means that nobody is signed in.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/kalends/kalends/storage"
)

// Errors of Check.
var (
	ErrDenied = errors.New("auth: the name or the password is wrong")
	ErrSlow   = errors.New("auth: too many wrong passwords; wait a minute")
)

// Parameters of argon2id (RFC 9106): 19 MiB, two passes, one lane.
const (
	argonTime   = 2
	argonMemory = 19 * 1024
	argonLanes  = 1
	saltBytes   = 16
	keyBytes    = 32
	maxPassword = 1024 // octets; longer ones are refused unseen
)

// Hash makes a verifier in PHC form.
func Hash(password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("a password has 1 to %d octets", maxPassword)
	}
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return encode(salt, argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, keyBytes)), nil
}

func encode(salt, key []byte) string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, b.EncodeToString(salt), b.EncodeToString(key))
}

// HashMany makes verifiers for an import, on all processors. Equal passwords
// still get different salts.
func HashMany(passwords []string) ([]string, error) {
	out := make([]string, len(passwords))
	errs := make([]error, len(passwords))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				if passwords[i] != "" {
					out[i], errs[i] = Hash(passwords[i])
				}
			}
		}()
	}
	for i := range passwords {
		next <- i
	}
	close(next)
	wg.Wait()
	return out, errors.Join(errs...)
}

// Matches compares a password with a verifier in constant time; the cost is
// that of the verifier's own parameters, which are bounded.
func Matches(verifier, password string) bool {
	p := strings.Split(verifier, "$")
	if len(p) != 6 || p[1] != "argon2id" {
		return false
	}
	var version, memory, passes, lanes int
	if _, err := fmt.Sscanf(p[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(p[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil || memory < 8 || memory > 1<<20 || passes < 1 || passes > 64 || lanes < 1 || lanes > 16 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(p[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(p[5])
	if err != nil || len(want) < 16 || len(want) > 128 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, uint32(passes), uint32(memory), uint8(lanes), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// NewAppPassword makes a password of 160 random bits for one program, and the
// hash that is stored of it.
func NewAppPassword() (password, hash string, err error) {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", "", err
	}
	password = hex.EncodeToString(b[:])
	return password, AppHash(password), nil
}

// AppHash is how an app password is stored; its 160 random bits need no salt
// and no slow hash.
func AppHash(password string) string {
	h := sha256.Sum256([]byte(password))
	return hex.EncodeToString(h[:])
}

// AppPasswords is what the checker reads and notes of app passwords;
// *storage.DB is one.
type AppPasswords interface {
	AppPasswordByHash(ctx context.Context, account storage.AccountID, hash string) (storage.AppPassword, error)
	TouchAppPassword(ctx context.Context, account storage.AccountID, id int64) error
}

// Checker verifies passwords. It is safe for concurrent use.
type Checker struct {
	apps  AppPasswords
	now   func() time.Time
	key   [32]byte
	slots chan struct{} // parallel hashing: memory is bounded
	dummy string

	mu     sync.Mutex
	cache  map[[32]byte]time.Time // what was verified -> until
	failed map[string]*failures   // by "u:NAME" and "n:NETWORK"
}

const (
	cacheFor   = 30 * time.Minute
	cacheSize  = 20000
	failSize   = 20000
	failWindow = 10 * time.Minute
	failUser   = 20  // wrong passwords per account and window
	failNet    = 200 // and per network
)

type failures struct {
	count int
	since time.Time
}

// NewChecker returns a Checker; apps may be nil.
func NewChecker(apps AppPasswords, now func() time.Time) (*Checker, error) {
	c := &Checker{apps: apps, now: now, slots: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))), cache: map[[32]byte]time.Time{}, failed: map[string]*failures{}}
	if _, err := rand.Read(c.key[:]); err != nil {
		return nil, err
	}
	c.dummy = encode(c.key[:saltBytes], c.key[:keyBytes])
	return c, nil
}

// Check verifies a password. account is what the request's own statement found
// for login, nil when nothing; remote is where the request came from. An
// unknown name costs as much as a wrong password.
func (c *Checker) Check(ctx context.Context, account *storage.Account, login, password string, remote netip.Addr) error {
	usable := account != nil && !account.Disabled && account.Verifier != "" && len(password) <= maxPassword
	var id [32]byte
	if usable {
		if c.Knows(account, password) {
			return nil
		}
		id = c.ticket(account, password)
	}
	who, net := "u:"+strings.ToLower(login), "n:"+network(remote)
	if account != nil {
		who = "u:" + account.Handle
	}
	if c.blocked(who, failUser) || c.blocked(net, failNet) {
		return ErrSlow
	}
	if usable && c.apps != nil && len(password) == 40 {
		if p, err := c.apps.AppPasswordByHash(ctx, account.ID, AppHash(password)); err == nil {
			_ = c.apps.TouchAppPassword(ctx, account.ID, p.ID) // last use is a convenience
			return nil                                         // not cached: revoking acts at once
		} else if !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	verifier := c.dummy
	if usable {
		verifier = account.Verifier
	}
	good := len(password) <= maxPassword && Matches(verifier, password) && usable
	<-c.slots
	if !good {
		c.fail(who)
		c.fail(net)
		return ErrDenied
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, who)
	if len(c.cache) >= cacheSize {
		c.shrink()
	}
	c.cache[id] = c.now().Add(cacheFor)
	return nil
}

// Knows tells whether a password of an account was verified before; it asks
// nothing and counts nothing. It holds for the account's version that is given:
// whoever goes on compares that with the stored one.
func (c *Checker) Knows(account *storage.Account, password string) bool {
	if account.Disabled || account.Verifier == "" || len(password) > maxPassword {
		return false
	}
	id := c.ticket(account, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.cache[id]
	return ok && c.now().Before(until)
}

// ticket names a verification without holding the password: a hash over the
// process's secret, account, verifier version and password. It never leaves the
// process, so a plain prefix of the secret is as good as an HMAC and costs a
// quarter of it.
func (c *Checker) ticket(a *storage.Account, password string) [32]byte {
	var room [128]byte
	b := append(room[:0], c.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(a.ID))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Version))
	return sha256.Sum256(append(b, password...))
}

// shrink drops what has run out, and when that is not enough half of the rest.
func (c *Checker) shrink() {
	now, half := c.now(), len(c.cache)/2
	for k, t := range c.cache {
		if now.After(t) || len(c.cache) > half {
			delete(c.cache, k)
		}
	}
}

func (c *Checker) blocked(key string, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.failed[key]
	if f == nil {
		return false
	}
	if c.now().Sub(f.since) > failWindow {
		delete(c.failed, key)
		return false
	}
	return f.count >= limit
}

func (c *Checker) fail(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.failed[key]
	if f == nil {
		if len(c.failed) >= failSize {
			for k, x := range c.failed {
				if c.now().Sub(x.since) > failWindow || len(c.failed) >= failSize {
					delete(c.failed, k)
				}
			}
		}
		f = &failures{since: c.now()}
		c.failed[key] = f
	}
	f.count++
}

// network is the block that guesses are counted for: /24 or /56.
func network(a netip.Addr) string {
	if !a.IsValid() {
		return "?"
	}
	a = a.Unmap()
	bits := 24
	if a.Is6() {
		bits = 56
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "?"
	}
	return p.String()
}
