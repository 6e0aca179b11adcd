package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/kalends/kalends/scheduling"
)

// connectPage is what connect.html shows.
type connectPage struct {
	Server, Host, Login string
	Principal           string // full address of the principal
	TLS                 bool
}

func (q *request) connect() error {
	p := connectPage{Server: q.external() + "/dav/", TLS: q.secure()}
	if u, err := url.Parse(q.external()); err == nil {
		p.Host = u.Host
	}
	if q.user != nil {
		p.Login, p.Principal = loginOf(q.user), q.external()+scheduling.PrincipalPath(*q.user)
	}
	return q.render(http.StatusOK, "connect", "Connect your programs", p)
}

// appleProfile is a configuration profile with one CalDAV account. It holds no
// password; the device asks for it.
func (q *request) appleProfile() error {
	u, err := url.Parse(q.external())
	if err != nil {
		return err
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[q.secure()]
	}
	name := "Calendar on " + host
	var b bytes.Buffer
	text := func(s string) string {
		var e bytes.Buffer
		_ = xml.EscapeText(&e, []byte(s)) // a bytes.Buffer takes everything
		return e.String()
	}
	str := func(key, value string) {
		fmt.Fprintf(&b, "\t<key>%s</key>\n\t<string>%s</string>\n", key, text(value))
	}
	where := net.JoinHostPort(host, port)
	domain := reversed(host)
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n<plist version=\"1.0\">\n<dict>\n")
	b.WriteString("\t<key>PayloadContent</key>\n\t<array>\n\t<dict>\n")
	str("PayloadType", "com.apple.caldav.account")
	b.WriteString("\t<key>PayloadVersion</key>\n\t<integer>1</integer>\n")
	str("PayloadIdentifier", domain+".kalends."+q.user.Handle+".caldav")
	str("PayloadUUID", stableUUID("caldav", where, q.user.UUID))
	str("PayloadDisplayName", name)
	str("CalDAVAccountDescription", name)
	str("CalDAVHostName", host)
	fmt.Fprintf(&b, "\t<key>CalDAVPort</key>\n\t<integer>%s</integer>\n\t<key>CalDAVUseSSL</key>\n\t<%t/>\n", text(port), q.secure())
	str("CalDAVPrincipalURL", scheduling.PrincipalPath(*q.user))
	str("CalDAVUsername", loginOf(q.user))
	b.WriteString("\t</dict>\n\t</array>\n")
	str("PayloadType", "Configuration")
	b.WriteString("\t<key>PayloadVersion</key>\n\t<integer>1</integer>\n")
	str("PayloadIdentifier", domain+".kalends."+q.user.Handle)
	str("PayloadUUID", stableUUID("profile", where, q.user.UUID))
	str("PayloadDisplayName", name)
	str("PayloadDescription", "Sets up the calendar of "+nameOf(q.user)+". The password is asked for.")
	b.WriteString("\t<key>PayloadRemovalDisallowed</key>\n\t<false/>\n</dict>\n</plist>\n")
	h := q.w.Header()
	h.Set("Content-Type", "application/x-apple-aspen-config")
	h.Set("Content-Disposition", `attachment; filename="kalends.mobileconfig"`)
	_, _ = q.w.Write(b.Bytes())
	return nil
}

// stableUUID names a payload: the same for the same account and server, so
// that a second download replaces the first (RFC 9562 §5.8).
func stableUUID(parts ...string) string {
	h := sha256.Sum256([]byte("kalends\x00" + strings.Join(parts, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// reversed is a host name in the order of identifiers: test.alpha.
func reversed(host string) string {
	if net.ParseIP(host) != nil {
		return "host." + strings.NewReplacer(":", "-", ".", "-").Replace(host)
	}
	p := strings.Split(host, ".")
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	return strings.Join(p, ".")
}
