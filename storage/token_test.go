package storage_test

import (
	"errors"
	"testing"

	"github.com/kalends/kalends/storage"
)

// A token is refused, or is written again as it was.
func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "urn:kalends:sync:", "urn:kalends:sync:0a-1-0b", "urn:kalends:sync:0a-1-0b-YQ", "urn:kalends:sync:0a--1-0b", "urn:kalends:sync:0a-9223372036854775808-0b", "data:,x", "urn:kalends:sync:0a-01-0b-\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		again, err := storage.ParseToken(s)
		if err != nil {
			if !errors.Is(err, storage.ErrBadToken) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again != s {
			t.Fatalf("%q became %q", s, again)
		}
	})
}
