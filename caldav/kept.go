package caldav

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/http"
	"sync"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// Every program asks its home the same question again and again, and mostly
// nothing has changed. The request's own statement says so: storage gives the
// contents of a home the same number as long as they are the same, and an
// account that changes another version or time. So what was answered once is
// kept, and answers the same question while all of these are the same; no node
// has to tell another of a change. Saved is reading the question's XML and
// writing the answer's.
//
// Kept is what an owner asked of his home alone, and only when the answer was
// made of nothing but what Find had read, the question and the configuration:
// while it was made nobody turned to the database or looked at the clock.

const (
	keptOctets   = 8 << 20           // of all answers
	keptMost     = keptOctets / 200  // of one answer; a longer one is written each time
	keptQuestion = 8 << 10           // octets of a body that is looked for
	keptBeside   = sha256.Size + 160 // what an entry takes beside the answer
)

// question is all of a request that an answer depends on, as a digest.
type question [sha256.Size]byte

// stateOf is what an answer was made of: it is the same as long as these are.
type stateOf struct {
	version, modified int64 // of the account
	contents          uint64
}

type keptAnswer struct {
	state stateOf
	text  []byte // never written to
}

// keptAnswers are the answers that are kept, whichever going first.
type keptAnswers struct {
	mu     sync.RWMutex
	kept   map[question]keptAnswer
	octets int
}

func (k *keptAnswers) get(q question, s stateOf) []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if a, ok := k.kept[q]; ok && a.state == s {
		return a.text
	}
	return nil
}

func (k *keptAnswers) put(q question, a keptAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(q)
	size := cap(a.text) + keptBeside
	for old := range k.kept {
		if k.octets+size <= keptOctets {
			break
		}
		k.drop(old)
	}
	if k.kept == nil {
		k.kept = map[question]keptAnswer{}
	}
	k.kept[q] = a
	k.octets += size
}

func (k *keptAnswers) drop(q question) {
	if a, ok := k.kept[q]; ok {
		k.octets -= cap(a.text) + keptBeside
		delete(k.kept, q)
	}
}

// tracing is what is known of an answer in the making that may be kept.
type tracing struct {
	text   []byte
	whole  bool // text is all of it
	writes int
	timed  bool // the clock was looked at
}

// wrote takes down what an answer consists of.
func (t *tracing) wrote(b []byte) {
	if t.writes++; t.writes == 1 && len(b) <= keptMost {
		t.text = append(make([]byte, 0, len(b)), b...)
	}
}

// poll answers a PROPFIND of an owner's home, as it was answered before if that
// is still true.
func (q *request) poll() error {
	body, err := q.xmlBody()
	if err != nil {
		return err
	}
	q.r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) > keptQuestion {
		return q.propfindAnew()
	}
	asked := q.question(body)
	now := stateOf{q.found.Home.Version, q.found.Home.Modified, q.found.Contents.Number}
	if text := q.h.kept.get(asked, now); text != nil {
		q.multistatusHeader()
		q.length(len(text))
		q.w.WriteHeader(http.StatusMultiStatus)
		_, err := q.w.Write(text)
		return ignoreWrite(err)
	}
	var count *storage.Counter
	q.ctx, count = storage.WithCounter(q.ctx)
	t := new(tracing)
	q.tracing = t
	if err := q.propfindAnew(); err != nil {
		return err
	}
	if t.whole && !t.timed && !count.Asked() {
		q.h.kept.put(asked, keptAnswer{now, t.text})
	}
	return nil
}

// polled tells whether the request is one that poll answers.
func (q *request) polled() bool {
	return q.h.kept != nil && q.path.Kind == KindHome && q.found.Contents != nil && q.found.Contents.Number != 0 && q.found.Home.ID == q.user.ID
}

// question makes the digest of who asks what, in which words and with which
// header fields that PROPFIND reads.
func (q *request) question(body []byte) question {
	text := binary.BigEndian.AppendUint64(make([]byte, 0, 2<<10), uint64(q.user.ID))
	add := func(s string) { text = append(binary.BigEndian.AppendUint32(text, uint32(len(s))), s...) }
	add(q.path.String())
	for _, name := range [...]string{"Depth", "Brief", "Prefer"} {
		lines := q.r.Header[name]
		text = binary.BigEndian.AppendUint32(text, uint32(len(lines)))
		for _, line := range lines {
			add(line)
		}
	}
	return sha256.Sum256(append(text, body...))
}

// xmlBody reads a body of XML in whole.
func (q *request) xmlBody() ([]byte, error) {
	if q.r.Body == nil || q.r.ContentLength == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if n := q.r.ContentLength; n > 0 {
		b.Grow(int(min(n, keptQuestion)) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(http.MaxBytesReader(q.w, q.r.Body, q.h.cfg.MaxXML)); err != nil {
		return nil, &davxml.Error{Kind: davxml.ErrMalformed, Msg: "reading the body", Err: err}
	}
	return b.Bytes(), nil
}
