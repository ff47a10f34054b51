package network

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"dfemu/devices"
)

// Options describes a back end and, for the machine's use, the device in front
// of it.
type Options struct {
	Kind string // "tap", "user" or "hub"

	// For the machine: Model is "virtio" or "e1000e"; MAC is all zero if the machine is to
	// choose one.
	Model string
	MAC   [6]byte
	ID    string // unit name, or "" if the machine is to choose one
	Slot  bool   // in a hot-plug slot, from which it can be taken

	Queues int    // queue pairs; 0 means one for each CPU where the model and the back end have several
	MTU    int    // in bytes; 0 means the back end's
	Pcap   string // file that the frames are captured to, or ""

	// tap
	Interface   string       // name; "" lets the kernel choose one
	FDs         []int        // open descriptors to use instead
	Bridge      string       // that the interface joins, or ""
	HostAddress netip.Prefix // of the host's end, if valid

	// user
	Forwards  []Forward    // from the host into the guest
	Network   netip.Prefix // of the guest and its gateway; not valid means 10.0.2.0/24
	Isolated  bool         // no connections to the host and beyond
	HostName  string       // told to the guest by DHCP, or ""
	DNSServer string       // address:port asked for names, "" means the host's own resolver

	// hub
	Hub     string // name of the hub in this process; "" means "hub0"
	Listen  string // socket that other hubs connect to: unix:PATH or tcp:HOST:PORT
	Dial    string // socket of another hub, in the same form
	UDP     string // own address HOST:PORT for frames as datagrams
	UDPPeer string // where they go
}

// A Forward passes connections to a port of the host on to the guest.
type Forward struct {
	UDP       bool
	Host      netip.AddrPort // the unspecified address means all addresses
	GuestAddr netip.Addr     // not valid means the guest's DHCP address
	GuestPort uint16
}

// String is the forward in the form ParseNIC reads.
func (f Forward) String() string {
	proto, host, guest := "tcp", "", ""
	if f.UDP {
		proto = "udp"
	}
	if !f.Host.Addr().IsUnspecified() {
		host = f.Host.Addr().String()
	}
	if f.GuestAddr.IsValid() {
		guest = f.GuestAddr.String()
	}
	return fmt.Sprintf("%s:%s:%d-%s:%d", proto, host, f.Host.Port(), guest, f.GuestPort)
}

// Usage is one line on what ParseNIC reads.
const Usage = "tap|user|hub[,model=virtio|e1000e,id=NAME,slot,mac=M,queues=N,mtu=N,pcap=FILE,ifname=NAME,fd=N[:N…],bridge=NAME,addr=A/N,hostfwd=tcp|udp:[ADDR]:PORT-[GUEST]:PORT,net=A/N,isolated,hostname=NAME,dns=ADDR:PORT,name=HUB,listen=ADDR,connect=ADDR,udp=ADDR,peer=ADDR]"

// only lists the keys that belong to one kind.
var only = map[string]string{
	"ifname": "tap", "fd": "tap", "bridge": "tap", "addr": "tap",
	"hostfwd": "user", "net": "user", "isolated": "user", "hostname": "user", "dns": "user",
	"name": "hub", "listen": "hub", "connect": "hub", "udp": "hub", "peer": "hub",
}

// ParseNIC reads a description such as
//
//	tap,model=virtio,ifname=tap0
//	user,hostfwd=tcp::2222-:22
//	hub,name=lan0,listen=unix:/run/lan0
//
// Keys may be given once, but hostfwd. Errors name the part that is wrong.
func ParseNIC(s string) (Options, error) {
	parts := strings.Split(s, ",")
	o := Options{Kind: parts[0], Model: "virtio"}
	switch o.Kind {
	case "tap", "user", "hub":
	case "":
		return Options{}, errors.New("nic: no kind of network given: tap, user or hub")
	default:
		return Options{}, fmt.Errorf("nic %q: must be tap, user or hub", o.Kind)
	}
	seen := map[string]bool{}
	for _, p := range parts[1:] {
		key, value, given := strings.Cut(p, "=")
		if k := only[key]; k != "" && k != o.Kind {
			return Options{}, fmt.Errorf("nic %s: %s= is for %s", o.Kind, key, k)
		}
		if seen[key] && key != "hostfwd" {
			return Options{}, fmt.Errorf("nic %s: %s is given twice", o.Kind, key)
		}
		seen[key] = true
		if !given && key != "isolated" && key != "slot" || given && value == "" {
			return Options{}, fmt.Errorf("nic %s: %q: must be %s=VALUE", o.Kind, p, cmpOr(key, "KEY"))
		}
		if err := o.set(key, value); err != nil {
			return Options{}, fmt.Errorf("nic %s: %w", o.Kind, err)
		}
	}
	return o, o.check()
}

