package ischedule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// SerialStore keeps the serial number of our capabilities (WD 10.2), shared by
// all nodes and kept over restarts.
type SerialStore interface {
	// CapabilitiesSerial returns the number of the capabilities with this
	// digest and when they became ours. When the digest differs from the
	// stored one, the number rises by one and both are stored with the time
	// now.
	CapabilitiesSerial(ctx context.Context, digest string, now time.Time) (serial int64, since time.Time, err error)
}

// document is one rendering of our capabilities.
type document struct {
	body []byte
	etag string // with quotes
}

// published holds what GET and the iSchedule-Capabilities header need. It is
// made on first use, and again as long as the store fails.
type published struct {
	mu     sync.Mutex
	serial string
	since  time.Time
	final  document
	draft  document
}

// load asks the store once and renders both documents.
func (p *published) load(ctx context.Context, caps *Capabilities, store SerialStore, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serial != "" {
		return nil
	}
	bare := *caps
	bare.Serial = ""
	sum := sha256.Sum256(bare.Document())
	serial, since, err := store.CapabilitiesSerial(ctx, hex.EncodeToString(sum[:]), now)
	if err != nil {
		return fmt.Errorf("capabilities serial number: %w", err)
	}
	bare.Serial = strconv.FormatInt(serial, 10)
	p.final = newDoc(bare.Document())
	p.draft = newDoc(bare.DraftDocument())
	p.since, p.serial = since, bare.Serial
	return nil
}

func newDoc(body []byte) document {
	sum := sha256.Sum256(body)
	return document{body: body, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
}
