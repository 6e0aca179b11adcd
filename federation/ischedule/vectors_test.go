package ischedule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// vectorsDir is the folder of the shared vectors; KALENDS_ISCHEDULE_VECTORS
// names another copy of the set.
func vectorsDir() string {
	if d := os.Getenv("KALENDS_ISCHEDULE_VECTORS"); d != "" {
		return d
	}
	return filepath.Join("testdata", "vectors")
}

func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorsDir(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectorJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(vectorFile(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
