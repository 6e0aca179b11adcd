package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/gateway"
	"github.com/kalends/kalends/federation/imip"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Outgoing is what every outgoing connection goes through: one resolver, one
// hardened dialer, one HTTP client.
type Outgoing struct {
	Resolver *discover.Resolver
	Dialer   *discover.Dialer
	HTTP     *http.Client
	Finder   *discover.Finder
	Roots    *x509.CertPool
}

// NewOutgoing builds it from the configuration; local says which domains are
// ours.
func NewOutgoing(cfg *Config, local func(string) bool) (*Outgoing, error) {
	return newOutgoing(cfg, local, nil)
}

// newOutgoing also knows endpoints that are set for domains in place of the
// DNS.
func newOutgoing(cfg *Config, local func(string) bool, endpoint func(string) string) (*Outgoing, error) {
	o := &Outgoing{}
	var err error
	if o.Resolver, err = discover.NewResolver(discover.ResolverConfig{Servers: cfg.DNSResolver}); err != nil {
		return nil, fmt.Errorf("dns_resolver: %w", err)
	}
	policy := discover.AddressPolicy{AllowNets: cfg.DialAllow}
	o.Dialer = &discover.Dialer{Resolver: o.Resolver, AddressPolicy: policy}
	var extra []byte
	if cfg.ExtraCA != "" {
		if extra, err = os.ReadFile(cfg.ExtraCA); err != nil {
			return nil, fmt.Errorf("tls_extra_ca: %w", err)
		}
	}
	if o.Roots, err = discover.Roots(extra); err != nil {
		return nil, fmt.Errorf("tls_extra_ca: %w", err)
	}
	o.HTTP = discover.NewHTTPClient(discover.HTTPConfig{Dialer: o.Dialer, RootCAs: o.Roots, StrictSRVIdentity: cfg.StrictSRV})
	o.Finder, err = discover.NewFinder(discover.FinderConfig{Resolver: o.Resolver, Policy: policy, Override: endpoint, Local: local, PublicSuffix: isPublicSuffix, WalkParents: cfg.WalkParents})
	return o, err
}

// isPublicSuffix tells whether strangers register names below a name.
func isPublicSuffix(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return suffix == domain && (icann || strings.Contains(suffix, ".") || !strings.Contains(domain, "."))
}

// federationParts are the two transports and their inbound sides.
type federationParts struct {
	s         *server
	out       *Outgoing
	keys      *keyring
	transport *federation.Transport
	inbound   http.Handler
	intake    *imip.Intake
	submit    *imip.Submitter
	domains   *domainList
	peers     *peerList

	gateway     *gateway.Client
	submissions http.Handler
	mailRules   imip.Rules
	loop        string // marks the mails that this installation writes
}

// domainList knows our domains; it asks the database again every few seconds.
type domainList struct {
	db   *storage.DB
	mu   sync.Mutex
	at   time.Time
	list []string
	gate map[string]bool // gateway domains
}

// gateway tells whether the people of a domain have their calendars in a
// backend.
func (d *domainList) gateway(domain string) bool {
	d.names()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gate[domain]
}

func (d *domainList) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.list == nil || now.Sub(d.at) > 5*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		rows, err := d.db.ListDomains(ctx)
		if err != nil {
			return d.list // better the list of a moment ago than none
		}
		d.list, d.gate = make([]string, 0, len(rows)), map[string]bool{}
		for _, r := range rows {
			d.list = append(d.list, r.Name)
			if r.Role == storage.RoleGateway {
				d.gate[r.Name] = true
			}
		}
		d.at = now
	}
	return d.list
}

func (d *domainList) has(domain string) bool { return slices.Contains(d.names(), domain) }