func (o *Options) set(key, value string) error {
	var err error
	switch key {
	case "model":
		o.Model = value
		if value != "virtio" && value != "e1000e" {
			err = fmt.Errorf("model=%s: must be virtio or e1000e", value)
		}
	case "id":
		o.ID = value
	case "mac":
		o.MAC, err = ParseMAC(value)
	case "queues":
		o.Queues, err = number(key, value, 1, 64)
	case "mtu":
		o.MTU, err = number(key, value, 68, 65521)
	case "pcap":
		o.Pcap = value
	case "ifname":
		o.Interface = value
		if len(value) > 15 || strings.ContainsAny(value, "/ \t") {
			err = fmt.Errorf("ifname=%s: an interface's name has at most 15 characters, without slash and space", value)
		}
	case "fd":
		for n := range strings.SplitSeq(value, ":") {
			fd, e := number(key, n, 0, 1<<20)
			if e != nil {
				return e
			}
			o.FDs = append(o.FDs, fd)
		}
	case "bridge":
		o.Bridge = value
	case "addr":
		o.HostAddress, err = prefix(key, value)
	case "hostfwd":
		var f Forward
		f, err = ParseForward(value)
		o.Forwards = append(o.Forwards, f)
	case "net":
		o.Network, err = prefix(key, value)
		if err == nil && (o.Network.Bits() < 8 || o.Network.Bits() > 28) {
			err = fmt.Errorf("net=%s: the prefix must have 8 to 28 bits", value)
		}
	case "isolated":
		o.Isolated, err = flag(key, value)
	case "slot":
		o.Slot, err = flag(key, value)
	case "hostname":
		o.HostName = value
		if len(value) > 63 {
			err = fmt.Errorf("hostname=%s: at most 63 characters are possible", value)
		}
	case "dns":
		o.DNSServer = value
		if _, e := netip.ParseAddrPort(value); e != nil {
			err = fmt.Errorf("dns=%s: must be ADDRESS:PORT", value)
		}
	case "name":
		o.Hub = value
	case "listen":
		o.Listen = value
		_, _, err = splitSocket(key, value)
	case "connect":
		o.Dial = value
		_, _, err = splitSocket(key, value)
	case "udp":
		o.UDP = value
	case "peer":
		o.UDPPeer = value
	default:
		err = fmt.Errorf("unknown key %q; there are %s", key, Usage)
	}
	return err
}

// check looks at what goes together.
func (o *Options) check() error {
	switch {
	case len(o.FDs) > 0 && o.Interface != "":
		return errors.New("nic tap: ifname= and fd= exclude each other")
	case len(o.FDs) > 0 && o.Queues > len(o.FDs):
		return fmt.Errorf("nic tap: queues=%d with %d descriptors", o.Queues, len(o.FDs))
	case (o.UDP == "") != (o.UDPPeer == ""):
		return errors.New("nic hub: udp= and peer= go together")
	case o.Model == "e1000e" && o.Queues > 1:
		return errors.New("nic: queues= is for model=virtio; e1000e has one queue for sending")
	}
	return nil
}

// flag reads on or off; the key alone is on.
func flag(key, value string) (bool, error) {
	if value != "" && value != "on" && value != "off" {
		return false, fmt.Errorf("%s=%s: must be on or off", key, value)
	}
	return value != "off", nil
}

func number(key, value string, lo, hi int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s=%s: must be a number from %d to %d", key, value, lo, hi)
	}
	return n, nil
}

func prefix(key, value string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("%s=%s: must be an IPv4 address and the bits of its network, as 10.0.2.0/24", key, value)
	}
	return p, nil
}

