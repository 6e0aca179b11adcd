package ischedule

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// maxRecipientHeader bounds the one Recipient header of a request, in octets.
const maxRecipientHeader = 4000

// part is one POST: its recipients, its body, its id.
type part struct {
	recipients []calendar.Address
	body       []byte
	id         string
}

// parts cuts the recipients to what one POST may name. The cut depends on
// nothing but the list and the peer's limit, and the id of a part on its
// recipients, so that a retry repeats the same requests.
func (j *job) parts(recipients []calendar.Address) []part {
	limit := j.peer.caps.Recipients()
	if j.dialect() == DialectDraft01 {
		limit = 1
	}
	var groups [][]calendar.Address
	size := 0
	for _, r := range recipients {
		n := len(headerAddress(r)) + 1
		if k := len(groups); k == 0 || len(groups[k-1]) >= limit || size+n > maxRecipientHeader {
			groups, size = append(groups, nil), 0
		}
		size += n
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	out := make([]part, len(groups))
	for i, g := range groups {
		out[i] = part{recipients: g, body: j.bodyFor(g), id: j.wireID}
		if len(g) < len(j.recipients) {
			out[i].id += "-" + recipientsDigest(g)[:12]
		}
	}
	return out
}

// bodyFor is the message as queued. Only a free-busy question names nobody but
// those it is sent to (WD 8.1), so a part of one loses the other attendees.
func (j *job) bodyFor(rs []calendar.Address) []byte {
	if j.outline.Component != "VFREEBUSY" {
		return j.body
	}
	asked := calendar.NewAddressSet(rs...)
	stranger := func(p *calendar.Property) bool {
		return p.Name() == "ATTENDEE" && !asked.Has(calendar.Address(p.Value()))
	}
	o := j.object
	if c := o.Master(); c == nil || !slices.ContainsFunc(c.Props, stranger) {
		return j.body
	}
	o = o.Clone()
	c := o.Master()
	c.Props = slices.DeleteFunc(c.Props, stranger)
	return o.Bytes()
}

// carry sends one part until it has an outcome. Three things lead to another
// try at once: a server that cannot be connected has a next one, a peer that
// refuses a limit or a data type has new capabilities, and a plain 403 or 412
// may mean that the peer speaks the other dialect.
func (j *job) carry(ctx context.Context, p part) []Delivery {
	if j.lost != nil {
		return j.all(nil, p.recipients, j.lost)
	}
	reread, switched := false, false
	dialect := j.dialect()
	for {
		answer, r, s := j.post(ctx, p, dialect)
		if s != nil {
			if s.unreached && j.next+1 < len(j.endpoints) {
				j.next++
				if s = j.find(ctx); s == nil {
					if s = j.fits(); s == nil {
						dialect = j.dialect()
						continue
					}
				}
			}
			if s.unreached {
				j.lost = s
			}
			return j.all(nil, p.recipients, s)
		}

		if answer.Condition != "" && HTTPDisposition(r.status, answer.Condition) == Mail && !reread {
			reread = true
			before := j.peer
			j.c.cache.expire(j.domain, j.server().URL)
			if s := j.find(ctx); s != nil {
				return j.all(nil, p.recipients, s)
			}
			if s := j.fits(); s != nil {
				return j.all(nil, p.recipients, s)
			}
			if len(p.recipients) > j.peer.caps.Recipients() {
				var out []Delivery
				for _, smaller := range j.parts(p.recipients) {
					out = append(out, j.carry(ctx, smaller)...)
				}
				return out
			}
			if !bytes.Equal(before.caps.Document(), j.peer.caps.Document()) {
				continue
			}
		}
		if wrongDialect(r.status, answer.Condition, dialect) && j.c.cfg.Draft01 && !switched && (len(p.recipients) == 1 || dialect == DialectDraft01) {
			switched = true
			j.step(j.c.cfg.Now(), "note", "refused in dialect %s: %s", dialect, clip(strings.TrimSpace(string(r.body[:min(len(r.body), 200)]))))
			dialect = DialectDraft01 - dialect
			continue
		}
		if switched && r.status == http.StatusOK && answer.Err == nil {
			q := *j.peer
			q.dialect = dialect
			j.c.cache.put(j.domain, j.server().URL, &q)
		}
		j.heed(r.header.Get(headerCapabilities))
		return j.read(p, r, answer)
	}
}

// wrongDialect: 403 or 412 without a document is how servers of the other
// dialect refuse a signature; a peer that is addressed in draft -01 may also
// have learned the present one, and says verification-failed (ischedule §11).
func wrongDialect(status int, c Condition, used Dialect) bool {
	return (status == http.StatusForbidden || status == http.StatusPreconditionFailed) && (c == "" || c == VerificationFailed && used == DialectDraft01)
}

// heed compares the serial number of an answer with the one of the document in
// use; when it differs the document is read again before the next POST.
func (j *job) heed(serial string) {
	if serial = clip(strings.TrimSpace(serial)); serial != "" && serial != j.peer.serial {
		j.c.cache.expire(j.domain, j.server().URL)
	}
}

// post signs and sends one request, and again when it is redirected.
func (j *job) post(ctx context.Context, p part, dialect Dialect) (Answer, reply, *stop) {
	c := j.c
	target := j.peer.endpoint
	for hop := 0; ; hop++ {
		start := c.cfg.Now()
		header, body, err := j.sign(target, p, dialect)
		if err != nil {
			j.step(start, "post", "%v", err)
			return Answer{}, reply{}, &stop{disposition: Mail, code: StatusNoRoute, text: "the message cannot be signed", detail: clip(err.Error())}
		}
		r, err := c.exchange(dialect.http1(ctx), j.domain, j.server().Identity, http.MethodPost, target, header, body, MaxResponseSize)
		if err != nil {
			j.step(start, "post", "%s: %v", target, err)
			return Answer{}, reply{}, j.failed(err)
		}
		j.step(start, "post", "%s: HTTP %d, %s, %d recipients, signed by %s (%s), serial %s", target, r.status, r.tls,
			len(p.recipients), j.signer.Domain, j.signer.Selector, orDefault(clip(r.header.Get(headerCapabilities)), "none"))
		if dialect == DialectDraft01 {
			j.step(c.cfg.Now(), "note", "dialect draft-01: people there cannot answer by iSchedule")
		}
		// A POST stays a POST; 303 would make it a GET, which says nothing.
		next, err := redirected(http.MethodPost, target, r, hop)
		if err != nil {
			j.step(start, "post", "%v", err)
			return Answer{}, reply{}, &stop{disposition: Fail, code: StatusUnavailable, text: j.domain + " redirects to a place that is not followed"}
		}
		if next == "" {
			return ReadAnswer(r.status, r.body, p.recipients), r, nil
		}
		target = withQuery(next, "")
	}
}

// sign builds the header of a request in sender form (ischedule §4): one
// Recipient header, no folding, no comma followed by a blank in a signed
// field. Every request is signed anew.
func (j *job) sign(target string, p part, dialect Dialect) (http.Header, []byte, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, nil, err
	}
	c, signer, body := j.c, j.signer, p.body
	fields := []dkim.Header{
		{Name: "Host", Value: hostHeader(u)},
		{Name: headerContentType, Value: contentType(j.outline.Component, j.outline.Method)},
		{Name: headerVersion, Value: Version},
		{Name: headerMessageID, Value: p.id},
		{Name: headerOriginator, Value: headerAddress(j.originator)},
		{Name: headerRecipient, Value: recipientList(p.recipients)},
		{Name: "User-Agent", Value: c.cfg.UserAgent},
	}
	if dialect == DialectDraft01 {
		// ischedule §11: the body ends in one line end, which its verifiers
		// hash as it stands.
		signer = signer.Draft01()
		body = append(bytes.TrimRight(slices.Clone(body), "\r\n"), '\r', '\n')
	}
	sig, err := signer.Sign(fields, body, c.cfg.Now())
	if err != nil {
		return nil, nil, err
	}
	h := http.Header{"Cache-Control": {"no-cache, no-transform"}, "Accept": {"application/xml, text/xml"}}
	for _, f := range append(fields[1:], sig) {
		h[f.Name] = []string{f.Value} // in this spelling, not in that of net/http
	}
	return h, body, nil
}

