package ischedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dialect is the vocabulary and signature form a peer speaks.
type Dialect uint8

const (
	// DialectFinal is WD 2017 and -05.
	DialectFinal Dialect = iota
	// DialectDraft01 is draft-desruisseaux-ischedule-01 (2010), which DAViCal
	// speaks: old element names, header canonicalization simple.
	DialectDraft01
)

// String is the name used in configuration and logs.
func (d Dialect) String() string {
	if d == DialectDraft01 {
		return "draft-01"
	}
	return "final"
}

// Capabilities is what a receiver says about itself (WD 10.2). A zero number
// or time means: no limit known.
type Capabilities struct {
	Dialect          Dialect
	Serial           string // decimal, "" when the document has none; compared as text
	Versions         []string
	Messages         []MessageSupport
	DataTypes        []DataType
	Inline, External bool // kinds of ATTACH that are accepted
	RScales          []string
	MaxContentLength int64     // octets
	MinDate, MaxDate time.Time // UTC
	MaxInstances     int
	MaxRecipients    int
	Administrator    string // URI
}

// MessageSupport is one component with its methods; no methods means any
// method.
type MessageSupport struct {
	Component string
	Methods   []string
}

// DataType is a media type with its version.
type DataType struct{ ContentType, Version string }

// MaxCapabilitiesSize bounds a capabilities document, in octets.
const MaxCapabilitiesSize = 256 << 10

const utcStamp = "20060102T150405Z"

// ParseCapabilities reads the document of a peer in either vocabulary. Order
// does not matter and unknown elements are skipped; numbers that are empty or
// not positive count as absent. A document that is none at all gives
// ErrNotCapabilities (or ErrXML, ErrDTD, ErrTooLarge).
func ParseCapabilities(body []byte) (*Capabilities, error) {
	root, err := parseXML(body, MaxCapabilitiesSize)
	if err != nil {
		return nil, fmt.Errorf("capabilities: %w", err)
	}
	if !root.is("query-result") {
		return nil, fmt.Errorf("%w: root element %q", ErrNotCapabilities, root.name.Local)
	}
	c := &Capabilities{}
	set := root.child("capabilities")
	if set == nil {
		// -01 §6.2.1 has another name.
		if set = root.child("capability-set"); set == nil {
			return nil, fmt.Errorf("%w: no capabilities element", ErrNotCapabilities)
		}
		c.Dialect = DialectDraft01
	}
	for _, el := range set.kids {
		if el.name.Space != Namespace {
			continue
		}
		switch el.name.Local {
		case "serial-number":
			if positive(el.value()) > 0 {
				c.Serial = el.value()
			}
		case "versions", "supported-version-set":
			for _, v := range el.kids {
				if v.is("version") && v.value() != "" {
					c.Versions = append(c.Versions, normalVersion(v.value()))
				}
			}
		case "scheduling-messages", "supported-scheduling-message-set":
			if el.name.Local != "scheduling-messages" {
				c.Dialect = DialectDraft01
			}
			c.readMessages(el)
		case "calendar-data-types", "supported-calendar-data-type":
			for _, d := range el.kids {
				if d.is("calendar-data-type") || d.is("calendar-data") {
					c.DataTypes = append(c.DataTypes, DataType{
						ContentType: orDefault(strings.ToLower(d.attr("content-type")), "text/calendar"),
						Version:     orDefault(d.attr("version"), "2.0"),
					})
				}
			}
		case "attachments", "supported-attachment-values":
			c.Inline = el.child("inline") != nil || el.child("inline-attachment") != nil
			c.External = el.child("external") != nil || el.child("external-attachment") != nil
		case "rscales":
			for _, r := range el.kids {
				if r.is("rscale") && r.value() != "" {
					c.RScales = append(c.RScales, strings.ToUpper(r.value()))
				}
			}
		case "max-content-length":
			c.MaxContentLength = positive(el.value())
		case "max-instances":
			c.MaxInstances = count(el.value())
		case "max-recipients":
			c.MaxRecipients = count(el.value())
		case "min-date-time":
			c.MinDate = stamp(el.value())
		case "max-date-time":
			c.MaxDate = stamp(el.value())
		case "administrator":
			c.Administrator = el.value()
		}
	}
	return c, nil
}

