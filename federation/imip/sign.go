package imip

import (
	"bytes"
	"context"
	"crypto"
	"fmt"

	"github.com/emersion/go-msgauth/dkim"
)

// Keys holds the mail keys of our domains (RFC 6376).
type Keys interface {
	// MailKey returns selector and key of a domain (A-labels); a nil signer
	// means that we hold none. RSA and Ed25519 keys can be used.
	MailKey(ctx context.Context, domain string) (selector string, key crypto.Signer, err error)
}

// signedFields are the header fields a signature covers. Those that decide
// what the mail means are listed twice, so that nobody can add a second one
// (RFC 6376 §5.4.2).
var signedFields = []string{
	"From", "From", "Reply-To", "Reply-To", "To", "To", "Subject", "Subject", "Date", "Date", "Message-ID", "Message-ID",
	"References", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Type",
}

// Sign puts a DKIM-Signature of the domain before the message.
func Sign(msg []byte, domain, selector string, key crypto.Signer) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(msg) + 1024)
	err := dkim.Sign(&out, bytes.NewReader(msg), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: signedFields,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: signing for %s: %w", ErrConfig, domain, err)
	}
	return out.Bytes(), nil
}

// key is the mail key of a domain, nil when we hold none.
func (t *Transport) key(ctx context.Context, domain string) (crypto.Signer, string, error) {
	if t.Keys == nil || domain == "" {
		return nil, "", nil
	}
	selector, key, err := t.Keys.MailKey(ctx, domain)
	if err != nil {
		return nil, "", fmt.Errorf("%w: mail key of %s: %w", ErrTemporary, domain, err)
	}
	return key, selector, nil
}
