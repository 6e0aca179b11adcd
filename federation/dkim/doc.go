// Package dkim signs and verifies iSchedule requests with DKIM signatures
// over HTTP header fields and body (draft-desruisseaux-ischedule-05 §7,
// RFC 6376).
//
// It owns the tag list syntax, the canonicalizations of header fields and
// body, key records, the rules of what a receiver accepts, and the alignment
// of signing domain and Originator. It is pure: no network (keys come from a
// [KeySource] the caller passes), no clock (the time is an argument), no
// randomness but the reader given to [GenerateKey]. It never decides about
// replay, local originators, blocked domains or iTIP: that is the work of the
// request handler.
//
// It fails with the sentinel errors of this package, wrapped with detail;
// [ResultOf] tells which result of RFC 8601 an error stands for. Input of any
// shape leads to an error, never to a panic, and every list has a limit.
package dkim
