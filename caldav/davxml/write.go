package davxml

import (
	"io"
	"slices"
	"sync"
)

// Options of a Multistatus.
type Options struct {
	// Minimal leaves out the propstats of missing properties: Prefer:
	// return=minimal (RFC 8144 §2.1) and Brief: t.
	Minimal bool
	// Threshold is the number of octets collected before they are written to the
	// io.Writer; default 64 KiB.
	Threshold int
	// Flush, when not nil, is called after each such write.
	Flush func()
	// Whole is called before all of the document is written at once, with its
	// number of octets.
	Whole func(octets int)
}

// Multistatus writes a DAV:multistatus document (RFC 4918 §13) and streams it:
// whatever is collected goes out at the threshold, so memory does not grow with
// the number of responses. In a steady state it allocates nothing.
//
//	m := davxml.NewMultistatus(w, davxml.Options{})
//	r := m.Response("/dav/calendars/u/calendar/")
//	r.Prop(davxml.DDisplayName).Text("Work")
//	r.Prop(davxml.DResourceType).Empties(davxml.DCollection, davxml.CCalendar)
//	r.Missing(davxml.DGetETag)
//	r.End()
//	err := m.Close()
//
// Elements left open by one call are closed by the next, so every document is
// balanced. A Multistatus serves one goroutine.
type Multistatus struct {
	b      Builder
	w      io.Writer
	opt    Options
	frames []*Response // open responses, outermost first, then spare ones
	depth  int         // how many frames are open
	sent   int64
	token  string
	desc   string
	pooled *[]byte // where the buffer came from; nil after Close
}

// Response is one DAV:response being written. It is valid until its End, the next
// Multistatus.Response, or Multistatus.Close.
type Response struct {
	m      *Multistatus
	level  int
	base   int  // height of the stack inside the response element
	floor  int  // the floor to restore afterwards
	live   bool // between Response and End
	inOK   bool // the propstat of the found properties is open
	any    bool // a propstat was written
	groups []group
	used   int // groups in use; the rest keep their buffers
}

// group collects the names of properties that share a status.
type group struct {
	status int
	cond   Name
	desc   string
	names  []byte // empty elements
}

const (
	defaultThreshold = 64 << 10
	keepBuffer       = 256 << 10 // larger buffers are left to the collector
)

// pool holds buffers only: a Multistatus itself is never used twice, so a second
// Close harms nobody.
var pool = sync.Pool{New: func() any { return new([]byte) }}

// NewMultistatus starts a document. Nothing reaches w before the threshold or
// Close, so until then (see Sent) the caller may still answer something else.
func NewMultistatus(w io.Writer, opt Options) *Multistatus {
	return newMultistatus(w, opt, DMultistatus)
}

func newMultistatus(w io.Writer, opt Options, root Name) *Multistatus {
	if opt.Threshold <= 0 {
		opt.Threshold = defaultThreshold
	}
	m := &Multistatus{w: w, opt: opt, pooled: pool.Get().(*[]byte)}
	m.b.buf = (*m.pooled)[:0]
	m.b.stack = make([]Name, 0, 16)
	m.b.begin(root, maskAnswers)
	m.b.floor = len(m.b.stack)
	return m
}

// Err is the first error of the writer or of its use. A long report looks here
// to stop early.
func (m *Multistatus) Err() error { return m.b.err }

// Sent is the number of octets that w has been given.
func (m *Multistatus) Sent() int64 { return m.sent }

// Len is the size of the document so far, sent or not, for response budgets.
func (m *Multistatus) Len() int64 { return m.sent + int64(len(m.b.buf)) }

// Response starts the response for href and ends the one before.
func (m *Multistatus) Response(href string) *Response {
	m.endAll()
	r := m.push()
	r.begin(href)
	return r
}

// Status writes a response with a status and no properties, such as the 404 of a
// removed member (RFC 6578 §3.5) or the 507 of a truncated answer (§3.6). cond and
// desc may be zero.
func (m *Multistatus) Status(href string, status int, cond Name, desc string) {
	m.endAll()
	m.b.StatusResponse(href, status, cond, desc)
	m.drain()
}

// SyncToken sets the DAV:sync-token that ends the document (RFC 6578 §6.4).
func (m *Multistatus) SyncToken(token string) { m.token = token }

// Description sets the DAV:responsedescription of the document.
func (m *Multistatus) Description(text string) { m.desc = text }

// Close ends the document, writes the rest and returns the first error. The
// Multistatus and its responses must not be used afterwards.
func (m *Multistatus) Close() error {
	if m.pooled == nil {
		return ErrClosed
	}
	m.endAll()
	if m.desc != "" {
		m.b.Element(DResponseDescription, m.desc)
	}
	if m.token != "" {
		m.b.Element(DSyncToken, m.token)
	}
	m.b.closeTo(0)
	if m.b.err == nil {
		m.b.buf = append(m.b.buf, '\n')
		if m.sent == 0 && m.opt.Whole != nil {
			m.opt.Whole(len(m.b.buf))
		}
		m.write()
	}
	err := m.b.err
	if cap(m.b.buf) <= keepBuffer {
		*m.pooled = m.b.buf[:0]
		pool.Put(m.pooled)
	}
	m.pooled, m.b.buf = nil, nil
	m.b.fail(ErrClosed) // nothing can be written any more
	return err
}

func (m *Multistatus) endAll() {
	for m.depth > 0 {
		m.frames[m.depth-1].finish()
	}
}

func (m *Multistatus) push() *Response {
	if m.depth == len(m.frames) {
		m.frames = append(m.frames, &Response{m: m})
	}
	r := m.frames[m.depth]
	r.level = m.depth
	m.depth++
	return r
}

