package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Healthcheck asks a running server's management listener whether it is well;
// nil means yes. It is for containers that have no shell.
func Healthcheck(ctx context.Context, cfg Config) error {
	if cfg.Management == "" {
		return explained(nil, "management_listen is off, so there is nobody to ask; set KALENDS_MANAGEMENT_LISTEN")
	}
	host, port, err := net.SplitHostPort(cfg.Management)
	if err != nil {
		return usage("management_listen %q is no host:port", cfg.Management)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	c := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return explained(err, "no server answers at %s; is `kalends serve` running?", url)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	if resp.StatusCode != http.StatusOK {
		return explained(nil, "the server is not well: %s", plain(fmt.Errorf("%s %s", resp.Status, text)))
	}
	return nil
}
