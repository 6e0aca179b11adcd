package discover

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// Identity says whom the server of an endpoint found by SRV may claim to be,
// besides the host name in the URL: the domain D whose SRV record led there.
// The zero value allows the host name only.
//
// ischedule §2.4; RFC 6125 §6.4, RFC 4985.
type Identity struct {
	// Target is host:port of the URL this identity belongs to, so that a
	// redirect to another server does not inherit it.
	Target string
	// Domain is D, in lower case.
	Domain string
	// Service is the SRV-ID label without underscore: "ischedules".
	Service string
	// Authentic: the SRV answer was validated by DNSSEC.
	Authentic bool
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSRVName        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}

	errIdentity = errors.New("discover: certificate names neither the host nor its domain")
)

type identityKey struct{}

// WithIdentity returns a context whose requests through [NewHTTPClient] accept
// id's domain in place of the host name.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

func identityOf(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok && id.Domain != ""
}

// needsDomain: the host name alone does not prove that the target speaks for D,
// since an unsigned SRV record said so (strict_srv_identity).
func (id Identity) needsDomain(host string) bool {
	host = strings.ToLower(host)
	return !id.Authentic && host != id.Domain && !strings.HasSuffix(host, "."+id.Domain)
}

// verifyDomain checks the chain of a connection and that the certificate names
// the domain, as DNS-ID or SRV-ID.
func (id Identity) verifyDomain(cs tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: no certificate", errIdentity)
	}
	leaf := cs.PeerCertificates[0]
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	if leaf.VerifyHostname(id.Domain) == nil {
		return nil
	}
	want := "_" + id.Service + "." + id.Domain
	for _, name := range srvNames(leaf) {
		if id.Service != "" && strings.EqualFold(name, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errIdentity, id.Domain)
}

// srvNames returns the SRVName entries of the subject alternative names (RFC
// 4985 §2), which crypto/x509 does not parse.
func srvNames(cert *x509.Certificate) []string {
	var out []string
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, n := range names {
			if n.Class != asn1.ClassContextSpecific || n.Tag != 0 { // otherName
				continue
			}
			var oid asn1.ObjectIdentifier
			rest, err := asn1.Unmarshal(n.Bytes, &oid)
			if err != nil || !oid.Equal(oidSRVName) {
				continue
			}
			var wrapped, value asn1.RawValue // [0] EXPLICIT IA5String
			if _, err := asn1.Unmarshal(rest, &wrapped); err != nil || wrapped.Class != asn1.ClassContextSpecific || wrapped.Tag != 0 {
				continue
			}
			if _, err := asn1.Unmarshal(wrapped.Bytes, &value); err == nil && value.Tag == asn1.TagIA5String {
				out = append(out, string(value.Bytes))
			}
		}
	}
	return out
}
