package caldav

import (
	"encoding/binary"
	"testing"
)

// The answers that are kept take no more than they may, and what they are said
// to take is what they take.
func TestKeptAnswersAreBounded(t *testing.T) {
	t.Parallel()
	k := new(keptAnswers)
	ask := func(n int) (q question) { binary.BigEndian.PutUint64(q[:], uint64(n)); return q }
	check := func() {
		t.Helper()
		sum := 0
		for _, a := range k.kept {
			sum += cap(a.text) + keptBeside
		}
		if sum != k.octets || sum > keptOctets {
			t.Fatalf("%d answers take %d octets and are said to take %d of %d", len(k.kept), sum, k.octets, keptOctets)
		}
	}
	for n := range 10 * keptOctets / keptMost {
		k.put(ask(n), keptAnswer{text: make([]byte, keptMost)})
		check()
	}
	if n := len(k.kept); n < 190 {
		t.Errorf("%d answers of the largest size are kept", n)
	}
	for n := range 100_000 { // small ones, and the same questions again in another state
		s := stateOf{contents: uint64(n)}
		k.put(ask(n%50_000), keptAnswer{s, make([]byte, n%300)})
		if got := k.get(ask(n%50_000), s); got == nil || len(got) != n%300 {
			t.Fatalf("answer %d is not kept", n)
		}
		if k.get(ask(n%50_000), stateOf{version: 1, contents: uint64(n)}) != nil {
			t.Fatal("an answer to another state")
		}
		if n%1000 == 0 {
			check()
		}
	}
	check()
}
