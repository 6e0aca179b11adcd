package server

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/kalends/kalends/storage"
)

// Config is the whole configuration: one TOML file, every key also as an
// environment variable KALENDS_<KEY IN CAPITALS>, every secret also from a
// file named by KALENDS_<KEY>_FILE or <key>_file. Unknown keys are errors.
type Config struct {
	DatabaseURL  string `toml:"database_url" help:"sqlite:PATH or postgres://user:password@host/name" secret:"yes"`
	ExternalURL  string `toml:"external_url" help:"address that links and redirects use, such as https://cal.example.org (default: from the listener)"`
	HTTPListen   string `toml:"http_listen" help:"plain HTTP listener; empty: off"`
	HTTPSListen  string `toml:"https_listen" help:"TLS listener; empty: off"`
	TLSCert      string `toml:"tls_cert" help:"PEM file with the certificate chain; read again when it changes"`
	TLSKey       string `toml:"tls_key" help:"PEM file with the private key"`
	Management   string `toml:"management_listen" help:"health, metrics and profiling; empty: off"`
	DataDir      string `toml:"data_dir" help:"folder for files of the server"`
	Domains      List   `toml:"domains" help:"local domains, added at start when missing"`
	Proxies      Nets   `toml:"trusted_proxies" help:"networks (CIDR) whose forwarded headers are believed"`
	DNSResolver  List   `toml:"dns_resolver" help:"host:port of DNS resolvers (default: the system's)"`
	ExtraCA      string `toml:"tls_extra_ca" help:"PEM file of authorities trusted for outgoing TLS besides the system's"`
	DialAllow    Nets   `toml:"dial_allow" help:"networks (CIDR) that outgoing connections may reach although they are loopback or private"`
	SMTPURL      string `toml:"smtp_url" help:"mail submission: smtp://[user:password@]host:port or smtps://...; empty: no mail" secret:"yes"`
	MailFrom     string `toml:"mail_from" help:"sender address when we may not sign for the user (default: calendar@ the first domain)"`
	MailIntake   string `toml:"mail_intake" help:"address whose sub-addresses come to our listener (default: calendar@ the first domain)"`
	MailGateway  List   `toml:"mail_gateway" help:"local domains whose invitations by mail carry the intake address as organizer, so that answers come back to us; * for all"`
	MailBounces  bool   `toml:"mail_bounces" help:"bounces of our mails come home to the intake address, so that organizers see what did not arrive; needs smtp_listen or lmtp_listen"`
	SMTPListen   string `toml:"smtp_listen" help:"SMTP listener for incoming answers; empty: off"`
	LMTPListen   string `toml:"lmtp_listen" help:"LMTP listener for incoming answers; host:port or unix:PATH; empty: off"`
	TrustedAuth  string `toml:"mail_trusted_authserv" help:"host name whose Authentication-Results headers are believed"`
	AdminPass    string `toml:"admin_password" help:"password of admin at the first start (default: generated)" secret:"yes"`
	RetryMin     Dur    `toml:"retry_min" help:"wait after the first temporary failure of a delivery"`
	RetryMax     Dur    `toml:"retry_max" help:"longest wait between attempts"`
	RetryExpiry  Dur    `toml:"retry_expiry" help:"when a delivery is given up"`
	Lease        Dur    `toml:"delivery_lease" help:"how long a server may work on a delivery before another one takes over, as after a crash; longer than a slow peer takes"`
	HoldDelete   Dur    `toml:"hold_delete" help:"how long messages caused by a DELETE wait for the event to return; 0: off"`
	LogLevel     string `toml:"log_level" help:"debug, info, warn or error"`
	LogFormat    string `toml:"log_format" help:"text or json"`
	MaxBody      int64  `toml:"max_resource_size" help:"largest calendar object, in octets"`
	MaxInstances int    `toml:"max_instances" help:"most instances of one series that are stored with it"`
	MaxAttendees int    `toml:"max_attendees" help:"most attendees of one event"`
	EventBurst   int    `toml:"event_burst" help:"messages about one event that somebody elsewhere gets at once; what changes during the rest of a minute becomes one"`
	PerHour      int    `toml:"messages_per_hour" help:"messages of one account to other systems in an hour; what is more goes later"`
	MailMaxSize  int64  `toml:"mail_max_size" help:"largest mail that is taken, in octets"`
	MailSender   int    `toml:"mail_per_sender" help:"mails an hour that are taken from one address, by each node"`
	MailDomain   int    `toml:"mail_per_domain" help:"mails an hour that are taken from one domain, by each node"`
	MailPerson   int    `toml:"mail_per_recipient" help:"mails an hour that are taken for one person, by each node"`
	Quota        int64  `toml:"quota" help:"octets that the calendars of one account may take; 0: no limit"`
	MaxCalendars int    `toml:"max_calendars" help:"most calendars of one home, the inbox included; 0: no limit"`
	Directory    string `toml:"directory" help:"whom people find: all, domain (who shares a mail domain with them) or none"`
	ZoneServices List   `toml:"timezone_service" help:"https addresses of time zone services (RFC 7808) that calendar programs are told of"`
	MaxConns     int    `toml:"database_connections" help:"most connections to PostgreSQL"`
	SlowStmt     Dur    `toml:"slow_statement" help:"statements that the database takes as long for are in the log, without their values; 0 switches it off"`
	LocalInline  int    `toml:"local_delivery_threshold" help:"local attendees served inside of the PUT; more are served within a second"`
	ISchedule    bool   `toml:"ischedule" help:"speak iSchedule with other domains"`
	KeyLookup    bool   `toml:"ischedule_http_keys" help:"look keys up by http/well-known, and serve ours there"`
	KeySecret    string `toml:"key_secret" help:"secret that encrypts the private keys of domains in the database, at least 32 characters such as openssl rand -hex 32 makes; empty: they lie there as they are" secret:"yes"`
	FreeBusyFor  string `toml:"ischedule_freebusy" help:"who may ask for busy times from other domains: signed (whose signature proves them), all (trusted peers without a signature too), listed (those set by kalends peer set --freebusy yes) or nobody"`
	FreeBusyType bool   `toml:"ischedule_freebusy_types" help:"show other domains tentative and absent times as such; off: busy is all they see"`
	FreeBusyHide bool   `toml:"ischedule_freebusy_alike" help:"answer for people who show no busy times as for unknown ones"`
	StrictSRV    bool   `toml:"ischedule_strict_srv" help:"believe a server outside of its domain only with DNSSEC or a certificate that names the domain"`
	WalkParents  bool   `toml:"ischedule_walk_parents" help:"look for the service of a domain at its parent domains too"`
	Push         bool   `toml:"webdav_push" help:"tell subscribed programs of changes over their push services"`
	ReadTimeout  Dur    `toml:"read_timeout" help:"how long a client may take to send a request with its body"`
	ShutdownWait Dur    `toml:"shutdown_wait" help:"how long running requests may take after the stop signal"`
}

