package storage_test

import (
	"testing"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t *testing.T) *storage.DB { return storagetest.Open(t, e) })
		})
	}
}