// splitSocket takes unix:PATH or tcp:HOST:PORT apart.
func splitSocket(key, value string) (network, address string, err error) {
	network, address, ok := strings.Cut(value, ":")
	if !ok || address == "" || network != "unix" && network != "tcp" {
		return "", "", fmt.Errorf("%s=%s: must be unix:PATH or tcp:HOST:PORT", key, value)
	}
	return network, address, nil
}

// ParseMAC reads the address of a station, as 52:54:00:12:34:56.
func ParseMAC(s string) ([6]byte, error) {
	var m [6]byte
	l := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	for i, p := range l {
		v, err := strconv.ParseUint(p, 16, 8)
		if len(l) != 6 || err != nil {
			return [6]byte{}, fmt.Errorf("mac=%s: must be six bytes as 52:54:00:12:34:56", s)
		}
		m[i] = byte(v)
	}
	switch {
	case len(l) != 6:
		return [6]byte{}, fmt.Errorf("mac=%s: must be six bytes as 52:54:00:12:34:56", s)
	case m[0]&1 != 0 || m == [6]byte{}:
		return [6]byte{}, fmt.Errorf("mac=%s: must be the address of a single station, with an even first byte", s)
	}
	return m, nil
}

// DefaultMAC is the address of network device n where the options give none: always
// the same behind NAT, and a random one where other machines share the Ethernet.
func DefaultMAC(kind string, n int) [6]byte {
	m := [6]byte{0x52, 0x54, 0x00, 0x12, 0x34, 0x56 + byte(n)}
	if kind != "user" {
		rand.Read(m[3:]) // it never fails
	}
	return m
}

// ParseForward reads tcp|udp:[ADDR]:PORT-[GUEST]:PORT. Without an address the host's
// side is open to the host alone (127.0.0.1); 0.0.0.0 opens it to everyone.
func ParseForward(s string) (Forward, error) {
	bad := fmt.Errorf("hostfwd=%s: must be tcp|udp:[ADDRESS]:PORT-[GUEST]:PORT, as tcp::2222-:22", s)
	proto, rest, ok := strings.Cut(s, ":")
	if !ok || proto != "tcp" && proto != "udp" {
		return Forward{}, bad
	}
	host, guest, ok := strings.Cut(rest, "-")
	if !ok {
		return Forward{}, bad
	}
	f := Forward{UDP: proto == "udp"}
	ha, hp, err := addrPort(host)
	if err != nil {
		return Forward{}, bad
	}
	if !ha.IsValid() {
		ha = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ga, gp, err := addrPort(guest)
	if err != nil || gp == 0 || ga.IsValid() && !ga.Is4() {
		return Forward{}, bad
	}
	f.Host, f.GuestAddr, f.GuestPort = netip.AddrPortFrom(ha, hp), ga, gp
	return f, nil
}

// addrPort reads [ADDRESS]:PORT.
func addrPort(s string) (netip.Addr, uint16, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.Addr{}, 0, errors.New("no port")
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || i == 0 {
		return netip.Addr{}, uint16(port), err
	}
	a, err := netip.ParseAddr(strings.Trim(s[:i], "[]"))
	return a, uint16(port), err
}

// Env is what back ends need of the machine.
type Env struct {
	Clock devices.Clock // for captures
	Hubs  *Hubs         // the hubs of this process; needed for Kind "hub"
	// Warn is told of trouble that the network goes on with; it may be nil. It may be called
	// from any goroutine.
	Warn func(error)
}

func (e Env) warn(err error) {
	if e.Warn != nil && err != nil {
		e.Warn(err)
	}
}

// Open makes the back end that o describes.
func Open(o Options, env Env) (devices.Network, error) {
	var n devices.Network
	var err error
	switch o.Kind {
	case "tap":
		n, err = OpenTap(o)
	case "user":
		n, err = OpenUser(o, env)
	case "hub":
		n, err = openHub(o, env)
	default:
		err = fmt.Errorf("network %q: must be tap, user or hub", o.Kind)
	}
	if err != nil || o.Pcap == "" {
		return n, err
	}
	var file io.WriteCloser
	if file, err = os.Create(o.Pcap); err == nil {
		if n2, e := Capture(n, file, env.Clock, env.Warn); e == nil {
			return n2, nil
		} else {
			err = e
			file.Close()
		}
	}
	n.Close()
	return nil, fmt.Errorf("pcap=%s: %w", o.Pcap, err)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
