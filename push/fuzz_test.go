package push

import (
	"crypto/rand"
	"testing"
)

// FuzzKeys: what a program registers as its keys is refused, or can be used.
func FuzzKeys(f *testing.F) {
	f.Add("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "BTBZMqHH6r4Tts7J_aSIgg")
	f.Add("BCVxsr7N/eNgVRqvHtD0zTZsEc6+VV+JvLexhqUzORcxaOzi6+AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4=", "BTBZMqHH6r4Tts7J/aSIgg==")
	f.Add("", "")
	f.Add("AAAA", "BTBZMqHH6r4Tts7J_aSIgg")
	f.Fuzz(func(t *testing.T, publicKey, auth string) {
		if CheckKeys(publicKey, auth) != nil {
			return
		}
		if b, err := encrypt([]byte("news"), publicKey, auth, rand.Reader); err != nil || len(b) == 0 {
			t.Fatalf("keys that were taken cannot be used: %v", err)
		}
	})
}