// retryAfter reads how long a peer asks to wait, in seconds or as a date
// (RFC 9110 §10.2.3); 0 when it says nothing usable.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// hostHeader is the Host of a request: without the port that https has anyway
// (RFC 9110 §4.2.3). Front servers drop it, and a signature that covers it would
// not pass behind them.
func hostHeader(u *url.URL) string {
	if u.Port() == "443" {
		return strings.TrimSuffix(u.Host, ":443")
	}
	return u.Host
}

// read turns an answer into deliveries.
func (j *job) read(p part, r reply, answer Answer) []Delivery {
	out := make([]Delivery, 0, len(answer.Outcomes))
	words := answer.Description
	if kind := r.header.Get("Content-Type"); words == "" && r.status != http.StatusOK && strings.HasPrefix(strings.ToLower(kind), "text/plain") {
		words = clip(strings.TrimSpace(string(r.body))) // how servers of the old draft say why
	}
	for _, o := range answer.Outcomes {
		detail := o.Text
		if words != "" {
			detail += ": " + words
		}
		if after := r.header.Get("Retry-After"); after != "" && o.Disposition == Retry {
			detail += "; retry after " + clip(after)
		}
		out = append(out, Delivery{
			RecipientResult: scheduling.RecipientResult{
				Recipient: o.Recipient,
				Status:    o.Code + ";" + o.Text,
				Retry:     o.Disposition == Retry,
				// After an answer for each recipient, a retry is a message of
				// its own; after anything else it repeats this one (§7.7).
				NewWire:    o.Disposition == Retry && r.status == http.StatusOK && answer.Err == nil,
				RetryAfter: retryAfter(r.header.Get("Retry-After"), j.c.cfg.Now()),
				Calendar:   o.CalendarData,
				Transport:  "ischedule",
				Proof:      j.proof(),
				Detail:     detail,
			},
			Disposition: o.Disposition,
		})
	}
	return out
}
