package scheduling

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// A43, A46: domains that do not answer are never more than their share of what
// is in flight, and one that answers again gets its places back.
func TestHealth(t *testing.T) {
	t.Parallel()
	now := time.Unix(1770000000, 0)
	h := newHealth(4, 3, func() time.Time { return now })
	allow := h.rule()
	for i, want := range []int{1, 1, 1, 0} {
		if got := allow(fmt.Sprintf("d%d.test", i)); got != want {
			t.Errorf("domain %d that nobody knows: %d", i, got)
		}
	}
	if allow("d0.test") != 1 || allow("") != 4 {
		t.Error("a domain asked about again, or local deliveries, have no place")
	}
	end := map[string]func(bool){}
	for i := range 3 {
		name := fmt.Sprintf("d%d.test", i)
		end[name] = h.begin(name)
	}
	if allow := h.rule(); allow("d9.test") != 0 || allow("d1.test") != 1 {
		t.Error("three hang, and a fourth gets a place")
	}
	end["d0.test"](true)
	if allow := h.rule(); allow("d0.test") != 4 || allow("d9.test") != 1 || allow("d8.test") != 0 {
		t.Error("one that answered is still a burden")
	}
	h.begin("d0.test")(false)
	if h.rule()("d0.test") > 1 {
		t.Error("who failed has all his places")
	}
	h.begin("d0.test")(true)
	now = now.Add(provenFor)
	if h.rule()("d0.test") > 1 {
		t.Error("an answer counts for ever")
	}
	for i := range maxHealthDomains + 10 {
		h.begin(fmt.Sprint(i))(true)
	}
	if n := len(h.domains); n > maxHealthDomains {
		t.Errorf("%d domains are remembered", n)
	}
}

// Tries become rarer, up to a limit, and not all at the same moment.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		attempts int
		random   byte
		want     time.Duration
	}{
		{1, 128, time.Minute}, {2, 128, 2 * time.Minute}, {5, 128, 16 * time.Minute}, {7, 128, time.Hour}, {1 << 20, 128, time.Hour},
		{1, 0, 52500 * time.Millisecond}, {1, 255, time.Minute + 7500*time.Millisecond - time.Minute/4/256},
	} {
		s := &Service{cfg: Config{RetryMin: time.Minute, RetryMax: time.Hour, Rand: bytes.NewReader([]byte{c.random})}}
		if got := s.backoff(c.attempts); got != c.want {
			t.Errorf("after %d attempts, with %d: %s, want %s", c.attempts, c.random, got, c.want)
		}
	}
}