// List is a list of words; in the environment they are separated by commas.
type List []string

// Nets is a list of networks.
type Nets []netip.Prefix

// Dur is a duration in Go's notation, such as 90s or 48h.
type Dur time.Duration

// UnmarshalText reads a duration.
func (d *Dur) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90s or 48h", b)
	}
	*d = Dur(v)
	return nil
}

// MarshalText writes a duration.
func (d Dur) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads networks separated by commas; a bare address is its own
// network.
func (n *Nets) UnmarshalText(b []byte) error {
	*n = nil
	for _, w := range words(string(b)) {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			a, err2 := netip.ParseAddr(w)
			if err2 != nil {
				return fmt.Errorf("%q is no network such as 10.0.0.0/8", w)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		*n = append(*n, p.Masked())
	}
	return nil
}

// MarshalText writes the networks.
func (n Nets) MarshalText() ([]byte, error) {
	var out []string
	for _, p := range n {
		out = append(out, p.String())
	}
	return []byte(strings.Join(out, ",")), nil
}

// UnmarshalTOML takes a list or one text with commas.
func (n *Nets) UnmarshalTOML(v any) error {
	var l List
	if err := l.UnmarshalTOML(v); err != nil {
		return err
	}
	return n.UnmarshalText([]byte(strings.Join(l, ",")))
}

// UnmarshalText reads words separated by commas.
func (l *List) UnmarshalText(b []byte) error { *l = words(string(b)); return nil }

// MarshalText writes the words.
func (l List) MarshalText() ([]byte, error) { return []byte(strings.Join(l, ",")), nil }

// UnmarshalTOML takes a list or one text with commas.
func (l *List) UnmarshalTOML(v any) error {
	*l = nil
	switch x := v.(type) {
	case string:
		*l = words(x)
	case []any:
		for _, e := range x {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("a list of texts is expected")
			}
			*l = append(*l, s)
		}
	default:
		return fmt.Errorf("a list of texts is expected")
	}
	return nil
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// DefaultConfig is what `kalends serve` runs with when nothing is configured.
func DefaultConfig() Config {
	return Config{
		DatabaseURL: "sqlite:kalends-data/kalends.db", HTTPListen: "127.0.0.1:8080", Management: "127.0.0.1:8081", DataDir: "kalends-data",
		RetryMin: Dur(time.Minute), RetryMax: Dur(time.Hour), RetryExpiry: Dur(48 * time.Hour), Lease: Dur(2 * time.Minute), HoldDelete: Dur(5 * time.Second),
		LogLevel: "info", LogFormat: "text", MaxBody: 10 << 20, MaxInstances: 4000, MaxAttendees: 2000, EventBurst: 10, PerHour: 2000, MailMaxSize: 10 << 20, MailSender: 200, MailDomain: 2000, MailPerson: 500, Quota: 1 << 30, MaxCalendars: 50, Directory: "all", MaxConns: 16, SlowStmt: Dur(time.Second), LocalInline: 250,
		ISchedule: true, KeyLookup: true, MailBounces: true, Push: true, FreeBusyFor: "signed", ReadTimeout: Dur(2 * time.Minute), ShutdownWait: Dur(20 * time.Second),
	}
}

// LoadConfig reads the file (none when path is empty) and then the
// environment, as a list of NAME=VALUE.
func LoadConfig(path string, environ []string) (Config, error) {
	c := DefaultConfig()
	if path != "" {
		meta, err := toml.DecodeFile(path, &c)
		if err != nil {
			return c, fmt.Errorf("configuration %s: %w", path, err)
		}
		var unknown []string
		for _, k := range meta.Undecoded() {
			name := k.String()
			if base, ok := strings.CutSuffix(name, "_file"); ok && isSecret(base) {
				continue
			}
			unknown = append(unknown, name)
		}
		if len(unknown) > 0 {
			slices.Sort(unknown)
			return c, fmt.Errorf("configuration %s: unknown key %s; `kalends config show` lists the keys", path, strings.Join(unknown, ", "))
		}
		var raw map[string]any
		if _, err := toml.DecodeFile(path, &raw); err == nil {
			for _, f := range fields(&c) {
				if name, ok := raw[f.key+"_file"].(string); ok && f.secret {
					if err := fromFile(f, name); err != nil {
						return c, fmt.Errorf("configuration %s: %w", path, err)
					}
				}
			}
		}
	}
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "KALENDS_") {
			env[k] = v
		}
	}
	for _, f := range fields(&c) {
		if name := env[f.env+"_FILE"]; name != "" && f.secret {
			if err := fromFile(f, name); err != nil {
				return c, fmt.Errorf("environment: %w", err)
			}
		}
		if v, ok := env[f.env]; ok {
			if err := f.set(v); err != nil {
				return c, fmt.Errorf("environment: %s: %w", f.env, err)
			}
		}
	}
	return c, c.check()
}