func (c *Capabilities) readMessages(el *element) {
	for _, comp := range el.kids {
		if !comp.is("component") && !comp.is("comp") || comp.attr("name") == "" {
			continue
		}
		m := MessageSupport{Component: strings.ToUpper(comp.attr("name"))}
		for _, method := range comp.kids {
			if method.is("method") && method.attr("name") != "" {
				m.Methods = append(m.Methods, strings.ToUpper(method.attr("name")))
			}
		}
		c.Messages = append(c.Messages, m)
	}
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// normalVersion reads Bedework's "1" as "1.0".
func normalVersion(v string) string {
	if !strings.Contains(v, ".") {
		return v + ".0"
	}
	return v
}

func positive(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return n
}

func count(s string) int { return int(min(positive(s), 1<<30)) }

func stamp(s string) time.Time {
	t, err := time.Parse(utcStamp, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Usable tells whether messages can be sent to this peer in the final dialect:
// its vocabulary is the present one and it speaks our version.
func (c *Capabilities) Usable() bool {
	return c.Dialect == DialectFinal && slices.Contains(c.Versions, Version)
}

// Allows tells whether the peer takes that method for that component.
func (c *Capabilities) Allows(component, method string) bool {
	for _, m := range c.Messages {
		if strings.EqualFold(m.Component, component) &&
			(len(m.Methods) == 0 || slices.ContainsFunc(m.Methods, func(s string) bool { return strings.EqualFold(s, method) })) {
			return true
		}
	}
	return false
}

// Outline is what a sender has to know of a message to compare it with a
// peer's capabilities. Zero times mean an open end, zero Instances an unknown
// or unbounded number.
type Outline struct {
	Component, Method string
	Size              int64 // octets of the body
	Inline, External  bool  // kinds of ATTACH it holds
	RScale            string
	Start, End        time.Time
	Instances         int
}

// Misfit says which limit of the peer a message exceeds.
type Misfit struct {
	Limit  string // name of the capabilities element
	Detail string
}

// Error names the limit.
func (m *Misfit) Error() string {
	return "ischedule: does not fit the peer: " + m.Limit + ": " + m.Detail
}

// Fits compares a message with the capabilities before a POST (WD 7). nil
// means it may be sent; otherwise the error is a *Misfit. The number of
// recipients is no misfit: the sender cuts the list.
func (c *Capabilities) Fits(o Outline) error {
	misfit := func(limit, format string, args ...any) error {
		return &Misfit{Limit: limit, Detail: fmt.Sprintf(format, args...)}
	}
	if !slices.Contains(c.Versions, Version) {
		return misfit("versions", "none of %v is ours", c.Versions)
	}
	if !c.Allows(o.Component, o.Method) {
		return misfit("scheduling-messages", "%s %s is not listed", o.Component, o.Method)
	}
	if len(c.DataTypes) > 0 && !slices.ContainsFunc(c.DataTypes, func(d DataType) bool {
		return d.ContentType == "text/calendar" && d.Version == "2.0"
	}) {
		return misfit("calendar-data-types", "text/calendar 2.0 is not listed")
	}
	if c.MaxContentLength > 0 && o.Size > c.MaxContentLength {
		return misfit("max-content-length", "%d octets, limit %d", o.Size, c.MaxContentLength)
	}
	if o.Inline && !c.Inline || o.External && !c.External {
		return misfit("attachments", "inline %v, external %v", o.Inline, o.External)
	}
	if r := strings.ToUpper(o.RScale); r != "" && r != "GREGORIAN" && !slices.Contains(c.RScales, r) {
		return misfit("rscales", "%s is not listed", r)
	}
	if !c.MinDate.IsZero() && !o.Start.IsZero() && o.Start.Before(c.MinDate) {
		return misfit("min-date-time", "starts %s, limit %s", o.Start.UTC().Format(utcStamp), c.MinDate.Format(utcStamp))
	}
	if !c.MaxDate.IsZero() && (o.Start.After(c.MaxDate) || o.End.After(c.MaxDate)) {
		return misfit("max-date-time", "ends %s, limit %s", o.End.UTC().Format(utcStamp), c.MaxDate.Format(utcStamp))
	}
	if c.MaxInstances > 0 && o.Instances > c.MaxInstances {
		return misfit("max-instances", "%d instances, limit %d", o.Instances, c.MaxInstances)
	}
	return nil
}

// Recipients is how many recipients one POST may name: the peer's limit, at
// most DefaultMaxRecipients.
func (c *Capabilities) Recipients() int {
	if c.MaxRecipients > 0 {
		return min(c.MaxRecipients, DefaultMaxRecipients)
	}
	return DefaultMaxRecipients
}

// Document writes the capabilities in the vocabulary of WD 10.2, children in
// the order of its definition.
func (c *Capabilities) Document() []byte {
	w := newDocument("query-result")
	w.open("capabilities")
	if c.Serial != "" {
		w.text("serial-number", c.Serial)
	}
	w.open("versions")
	for _, v := range c.Versions {
		w.text("version", v)
	}
	w.close("versions")
	c.writeMessages(w, "scheduling-messages", "component")
	c.writeDataTypes(w, "calendar-data-types")
	w.open("attachments")
	if c.Inline {
		w.empty("inline")
	}
	if c.External {
		w.empty("external")
	}
	w.close("attachments")
	w.open("rscales")
	for _, r := range c.RScales {
		w.text("rscale", r)
	}
	w.close("rscales")
	c.writeLimits(w)
	w.close("capabilities")
	w.close("query-result")
	return append(w.Bytes(), '\n')
}

// DraftDocument writes the capabilities in the vocabulary of -01, for peers
// that ask with ?query=capabilities.
func (c *Capabilities) DraftDocument() []byte {
	w := newDocument("query-result")
	w.open("capability-set")
	w.open("supported-version-set")
	for _, v := range c.Versions {
		w.text("version", v)
	}
	w.close("supported-version-set")
	c.writeMessages(w, "supported-scheduling-message-set", "comp")
	c.writeDataTypes(w, "supported-calendar-data-type")
	w.open("supported-attachment-values")
	if c.Inline {
		w.empty("inline-attachment")
	}
	if c.External {
		w.empty("external-attachment")
	}
	w.close("supported-attachment-values")
	w.open("supported-recipient-uri-scheme-set")
	w.text("scheme", "mailto")
	w.close("supported-recipient-uri-scheme-set")
	c.writeLimits(w)
	w.close("capability-set")
	w.close("query-result")
	return append(w.Bytes(), '\n')
}

func (c *Capabilities) writeMessages(w *xmlWriter, set, component string) {
	w.open(set)
	for _, m := range c.Messages {
		if len(m.Methods) == 0 {
			w.empty(component, "name", m.Component)
			continue
		}
		w.open(component, "name", m.Component)
		for _, method := range m.Methods {
			w.empty("method", "name", method)
		}
		w.close(component)
	}
	w.close(set)
}

func (c *Capabilities) writeDataTypes(w *xmlWriter, set string) {
	w.open(set)
	for _, d := range c.DataTypes {
		w.empty("calendar-data-type", "content-type", d.ContentType, "version", d.Version)
	}
	w.close(set)
}

func (c *Capabilities) writeLimits(w *xmlWriter) {
	number := func(name string, n int64) {
		if n > 0 {
			w.text(name, strconv.FormatInt(n, 10))
		}
	}
	number("max-content-length", c.MaxContentLength)
	if !c.MinDate.IsZero() {
		w.text("min-date-time", c.MinDate.UTC().Format(utcStamp))
	}
	if !c.MaxDate.IsZero() {
		w.text("max-date-time", c.MaxDate.UTC().Format(utcStamp))
	}
	number("max-instances", int64(c.MaxInstances))
	number("max-recipients", int64(c.MaxRecipients))
	if c.Administrator != "" {
		w.text("administrator", c.Administrator)
	}
}