// drain writes out what is collected when it is enough.
func (m *Multistatus) drain() {
	if len(m.b.buf) >= m.opt.Threshold {
		m.write()
	}
}

func (m *Multistatus) write() {
	if m.b.err != nil {
		return
	}
	n, err := m.w.Write(m.b.buf)
	m.sent += int64(n)
	m.b.buf = m.b.buf[:0]
	if err != nil {
		m.b.fail(err)
		return
	}
	if m.opt.Flush != nil {
		m.opt.Flush()
	}
}

func (r *Response) begin(href string) {
	b := &r.m.b
	r.floor = b.floor
	b.Start(DResponse)
	r.reset(len(b.stack))
	b.floor = len(b.stack)
	b.Start(DHref)
	b.Text(href)
	b.closeTo(r.base)
}

func (r *Response) reset(base int) {
	r.base, r.live, r.inOK, r.any, r.used = base, true, false, false, 0
}

// current makes r the innermost open response, closes the property before, and
// tells whether writing may go on.
func (r *Response) current() bool {
	m := r.m
	if !r.live {
		m.b.fail(ErrClosed)
		return false
	}
	for m.depth > r.level+1 {
		m.frames[m.depth-1].finish()
	}
	if r.inOK {
		m.b.closeTo(r.base + 2)
	}
	m.b.floor = r.base
	return m.b.err == nil
}

// Prop starts a property that was found (status 200) and returns the Builder that
// writes its value; it may be left alone for an empty one. The Builder is good
// until the next call on the response.
func (r *Response) Prop(n Name) *Builder {
	m := r.m
	if !r.current() {
		return &m.b
	}
	m.drain()
	r.openOK()
	m.b.Start(n)
	m.b.floor = len(m.b.stack)
	return &m.b
}

// RawProp writes a whole property that was found, as a fragment from Node.Fragment.
func (r *Response) RawProp(fragment string) {
	if r.current() {
		r.m.drain()
		r.openOK()
		r.m.b.Raw(fragment)
	}
}

// openOK opens the propstat of the found properties.
func (r *Response) openOK() {
	if !r.inOK {
		r.m.b.Start(DPropStat)
		r.m.b.Start(DProp)
		r.inOK, r.any = true, true
	}
}

// Missing notes a property that the resource does not have (404). With
// Options.Minimal it is left out.
func (r *Response) Missing(n Name) {
	if !r.m.opt.Minimal {
		r.Fail(n, 404, Name{}, "")
	}
}

// Fail notes a property with another status than 200. Properties with the same
// status, condition and description share a propstat. cond and desc may be zero.
func (r *Response) Fail(n Name, status int, cond Name, desc string) {
	if !r.live {
		r.m.b.fail(ErrClosed)
		return
	}
	if !n.writable() {
		r.m.b.fail(ErrName)
		return
	}
	g := r.group(status, cond, desc)
	g.names = r.m.b.appendStart(g.names, n)
	g.names = append(g.names, '/', '>')
}

func (r *Response) group(status int, cond Name, desc string) *group {
	for i := range r.groups[:r.used] {
		if g := &r.groups[i]; g.status == status && g.cond == cond && g.desc == desc {
			return g
		}
	}
	if r.used == len(r.groups) {
		r.groups = append(r.groups, group{})
	}
	g := &r.groups[r.used]
	r.used++
	g.status, g.cond, g.desc, g.names = status, cond, desc, g.names[:0]
	return g
}

// Nested starts a response inside the value of the property begun last, as the
// expand-property report has it (RFC 3253 §3.8). After its End the value of the
// property goes on.
func (r *Response) Nested(href string) *Response {
	m := r.m
	if !r.live || !r.inOK || len(m.b.stack) <= r.base+2 {
		m.b.fail(ErrUnbalanced)
	}
	for m.depth > r.level+1 {
		m.frames[m.depth-1].finish()
	}
	in := m.push()
	in.begin(href)
	return in
}

// End ends the response. Ending it twice does nothing.
func (r *Response) End() {
	if !r.live {
		return
	}
	for r.m.depth > r.level {
		r.m.frames[r.m.depth-1].finish()
	}
	r.m.drain()
}

// finish writes the rest of the innermost response.
func (r *Response) finish() {
	b := &r.m.b
	r.propstats()
	b.closeTo(r.base - 1)
	b.floor = r.floor
	r.live = false
	r.m.depth--
}

// propstats ends the propstat of the found properties and writes the others: 404
// first, then by status.
func (r *Response) propstats() {
	b := &r.m.b
	b.floor = r.base
	if r.inOK {
		b.closeTo(r.base + 1)
		b.status(200)
		b.closeTo(r.base)
		r.inOK = false
	}
	groups := r.groups[:r.used]
	slices.SortStableFunc(groups, func(a, b group) int { return rank(a.status) - rank(b.status) })
	for i := range groups {
		g := &groups[i]
		b.Start(DPropStat)
		b.Start(DProp)
		if b.err == nil {
			b.closeTag()
			b.buf = append(b.buf, g.names...)
		}
		b.closeTo(r.base + 1)
		b.status(g.status)
		b.errorAndText(g.cond, g.desc)
		b.closeTo(r.base)
		r.any = true
	}
	if !r.any {
		// A response needs one propstat, also when everything asked for is missing
		// and left out (RFC 4918 §14.24, RFC 8144 §2.1).
		b.Start(DPropStat)
		b.Empty(DProp)
		b.status(200)
		b.closeTo(r.base)
	}
}

// rank puts 404 before the other statuses.
func rank(status int) int {
	if status == 404 {
		return 0
	}
	return status
}
