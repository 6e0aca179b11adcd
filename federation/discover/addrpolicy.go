package discover

import (
	"fmt"
	"net/netip"
)

// AddressPolicy says which IP addresses may be connected to. The zero value
// allows public addresses only.
type AddressPolicy struct {
	// AllowNets may be reached although they are not public: private
	// federations, laboratories.
	AllowNets []netip.Prefix
}

// forbidden are the networks that are not the public Internet, or that carry an
// IPv4 address of any kind inside (RFC 6890 and its registries). Documentation
// networks are not listed: nothing answers there.
var forbidden = prefixes(
	"0.0.0.0/8",        // this host
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier NAT; metadata services of some clouds
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // metadata service of one cloud, in public space
	"169.254.0.0/16",   // link-local; metadata services
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments; metadata service of one cloud
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"::/96",            // unspecified, loopback, IPv4-compatible
	"::ffff:0:0/96",    // IPv4-mapped
	"::ffff:0:0:0/96",  // IPv4-translated
	"64:ff9b::/96",     // NAT64
	"64:ff9b:1::/48",   // NAT64, local use
	"100::/64",         // discard
	"2001::/32",        // Teredo
	"2002::/16",        // 6to4
	"fc00::/7",         // unique local; metadata services
	"fe80::/10",        // link-local
	"fec0::/10",        // site-local
	"ff00::/8",         // multicast
)

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	globalSix = netip.MustParsePrefix("2000::/3") // all IPv6 that IANA has given out
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Check returns nil when addr may be connected to, else ErrForbiddenAddress.
// The form counts, not only the host it means: an IPv4-mapped address is
// refused unless its mapped form is allowed.
//
// ischedule §2.2 "target check"; abuse case A42.
func (p AddressPolicy) Check(addr netip.Addr) error {
	if !addr.IsValid() {
		return fmt.Errorf("%w: no address", ErrForbiddenAddress)
	}
	bare := addr.WithZone("")
	for _, n := range p.AllowNets {
		if !n.Contains(bare) {
			continue
		}
		if nat64.Contains(bare) { // the address behind the translator counts too
			b := bare.As16()
			return p.Check(netip.AddrFrom4([4]byte(b[12:])))
		}
		return nil
	}
	if addr.Zone() != "" || bare.Is6() && !globalSix.Contains(bare) {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, addr)
	}
	for _, n := range forbidden {
		if n.Contains(bare) {
			return fmt.Errorf("%w: %s", ErrForbiddenAddress, addr)
		}
	}
	return nil
}