func newFederation(ctx context.Context, s *server) (*federationParts, error) {
	cfg := s.cfg
	f := &federationParts{s: s, keys: newKeyring(s.db, cfg.KeyLookup), domains: &domainList{db: s.db}, peers: &peerList{db: s.db}}
	f.keys.hasOurs = f.peers.hasOurs
	var err error
	if f.out, err = newOutgoing(cfg, f.domains.has, f.peers.endpoint); err != nil {
		return nil, err
	}
	keyClient := f.out.HTTP
	if !cfg.KeyLookup {
		keyClient = nil
	}
	lookup, err := discover.NewKeyLookup(discover.KeyConfig{Resolver: f.out.Resolver, Client: keyClient, Configured: f.peers.keys})
	if err != nil {
		return nil, err
	}
	admin := ""
	if names := f.domains.names(); len(names) > 0 {
		admin = "mailto:postmaster@" + names[0]
	}
	f.transport = &federation.Transport{Now: time.Now, Policy: f.peers.policy}
	var dialects func(context.Context, string) (ischedule.Dialect, error)
	if cfg.ISchedule {
		f.transport.ISchedule = ischedule.NewClient(ischedule.ClientConfig{Locator: f.out.Finder, Signers: f.keys, HTTP: f.out.HTTP.Transport, Now: time.Now, Draft01: true, Dialect: f.peers.dialect, Log: s.log})
		dialects = f.transport.ISchedule.DialectOf
	}
	if err := f.newGateway(ctx); err != nil {
		return nil, err
	}
	receiver := busyGate{f.before(s.sched), cfg, f.peers, s.log}
	f.inbound = ischedule.NewHandler(ischedule.HandlerConfig{
		Receiver: receiver, Keys: lookup, Serial: serials{s.db}, Now: time.Now, Local: f.domains.has,
		Capabilities: ischedule.Capabilities{MaxContentLength: min(cfg.MaxBody, ischedule.DefaultMaxContentLength), MaxInstances: cfg.MaxInstances, External: true, Administrator: admin},
		PublicSuffix: isPublicSuffix,
		Peer:         f.peers.inbound,
		Trusted:      f.peers.trusted,
		Remote:       remoteAddr,
		Dialects:     dialects,
		ErrorStatus: func(err error) int {
			if errors.Is(err, storage.ErrFull) {
				return http.StatusInsufficientStorage
			}
			return 0
		},
		RequestID: RequestID,
		Observe: func(v ischedule.Verdict) {
			outcome := "accepted"
			if v.Condition != "" {
				outcome = string(v.Condition)
			} else if v.HTTP != http.StatusOK {
				outcome = "error"
			}
			s.metrics.inbound.WithLabelValues(outcome).Inc()
		},
		Log: s.log,
	})
	if !cfg.ISchedule {
		f.inbound = http.NotFoundHandler()
	}
	return f, f.mail(ctx)
}

// mail wires submission and intake.
func (f *federationParts) mail(ctx context.Context) error {
	cfg := f.s.cfg
	secret, err := secretOf(ctx, f.s.db, "mail.token")
	if err != nil {
		return err
	}
	from, intake := cfg.MailFrom, cfg.MailIntake
	if names := f.domains.names(); len(names) > 0 {
		if from == "" {
			from = "calendar@" + names[0]
		}
		if intake == "" {
			intake = "calendar@" + names[0]
		}
	}
	tokens := &imip.Tokens{Store: imip.StoredTokens{DB: f.s.db}, Secret: secret}
	listens := cfg.MailBounces && intake != "" && (cfg.SMTPListen != "" || cfg.LMTPListen != "")
	rules := imip.Rules{From: imip.Mailbox{Name: "Kalends", Email: from}, Intake: intake, Domain: func(domain string) imip.DomainRules {
		gateway := slices.Contains(cfg.MailGateway, "*") || slices.Contains(cfg.MailGateway, domain)
		local := f.domains.has(domain)
		return imip.DomainRules{Local: local, Gateway: local && gateway, Bounces: local && listens}
	}}
	f.mailRules = rules
	// Another installation may host the same domains, and a node may have started
	// before one was added; all nodes have one database.
	mark, err := secretOf(ctx, f.s.db, "mail.loop")
	if err != nil {
		return err
	}
	f.loop = hex.EncodeToString(mark[:8])
	limits := CalendarLimits(cfg)
	if cfg.SMTPURL != "" {
		f.submit, err = imip.NewSubmitter(imip.SubmitConfig{URL: cfg.SMTPURL, Dial: f.dialMail, TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.out.Roots}, Hello: f.host(), Now: time.Now})
		if err != nil {
			return fmt.Errorf("smtp_url: %w", err)
		}
		f.transport.Mail = &imip.Transport{Rules: rules, Submit: f.submit, Keys: f.keys, Tokens: tokens, LoopID: f.loop, Limits: limits, Now: time.Now, Actions: f.actions}
	}
	who := imip.Accounts{DB: f.s.db, Gateway: f.domains.gateway}
	f.intake = &imip.Intake{Rules: rules, Directory: who, Tokens: tokens,
		Verifier: &imip.Verifier{AuthServ: cfg.TrustedAuth, LookupTXT: f.lookupTXT}, Receiver: f.before(f.s.sched), Quarantine: who, Policies: who, Bounces: imip.Returns{DB: f.s.db, Scheduling: f.s.sched},
		Limits:  imip.Limits{Bytes: int(cfg.MailMaxSize), Object: limits},
		Limiter: &imip.Buckets{Sender: cfg.MailSender, Domain: cfg.MailDomain, Recipient: cfg.MailPerson}, LoopID: f.loop, Now: time.Now, Log: f.s.log}
	return nil
}

