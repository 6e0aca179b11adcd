// Package ischedule speaks iSchedule, the server-to-server scheduling protocol
// of CalConnect CC/WD 51010:2017 ("WD" in the comments), with the DKIM
// signature of draft-desruisseaux-ischedule-05 ("-05").
//
// It owns the wire: the request headers and their checks, the capabilities
// document in both vocabularies, the schedule-response and error documents,
// the inbound HTTP handler with its fixed order of checks, the replay window's
// rules, the publication of our keys, and the client that sends signed
// requests and reads what peers answer.
//
// It never writes calendar objects (package scheduling does), never keeps
// state of its own that another node would need (replay table, serial number
// and keys come in through interfaces), and never relays: a request for a
// foreign address is answered, not forwarded.
//
// Failures of an inbound request are *Error values that carry the element of
// the IS:error document and the HTTP status. What a peer answered to us is an
// Answer: one status and one Disposition per recipient, never a bare error.
package ischedule

// Namespace is the one XML namespace of iSchedule (WD 10.1).
const Namespace = "urn:ietf:params:xml:ns:ischedule"

// Version is the protocol version spoken here (WD 9.1).
const Version = "1.0"

// Header names (WD 9, -05 §8.1) in the spelling that is sent.
const (
	headerVersion      = "iSchedule-Version"
	headerMessageID    = "iSchedule-Message-ID"
	headerCapabilities = "iSchedule-Capabilities"
	headerOriginator   = "Originator"
	headerRecipient    = "Recipient"
	headerContentType  = "Content-Type"
	headerSignature    = "DKIM-Signature"
)
