package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ConnectTimeout is the time limit of a connection attempt, names included.
const ConnectTimeout = 5 * time.Second

// maxDialAddrs bounds the addresses tried for one name.
const maxDialAddrs = 8

// Dialer connects to addresses its policy allows. It resolves names itself and
// looks at the very address the socket connects to, so an answer that changes
// between check and connection does not help an attacker (abuse case A42).
// The zero value of the optional fields is the strict default.
type Dialer struct {
	Resolver *Resolver // needed
	AddressPolicy
	// Timeout of one DialContext; 0 means ConnectTimeout.
	Timeout time.Duration
}

// DialContext is for http.Transport. network is tcp, tcp4 or tcp6; addr is
// host:port with a name or an IP address.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrInvalidName, addr)
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = ConnectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	addrs, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	dialer := net.Dialer{Control: d.control, FallbackDelay: -1}
	var first error
	for i, ip := range addrs {
		// Every address gets its share of the time that is left.
		share := max(time.Until(deadline)/time.Duration(len(addrs)-i), time.Second)
		one, cancel := context.WithTimeout(ctx, share)
		conn, err := dialer.DialContext(one, network, net.JoinHostPort(ip.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// addresses returns the allowed addresses of host.
func (d *Dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, d.Check(ip)
	}
	if !validHost(strings.TrimSuffix(host, ".")) {
		// Also the old spellings of an IPv4 address (127.1, 0x7f.1).
		return nil, fmt.Errorf("%w: %q", ErrInvalidName, host)
	}
	found, _, err := d.Resolver.LookupAddrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	var refused error
	for _, ip := range found {
		if err := d.Check(ip); err != nil {
			refused = err
			continue
		}
		allowed = append(allowed, ip)
	}
	if len(allowed) == 0 {
		return nil, fmt.Errorf("%s: %w", host, refused)
	}
	return allowed[:min(len(allowed), maxDialAddrs)], nil
}

// control sees the address of every connection before it is made.
func (d *Dialer) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrForbiddenAddress, address)
	}
	if ap.Port() == 0 {
		return errors.New("discover: port 0")
	}
	return d.Check(ap.Addr())
}