// actions are the links by which somebody without a calendar answers. They
// begin with the configured address and nothing else (A18); without one there
// are none.
func (f *federationParts) actions(ctx context.Context, p scheduling.Parcel, to calendar.Address) ([]imip.Action, error) {
	base := f.s.cfg.ExternalURL
	if base == "" {
		return nil, nil
	}
	token, err := f.s.sched.Link(ctx, p, to)
	if err != nil || token == "" {
		return nil, err
	}
	url := base + "/rsvp/" + token
	return []imip.Action{{Label: "Accept", URL: url + "?a=accept"}, {Label: "Maybe", URL: url + "?a=maybe"}, {Label: "Decline", URL: url + "?a=decline"}}, nil
}

// everywhere is what an address that the administrator has named may be.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// dialMail connects to the submission server. It is named by the
// administrator, so it may be on loopback or a private network; everything
// else goes through the hardened dialer.
func (f *federationParts) dialMail(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: discover.ConnectTimeout}
	if host == "localhost" || net.ParseIP(host) != nil || len(f.s.cfg.DNSResolver) == 0 {
		return d.DialContext(ctx, network, addr)
	}
	named := discover.Dialer{Resolver: f.out.Resolver, AddressPolicy: discover.AddressPolicy{AllowNets: everywhere}}
	return named.DialContext(ctx, network, addr)
}

// temporaryDNS makes a lookup failure look as the mail verifier expects it.
type temporaryDNS struct{ error }

func (temporaryDNS) Temporary() bool { return true }
func (temporaryDNS) Timeout() bool   { return true }

func (f *federationParts) lookupTXT(ctx context.Context, name string) ([]string, error) {
	records, _, err := f.out.Resolver.LookupTXT(ctx, name)
	switch {
	case errors.Is(err, discover.ErrNotFound):
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	case err != nil && discover.IsTemporary(err):
		return nil, temporaryDNS{err}
	case err != nil:
		return nil, err
	}
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = strings.Join(r, "")
	}
	return out, nil
}

// host is how we call ourselves to mail servers.
func (f *federationParts) host() string {
	if names := f.domains.names(); len(names) > 0 {
		return names[0]
	}
	return "localhost"
}

func (f *federationParts) mailServer(lmtp bool, conf *tls.Config) *imip.Server {
	return imip.NewServer(f.intake, imip.ListenConfig{LMTP: lmtp, Hostname: f.host(), TLS: conf, Trusted: f.s.cfg.Proxies})
}

func (f *federationParts) close() {
	if f.submit != nil {
		_ = f.submit.Close() // idle connections; nothing is lost
	}
	f.out.HTTP.CloseIdleConnections()
}

// busyGate lets those domains ask for busy times whom configuration allows it
// (ischedule §5).
type busyGate struct {
	scheduling.Receiver
	cfg   *Config
	peers *peerList
	log   *slog.Logger
}

func (g busyGate) AnswerFreeBusy(ctx context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	if g.peers.freeBusy(g.cfg.FreeBusyFor, in.Originator.Domain(), in.Proof.Weak) {
		return g.Receiver.AnswerFreeBusy(ctx, in)
	}
	// Nobody is told apart: the refusal is the same for people who do not exist.
	status := "3.8;No authority"
	if g.cfg.FreeBusyHide {
		status = "3.7;Invalid calendar user"
	}
	out := make([]scheduling.RecipientResult, len(in.Recipients))
	for i, a := range in.Recipients {
		out[i] = scheduling.RecipientResult{Recipient: a, Status: status}
	}
	g.log.Info("free/busy question refused", "from", string(in.Originator), "recipients", len(in.Recipients), "proof", in.Proof.Domain, "policy", g.cfg.FreeBusyFor)
	return out, nil
}
