package nbd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Address says where an export is.
type Address struct {
	// Network is "tcp" or "unix"; Host is "host:port" or the socket's path.
	Network, Host string
	// Export is the export's name; "" is the server's default.
	Export string
}

// DefaultPort is the TCP port of NBD.
const DefaultPort = "10809"

// ParseURL reads an address as "nbd://host[:port][/export]" or
// "nbd+unix:///[export]?socket=path".
func ParseURL(s string) (Address, error) {
	a, err := parseURL(s)
	if err != nil {
		return Address{}, fmt.Errorf("NBD address %q: %w; it must be nbd://host[:port]/export or nbd+unix:///export?socket=path", s, err)
	}
	return a, nil
}

func parseURL(s string) (Address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Address{}, errors.Unwrap(err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Address{}, err
	}
	a := Address{Export: strings.TrimPrefix(u.Path, "/")}
	socket := q.Get("socket")
	q.Del("socket")
	switch {
	case u.Opaque != "" || u.User != nil || u.Fragment != "":
		return Address{}, errors.New("it has parts that mean nothing")
	case len(q) > 0:
		return Address{}, fmt.Errorf("unknown setting %q", q.Encode())
	case len(a.Export) > 4096:
		return Address{}, errors.New("the export's name has more than 4096 bytes")
	}
	switch u.Scheme {
	case "nbd":
		if u.Hostname() == "" || socket != "" {
			return Address{}, errors.New("no host, or a socket as well")
		}
		port := u.Port()
		if port == "" {
			port = DefaultPort
		}
		a.Network, a.Host = "tcp", net.JoinHostPort(u.Hostname(), port)
	case "nbd+unix":
		if u.Host != "" || socket == "" {
			return Address{}, errors.New("no socket, or a host as well")
		}
		a.Network, a.Host = "unix", socket
	case "nbds", "nbds+unix":
		return Address{}, errors.New("TLS is not supported")
	default:
		return Address{}, fmt.Errorf("unknown scheme %q", u.Scheme)
	}
	return a, nil
}

// String is the opposite of ParseURL.
func (a Address) String() string {
	u := url.URL{Scheme: "nbd", Host: a.Host, Path: "/" + a.Export}
	if a.Network == "unix" {
		u.Scheme, u.Host = "nbd+unix", ""
		u.RawQuery = "socket=" + url.QueryEscape(a.Host)
		return "nbd+unix://" + (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
	}
	return u.String()
}