type field struct {
	key, env, help string
	secret         bool
	v              reflect.Value
}

func fields(c *Config) []field {
	v := reflect.ValueOf(c).Elem()
	var out []field
	for i := range v.NumField() {
		t := v.Type().Field(i)
		key := t.Tag.Get("toml")
		out = append(out, field{key: key, env: "KALENDS_" + strings.ToUpper(key), help: t.Tag.Get("help"), secret: t.Tag.Get("secret") != "", v: v.Field(i)})
	}
	return out
}

func isSecret(key string) bool {
	var c Config
	return slices.ContainsFunc(fields(&c), func(f field) bool { return f.key == key && f.secret })
}

func fromFile(f field, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("%s_file: %w", f.key, err)
	}
	return f.set(strings.TrimRight(string(b), "\r\n"))
}

func (f field) set(s string) error {
	if u, ok := f.v.Addr().Interface().(interface{ UnmarshalText([]byte) error }); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch f.v.Kind() {
	case reflect.String:
		f.v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		f.v.SetBool(b)
	default:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", s)
		}
		f.v.SetInt(n)
	}
	return nil
}

// check finds contradictions before anything is opened.
func (c *Config) check() error {
	if !strings.HasPrefix(c.DatabaseURL, "sqlite:") && !strings.HasPrefix(c.DatabaseURL, "postgres://") && !strings.HasPrefix(c.DatabaseURL, "postgresql://") {
		return fmt.Errorf("database_url begins with sqlite: or postgres://")
	}
	if c.ExternalURL != "" {
		u, err := url.Parse(c.ExternalURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("external_url %q is no web address such as https://cal.example.org", c.ExternalURL)
		}
		c.ExternalURL = strings.TrimRight(c.ExternalURL, "/")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("tls_cert and tls_key belong together")
	}
	if c.HTTPSListen != "" && c.TLSCert == "" {
		return fmt.Errorf("https_listen needs tls_cert and tls_key")
	}
	if c.HTTPListen == "" && c.HTTPSListen == "" {
		return fmt.Errorf("there is no listener: set http_listen or https_listen")
	}
	for i, d := range c.Domains {
		d = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(d), "."))
		if !strings.Contains(d, ".") || strings.ContainsAny(d, "/@: ") {
			return fmt.Errorf("domains: %q is no domain name", c.Domains[i])
		}
		c.Domains[i] = d
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		return fmt.Errorf("log_level is debug, info, warn or error, not %q", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log_format is text or json, not %q", c.LogFormat)
	}
	if !slices.Contains([]string{"all", "domain", "none"}, c.Directory) {
		return fmt.Errorf("directory is all, domain or none, not %q", c.Directory)
	}
	for _, z := range c.ZoneServices {
		if u, err := url.Parse(z); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("timezone_service: %q is no https address such as https://zones.example.org/.well-known/timezone", z)
		}
	}
	if c.Quota < 0 || c.MaxCalendars < 0 || c.MaxCalendars > 0 && c.MaxCalendars < 4 {
		return fmt.Errorf("quota and max_calendars are not negative, and a home has 3 calendars from its beginning, the inbox included")
	}
	if !slices.Contains([]string{"all", "signed", "listed", "nobody"}, c.FreeBusyFor) {
		return fmt.Errorf("ischedule_freebusy is all, signed, listed or nobody, not %q", c.FreeBusyFor)
	}
	if c.KeySecret != "" && len(c.KeySecret) < minKeySecret {
		return fmt.Errorf("key_secret has at least %d characters; make one with openssl rand -hex 32", minKeySecret)
	}
	if c.SMTPURL != "" {
		u, err := url.Parse(c.SMTPURL)
		if err != nil || u.Host == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
			return fmt.Errorf("smtp_url is smtp://[user:password@]host:port, or the same with smtps")
		}
	}
	for name, d := range map[string]Dur{"retry_min": c.RetryMin, "retry_max": c.RetryMax, "retry_expiry": c.RetryExpiry, "delivery_lease": c.Lease, "read_timeout": c.ReadTimeout, "shutdown_wait": c.ShutdownWait} {
		if d <= 0 {
			return fmt.Errorf("%s is a positive duration", name)
		}
	}
	if c.SlowStmt < 0 {
		return fmt.Errorf("slow_statement is a duration, or 0")
	}
	if c.RetryMin > c.RetryMax {
		return fmt.Errorf("retry_min (%v) is longer than retry_max (%v)", time.Duration(c.RetryMin), time.Duration(c.RetryMax))
	}
	for name, address := range map[string]string{"mail_from": c.MailFrom, "mail_intake": c.MailIntake} {
		if address != "" && (strings.Count(address, "@") != 1 || storage.NormalEmail(address) == "") {
			return fmt.Errorf("%s %q is no mail address", name, address)
		}
	}
	for name, addr := range map[string]string{"http_listen": c.HTTPListen, "https_listen": c.HTTPSListen, "management_listen": c.Management, "smtp_listen": c.SMTPListen, "lmtp_listen": c.LMTPListen} {
		if addr == "" || strings.HasPrefix(addr, "unix:") && addr != "unix:" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%s %q is neither host:port nor unix:PATH", name, addr)
		}
	}
	for name, n := range map[string]int64{"max_resource_size": c.MaxBody, "max_instances": int64(c.MaxInstances), "max_attendees": int64(c.MaxAttendees), "event_burst": int64(c.EventBurst), "messages_per_hour": int64(c.PerHour), "mail_max_size": c.MailMaxSize, "mail_per_sender": int64(c.MailSender), "mail_per_domain": int64(c.MailDomain), "mail_per_recipient": int64(c.MailPerson),
		"database_connections": int64(c.MaxConns), "local_delivery_threshold": int64(c.LocalInline)} {
		if n <= 0 {
			return fmt.Errorf("%s is a positive number", name)
		}
	}
	if len(c.Domains) > 0 {
		if c.MailFrom == "" {
			c.MailFrom = "calendar@" + c.Domains[0]
		}
		if c.MailIntake == "" {
			c.MailIntake = "calendar@" + c.Domains[0]
		}
	}
	return nil
}

// Show prints every key with its value, its environment variable and its
// meaning; secrets are not shown.
func (c *Config) Show() string {
	var b strings.Builder
	for _, f := range fields(c) {
		val := fmt.Sprintf("%#v", f.v.Interface())
		if m, ok := f.v.Interface().(interface{ MarshalText() ([]byte, error) }); ok {
			t, _ := m.MarshalText()
			val = strconv.Quote(string(t))
		}
		if f.secret && !f.v.IsZero() {
			val = `"(hidden)"`
			if f.key == "database_url" {
				val = strconv.Quote(redactURL(f.v.String()))
			}
		}
		fmt.Fprintf(&b, "# %s\n# environment: %s\n%s = %s\n\n", f.help, f.env, f.key, val)
	}
	return b.String()
}

func redactURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	}
	return s
}
