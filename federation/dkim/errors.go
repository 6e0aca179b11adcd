package dkim

import "errors"

// Result is the outcome of a verification, in the words of RFC 8601 §2.7.1.
type Result string

const (
	// Pass: key, body hash and signature agree. It says nothing about
	// alignment; see [Verdict.Aligned].
	Pass Result = "pass"
	// Fail: the mathematics or the time of the signature is wrong.
	Fail Result = "fail"
	// PermError: the signature is not acceptable by rule, or has no usable key.
	PermError Result = "permerror"
	// TempError: the key could not be looked up now; the sender may try again.
	TempError Result = "temperror"
	// None: the request has no signature.
	None Result = "none"
)

// verdictError is a sentinel that knows the result it leads to.
type verdictError struct {
	result Result
	text   string
}

func (e *verdictError) Error() string { return "dkim: " + e.text }

func permError(text string) error { return &verdictError{PermError, text} }
func failError(text string) error { return &verdictError{Fail, text} }

// Errors of Verify and of the parsers. Test with errors.Is; the text carries
// the detail for the log and must not be sent to the peer (ischedule §7.6).
var (
	ErrNoSignature      error = &verdictError{None, "no DKIM-Signature"}
	ErrManySignatures         = permError("more than one DKIM-Signature")
	ErrSyntax                 = permError("malformed tag list")
	ErrDuplicateTag           = permError("duplicate tag")
	ErrMissingTag             = permError("missing tag")
	ErrVersion                = permError("version not accepted")
	ErrAlgorithm              = permError("algorithm not accepted")
	ErrCanonicalization       = permError("canonicalization not accepted")
	ErrDomain                 = permError("d= is not a registrable domain")
	ErrSelector               = permError("s= is not a selector")
	ErrIdentity               = permError("i= outside d=")
	ErrBodyLength             = permError("l= not accepted")
	ErrHeaderNotSigned        = permError("required header not signed")
	ErrHeaderRepeated         = permError("header name repeated in h=")
	ErrTimeTag                = permError("t= or x= not acceptable")
	ErrOriginator             = permError("not exactly one Originator with a domain")

	ErrExpired   = failError("signature expired")
	ErrFuture    = failError("signature time lies in the future")
	ErrStale     = failError("signature older than the acceptance window")
	ErrBodyHash  = failError("body hash mismatch")
	ErrSignature = failError("signature mismatch")

	// ErrNoKey: no record at all, or no usable query method.
	ErrNoKey = permError("no key")
	// ErrKeyLookup: the lookup failed for now (DNS failure, timeout).
	ErrKeyLookup error = &verdictError{TempError, "key lookup temporary failure"}

	// The remaining key errors each make one record unusable (§7.5).
	ErrKeySyntax   = permError("key record malformed")
	ErrKeyVersion  = permError("key version not accepted")
	ErrKeyType     = permError("key type not accepted")
	ErrKeyHash     = permError("key does not allow sha256")
	ErrKeyService  = permError("key is not for this service")
	ErrKeyRevoked  = permError("key revoked")
	ErrKeySize     = permError("key size not accepted")
	ErrKeyGranular = permError("key limited by g=")

	// ErrNotAligned accompanies a verdict with Result Pass: the signature is
	// right, but its domain may not speak for the Originator. The receiver
	// answers originator-denied (abuse case A38).
	ErrNotAligned error = &verdictError{Pass, "d= does not cover the Originator domain"}

	// ErrSigner: the signer is misconfigured or the request cannot be signed.
	ErrSigner = errors.New("dkim: cannot sign")
)

// ResultOf returns the result an error of this package stands for: Pass for
// nil and for ErrNotAligned, PermError for foreign errors.
func ResultOf(err error) Result {
	if err == nil {
		return Pass
	}
	var v *verdictError
	if errors.As(err, &v) {
		return v.result
	}
	return PermError
}
